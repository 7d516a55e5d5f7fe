"""Several reports side by side."""

from collections.abc import Mapping

import pandas as pd

from entropy_core.results.data import ReportData


def compare(reports: Mapping[str, ReportData]) -> pd.DataFrame:
    """Puts the means of several reports side by side, a column each.

    Args:
        reports: The reports by the name of their column.
    """
    columns = {}
    for name, report in reports.items():
        latents = report.latents()
        columns[name] = report.summary()["mean"].to_dict() | {
            "relative gap (%)": 100 * report.relative_gap,
            "active latents": int(latents["active"].sum()),
            "collapsed latents": int(latents["collapsed"].sum()),
        }
    return pd.DataFrame(columns)
