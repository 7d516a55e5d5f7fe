"""How far repeated estimates spread: of the ELBO, and of the sum of entropies that it becomes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from entropy_core.checks import expected
from entropy_core.figures.panels import BLUE, VERMILION, collection_of, legend, log_axis
from entropy_core.results.data import ReportData

QUANTITIES = {"elbo": "ELBO", "entropy_sum": "entropy sum"}

# Of the largest spread: below it there is only rounding, which is no part of a logarithmic axis.
FLOOR = 1e-4


def spread(reports_by_size: Mapping[int, Sequence[ReportData]]) -> xr.Dataset:
    """Mean and standard deviation of the estimates of repeated runs (Damm et al. 2023, Fig. 2b).

    `std = sqrt(1/(R - 1) sum_r (F_r - mean)^2)` over the `R` runs, in the reports' units.

    Args:
        reports_by_size: For each number of samples, of data points or of draws, the reports of at
            least two runs, each with samples of its own.

    Returns:
        `elbo` and `entropy_sum` over the dimensions `size` and `estimate`, which holds `mean` and
        `std`.

    Raises:
        ValueError: If there is no size, a size is not positive, or has fewer than two reports.
    """
    if not reports_by_size:
        raise ValueError(expected("at least one size", "reports_by_size", "none"))
    for size, reports in reports_by_size.items():
        if size <= 0:
            raise ValueError(expected("positive sizes", "reports_by_size", size))
        if len(reports) < 2:
            what = f"at least two reports of size {size}"
            raise ValueError(expected(what, "reports_by_size", len(reports)))
    sizes = sorted(reports_by_size)

    def estimates(name: str) -> list[tuple[float, float]]:
        runs = [np.array([report[name] for report in reports_by_size[size]]) for size in sizes]
        return [(float(values.mean()), float(values.std(ddof=1))) for values in runs]

    return xr.Dataset(
        {name: (("size", "estimate"), estimates(name)) for name in QUANTITIES},
        {"size": sizes, "estimate": ["mean", "std"]},
        {"units": reports_by_size[sizes[0]][0].units},
    )


def plot_spread(
    reports_by_size: Mapping[int, Sequence[ReportData]],
    *,
    backend: str = "matplotlib",
    figure: Any = None,
) -> Any:
    """Estimates of ELBO and entropy sum by number of samples (Damm et al. 2023, Fig. 2b).

    Above the means, with a standard deviation to each side; below the standard deviations, on
    logarithmic axes. One that is 10,000 times smaller than the largest is at the bottom.

    Args:
        reports_by_size: See `spread`.
        backend: `"matplotlib"` or `"plotly"`.
        figure: A figure of matplotlib to draw on; by default a new one.

    Returns:
        The `arviz_plots.PlotCollection`, with the plots `values` and `spread`.

    Raises:
        ValueError: As `spread` does, or if there is no such backend.
        ImportError: If arviz-plots or the backend is not installed.
    """
    table = spread(reports_by_size)
    sizes = table["size"].values
    plot, collection = collection_of(table, ["values", "spread"], (7.0, 6.0), backend, figure)
    top, bottom = (collection.get_target(None, {"panel": name}) for name in ("values", "spread"))
    lines: dict[str, dict[str, Any]] = {
        "ELBO": {"color": BLUE, "width": 2},
        "entropy sum": {"color": VERMILION, "width": 2, "linestyle": "C1"},
    }
    x = np.log10(sizes)
    stds = np.array([table[name].sel(estimate="std").values for name in QUANTITIES])
    log_stds = np.log10(np.maximum(stds, FLOOR * stds.max() or np.finfo(float).tiny))
    for i, (name, label) in enumerate(QUANTITIES.items()):
        mean, style = table[name].sel(estimate="mean").values, lines[label]
        plot.fill_between_y(
            x, mean - stds[i], mean + stds[i], top, color=style["color"], alpha=0.25
        )
        plot.line(x, mean, top, **style)
        for target, y in ((top, mean), (bottom, log_stds[i])):
            plot.scatter(x, y, target, color=style["color"])
        plot.line(x, log_stds[i], bottom, **style)
    ticks, in_view = log_axis(log_stds.ravel())
    plot.yticks(np.log10(ticks), [f"{tick:g}" for tick in ticks], bottom)
    plot.ylim(in_view, bottom)
    margin = 0.05 * np.ptp(x) or 0.5
    for target in (top, bottom):
        plot.xticks(x, [f"{size:,}" for size in sizes], target)
        plot.xlim((x[0] - margin, x[-1] + margin), target)
    plot.ylabel(table.attrs["units"], top)
    plot.ylabel("standard deviation\nover runs", bottom)
    plot.xlabel("samples of each run", bottom)
    num_runs = [len(reports) for reports in reports_by_size.values()]
    runs = f"{min(num_runs)}" if len(set(num_runs)) == 1 else f"{min(num_runs)} to {max(num_runs)}"
    plot.title(f"Estimates of {runs} runs", top)
    legend(plot, collection, lines)
    return collection
