"""What the figures share: panels of a backend of arviz-plots, logarithmic axes, a legend."""

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from entropy_core.checks import expected

# Blue, vermilion and grey stay apart for colour-blind eyes, on white and on black (Okabe & Ito).
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#8A8A8A"
# For more than two things, in this order; the rest of the same palette.
PALETTE = (BLUE, "#E69F00", "#009E73", "#CC79A7", "#56B4E9", VERMILION, "#F0E442")

# What the backends' common interface leaves to each of them: the room for titles and legend.
FIGURE: dict[str, dict[str, Any]] = {
    "matplotlib": {"layout": "constrained"},
    "plotly": {"vertical_spacing": 0.08},
}
LEGEND: dict[str, dict[str, Any]] = {
    "matplotlib": {"loc": "outside lower center", "ncols": 2, "frameon": False},
    "plotly": {
        "legend_orientation": "h",
        "legend_x": 0.5,
        "legend_xanchor": "center",
        "legend_y": -0.2,
        "legend_traceorder": "normal",
    },
}


def collection_of(
    data: xr.Dataset,
    panels: Sequence[str],
    size: tuple[float, float],
    backend: str,
    figure: Any,
) -> tuple[ModuleType, Any]:
    """The module of the backend, and an `arviz_plots.PlotCollection` of panels below each other.

    Args:
        data: What the collection holds.
        panels: The names of the panels, from top to bottom.
        size: The width and height of a new figure, in hundreds of pixels.
        backend: `"matplotlib"` or `"plotly"`.
        figure: A figure of matplotlib to draw on; by default a new one.

    Raises:
        ValueError: If there is no such backend.
        ImportError: If arviz-plots or the backend is not installed.
    """
    if backend not in FIGURE:
        raise ValueError(expected(f"one of {sorted(FIGURE)}", "backend", repr(backend)))
    try:
        from arviz_plots import PlotCollection

        plot = import_module(f"arviz_plots.backend.{backend}")
    except ImportError as error:
        needs = "elbo-entropy[plots]" if backend == "matplotlib" else f"arviz-plots[{backend}]"
        error.add_note(f"The figures need: pip install '{needs}'")
        raise
    rows = len(panels)
    if figure is None:
        figure, targets = plot.create_plotting_grid(
            rows,
            rows,
            figsize=(100 * size[0], 100 * size[1]),
            figsize_units="dots",
            squeeze=False,
            sharex="col",
            **FIGURE[backend],
        )
    else:
        targets = figure.subplots(rows, squeeze=False, sharex="col")
    viz = xr.Dataset(
        {
            "figure": np.array(figure, dtype=object),
            "plot": ("panel", targets[:, 0]),
            "row_index": ("panel", np.arange(rows)),
            "col_index": ("panel", np.zeros(rows, int)),
        },
        coords={"panel": list(panels)},
    )
    return plot, PlotCollection(data, xr.DataTree(viz), backend=backend)


def line_with_end(
    plot: ModuleType, x: NDArray, y: NDArray, target: Any, *, color: str, **style: Any
) -> None:
    """A line with a dot at its end, which shows a line of one point at all."""
    plot.line(x, y, target, color=color, **style)
    plot.scatter(x[-1:], y[-1:], target, color=color)


def limits(values: NDArray, always: Sequence[float]) -> tuple[float, float]:
    """Limits that hold the values in `always`, and of the others those that are not far out."""
    # Tukey's far fences: a bad start would otherwise press the rest of training into one line.
    low, high = np.percentile(values, [25, 75])
    fences = low - 3 * (high - low), high + 3 * (high - low)
    seen = np.concatenate([values[(values >= fences[0]) & (values <= fences[1])], always])
    margin = 0.05 * np.ptp(seen) or 0.5
    return seen.min() - margin, seen.max() + margin


def log_axis(log_values: NDArray) -> tuple[NDArray, tuple[float, float]]:
    """Ticks and limits for values that are logarithms to base 10.

    No function of all backends sets a log scale, so it is the ticks that are logarithmic: at most
    six decades, or 1, 2 and 5 of each where there are less than two. The limits are wide enough to
    hold two of them whatever the values.
    """
    low, high = log_values.min(), log_values.max()
    step = int((high - low) // 6) + 1
    decades = 10.0 ** np.arange(np.floor(low) - 1, np.ceil(high) + 2, step)
    ticks = decades if high - low >= 2 else np.outer(decades, [1, 2, 5]).ravel()
    middle, half = (low + high) / 2, max(0.55 * (high - low), 0.4)
    return ticks, (middle - half, middle + half)


def whole_ticks(values: NDArray) -> NDArray[np.integer]:
    """Ticks at whole numbers, at most eight: multiples of 1, 2 or 5 times a power of ten.

    Args:
        values: Whole numbers, in order.

    Example:
        >>> whole_ticks(np.array([1, 2, 3])).tolist(), whole_ticks(np.array([1, 100])).tolist()
        ([1, 2, 3], [20, 40, 60, 80, 100])
    """
    first, last = int(values[0]), int(values[-1])
    steps = (factor * 10**power for power in range(20) for factor in (1, 2, 5))
    step = next(step for step in steps if last - first <= 7 * step)
    return np.arange(-(-first // step) * step, last + 1, step)


def epoch_axis(plot: ModuleType, history: xr.Dataset, target: Any) -> None:
    """The horizontal axis of a course of training: whole epochs, or steps."""
    ticks = whole_ticks(history["epoch"].values)
    plot.xticks(ticks, [str(tick) for tick in ticks], target)
    plot.xlabel(history.attrs.get("unit", "epoch"), target)


def legend(plot: ModuleType, collection: Any, entries: dict[str, dict[str, Any]]) -> None:
    """A legend below the panels, with an entry for each label."""
    plot.legend(
        collection,
        list(entries.values()),
        list(entries),
        update_visuals=False,
        **LEGEND[collection.backend],
    )
