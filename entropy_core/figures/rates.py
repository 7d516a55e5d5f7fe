"""The figure of a code's rate, beside the ELBO and other compressors."""

from typing import Any

import numpy as np

from entropy_core.figures.panels import BLUE, GREY, VERMILION, collection_of
from entropy_core.results.data import ReportData

CODE = ("code less seed", "file")


def plot_rate(report: ReportData, *, backend: str = "matplotlib", figure: Any = None) -> Any:
    """The bits per variable of a code, with and without its seed and header, and of others.

    The line is the report's negative ELBO, `-F / log 2`: the code less its seed ends there.

    Args:
        report: A report with a rate, see `EntropyReport.with_rate`.
        backend: `"matplotlib"` or `"plotly"`.
        figure: A figure of matplotlib to draw on; by default a new one.

    Returns:
        The `arviz_plots.PlotCollection`, with the plot `rate`.

    Raises:
        ValueError: If the report has no rate, or there is no such backend.
        ImportError: If arviz-plots or the backend is not installed.
    """
    table = report.rate()["bits_per_dim"]
    group = report.group("rate")
    assert group is not None
    names = [*CODE, *group["compressor"].values]
    size = (7.0, 1.8 + 0.4 * len(names))
    plot, collection = collection_of(group, ["rate"], size, backend, figure)
    target = collection.get_target(None, {"panel": "rate"})
    height = np.arange(len(names))[::-1].astype(float)
    for y, name in zip(height, names, strict=True):
        bottom, top = (np.full(2, y + half) for half in (-0.3, 0.3))
        color = BLUE if name in CODE else GREY
        ends = np.array([0.0, table[name]])
        plot.fill_between_y(ends, bottom, top, target, color=color, alpha=1.0)
    elbo = table["negative ELBO, other draws"]
    plot.vline(elbo, target, color=VERMILION, width=2)
    plot.yticks(height, names, target)
    plot.ylim((-0.6, len(names) - 0.4), target)
    plot.xlim((0.0, 1.05 * max(elbo, *table[names])), target)
    plot.xlabel("bits per variable", target)
    plot.title(f"Negative ELBO {elbo:.4g} bits per variable, and files", target)
    return collection
