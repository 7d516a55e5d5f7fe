"""A report as one self-contained page, and as a fragment for notebooks."""

from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from entropy_core.report.findings import findings
from entropy_core.report.pictures import pictures_of
from entropy_core.report.residuals import level
from entropy_core.results.data import ReportData
from entropy_core.version import __version__

# Longer tables are folded.
LONG = 20


def render_page(report: ReportData) -> str:
    """The report as a page that needs no network, no scripts and no other file.

    The figures are there if arviz-plots and matplotlib are installed.
    """
    tree = report.to_datatree()
    return _render(
        "page.html.j2",
        report,
        style=files("entropy_core.report").joinpath("report.css").read_text(encoding="utf-8"),
        figures=pictures_of(report),
        tables=_tables(report),
        long=LONG,
        arviz=tree["entropy_sum"].attrs,
        made=datetime.fromisoformat(tree.attrs["created_at"]),
        version=__version__,
    )


def fragment(report: ReportData) -> str:
    """The headline, the findings and the summary alone, for the output of a notebook."""
    return _render("fragment.html.j2", report)


def _render(template: str, report: ReportData, **values: Any) -> str:
    return (
        _environment()
        .get_template(template)
        .render(report=report, numbers=_numbers(report), findings=findings(report), **values)
    )


@cache
def _environment() -> Any:
    # Not before the first page: who imports the package may never make one.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("entropy_core.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["cell"] = _text
    environment.tests["numeric"] = _is_number
    return environment


def _tables(report: ReportData) -> list[tuple[str, pd.DataFrame, str]]:
    """Each table with its heading and a note."""
    found = [("Terms, entropies and residuals", report.summary(), "")]
    if report.group("claims") is not None:
        claims = report.claims()
        found.append(("What the theorem claims", claims, level(claims)))
    found += [("Sites", report.sites(), ""), ("Latents", report.latents(), "")]
    if report.group("rate") is not None:
        found.append(("A code of the data", report.rate(), ""))
    return found


def _numbers(report: ReportData) -> list[tuple[str, str]]:
    return [
        ("ELBO", _text(report["elbo"])),
        ("entropy sum", _text(report["entropy_sum"])),
        ("gap in nats", _text(report["gap"])),
        ("gap in % of ELBO", f"{_text(100 * report.relative_gap)} %"),
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, float | int | np.integer) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    if np.isnan(value):
        return "–"
    # Four digits show a gap in nats; a small one or its error needs an exponent to be seen.
    return f"{value:.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.1e}"
