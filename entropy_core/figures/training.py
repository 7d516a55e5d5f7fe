"""Figures of training and of latents, drawn with whichever backend of arviz-plots is asked for."""

from typing import Any

import numpy as np
import xarray as xr

from entropy_core.checks import expected
from entropy_core.figures.panels import (
    BLUE,
    GREY,
    VERMILION,
    collection_of,
    epoch_axis,
    legend,
    limits,
    line_with_end,
    log_axis,
)
from entropy_core.results.data import ReportData
from entropy_core.results.numbers import short

MAX_NAMED_LATENTS = 30


def plot_history(report: ReportData, *, backend: str = "matplotlib", figure: Any = None) -> Any:
    """ELBO and entropy sum over training, and below them the gap (Damm et al. 2023, Fig. 1).

    Where there were held-out data, the ELBO over them is there too.

    The gap is `|F - H_sum| / |F_last|` in per cent, with the last recorded ELBO `F_last`, on a
    logarithmic axis; the title has the last one. Values of early training that lie far from the
    rest are out of view.

    Args:
        report: A report with the history of training.
        backend: `"matplotlib"` or `"plotly"`.
        figure: A figure of matplotlib to draw on; by default a new one.

    Returns:
        The `arviz_plots.PlotCollection`, with the plots `values` and `gap`.

    Raises:
        ValueError: If the report has no history, or if there is no such backend.
        ImportError: If arviz-plots or the backend is not installed.
    """
    history = _history(report)
    epochs, elbo, entropy_sum = (history[name].values for name in ("epoch", "elbo", "entropy_sum"))
    plot, collection = collection_of(history, ["values", "gap"], (7.0, 6.0), backend, figure)

    values = collection.get_target(None, {"panel": "values"})
    lines: dict[str, dict[str, Any]] = {
        "ELBO": {"color": BLUE, "width": 2},
        "entropy sum": {"color": VERMILION, "width": 2, "linestyle": "C1"},
    }
    shown = [elbo, entropy_sum]
    if "validation_elbo" in history:
        lines["held-out ELBO"] = {"color": GREY, "width": 2}
        shown.append(history["validation_elbo"].values)
    for y, style in zip(shown, lines.values(), strict=True):
        line_with_end(plot, epochs, y, values, **style)
    plot.ylim(limits(np.concatenate(shown), [y[-1] for y in shown]), values)
    plot.ylabel(report.units, values)

    gap = collection.get_target(None, {"panel": "gap"})
    percent = 100 * np.abs(elbo - entropy_sum) / abs(elbo[-1])
    # A gap of zero, which only rounding tells from a small one, is at the bottom of the figure.
    log_percent = np.log10(np.maximum(percent, 1e-12))
    line_with_end(plot, epochs, log_percent, gap, color=GREY, width=2)
    ticks, in_view = log_axis(log_percent)
    plot.yticks(np.log10(ticks), [f"{tick:g}" for tick in ticks], gap)
    plot.ylim(in_view, gap)
    plot.ylabel("|gap| in % of\nthe last ELBO", gap)
    epoch_axis(plot, history, gap)
    side = "above" if elbo[-1] > entropy_sum[-1] else "below"
    plot.title(f"The ELBO is {short(percent[-1])} % {side} the entropy sum", values)

    legend(plot, collection, lines)
    return collection


def plot_latents(report: ReportData, *, backend: str = "matplotlib", figure: Any = None) -> Any:
    """A bar for the mean encoder entropy of each latent, beside the entropy of its prior.

    A latent is collapsed where `H[q(z_h|x)] > H[p(z_h)] - delta` (Damm et al. 2023, Eq. 24).

    Args:
        report: A report with latents.
        backend: `"matplotlib"` or `"plotly"`.
        figure: A figure of matplotlib to draw on; by default a new one.

    Returns:
        The `arviz_plots.PlotCollection`, with the plot `latents`.

    Raises:
        ValueError: If no latent of the report has entropies, or if there is no such backend.
        ImportError: If arviz-plots or the backend is not installed.
    """
    latents = report.latents().sort_values("encoder_entropy", ascending=False)
    if latents.empty:
        raise ValueError(expected("a report with rows for latents", "report", repr(report)))
    tree = report.to_datatree()
    delta, num_latents = tree.attrs["entropy_delta"], len(latents)
    plot, collection = collection_of(
        tree["latents"].dataset, ["latents"], (7.0, 4.2), backend, figure
    )
    target = collection.get_target(None, {"panel": "latents"})

    entropy = latents["encoder_entropy"].to_numpy()
    prior = latents["prior_entropy"].to_numpy()
    collapsed = latents["collapsed"].to_numpy()
    # Many bars touch: gaps of less than a pixel would look like a pattern.
    named = num_latents <= MAX_NAMED_LATENTS
    half = 0.4 if named else 0.5
    bars = {"collapsed": VERMILION, "not collapsed": BLUE}
    for h in range(num_latents):
        plot.hist(
            entropy[[h]],
            np.array([h - half]),
            np.array([h + half]),
            target,
            color=bars["collapsed" if collapsed[h] else "not collapsed"],
        )
    plot.hline(0.0, target, color=GREY, width=0.8)
    # Each latent has its own prior, so the lines are steps: two points for each latent.
    edges = (np.arange(num_latents)[:, None] + [-0.5, 0.5]).ravel()
    lines = {
        "prior entropy": {"color": "B1", "width": 1.5},
        f"collapse threshold (δ = {delta:.3g})": {"color": "B1", "width": 1.5, "linestyle": "C1"},
    }
    for y, style in zip((prior, prior - delta), lines.values(), strict=True):
        plot.line(edges, np.repeat(y, 2), target, **style)

    if named:
        rotation = 90 if num_latents > 12 else 0
        plot.xticks(np.arange(num_latents), list(latents.index), target, rotation=rotation)
    plot.xlim((-0.7, num_latents - 0.3), target)
    plot.xlabel("latent dimensions in order of encoder entropy", target)
    plot.ylabel(f"encoder entropy\n({report.units})", target)
    plot.title(f"{collapsed.sum()} of {num_latents} latents collapsed", target)
    legend(plot, collection, {k: {"color": c, "width": 8} for k, c in bars.items()} | lines)
    return collection


def plot_active(report: ReportData, *, backend: str = "matplotlib", figure: Any = None) -> Any:
    """The numbers of active and of collapsed latents over training.

    A latent is active where `Var_x(E_q[z_h])` is above a threshold (Burda et al. 2016), and
    collapsed where `H[q(z_h|x)] > H[p(z_h)] - delta` (Damm et al. 2023, Eq. 24): two criteria, so
    that the two numbers need not add up to that of the latents.

    Args:
        report: A report with the history of training, and with latents.
        backend: `"matplotlib"` or `"plotly"`.
        figure: A figure of matplotlib to draw on; by default a new one.

    Returns:
        The `arviz_plots.PlotCollection`, with the plot `active`.

    Raises:
        ValueError: If the report has no history of latents, or if there is no such backend.
        ImportError: If arviz-plots or the backend is not installed.
    """
    history = _history(report)
    num_latents = history.sizes["latent"]
    if not num_latents or "active_latents" not in history:
        raise ValueError(expected("a report with a history of latents", "report", repr(report)))
    plot, collection = collection_of(history, ["active"], (7.0, 4.2), backend, figure)
    target = collection.get_target(None, {"panel": "active"})
    lines: dict[str, dict[str, Any]] = {
        "active": {"color": BLUE, "width": 2},
        "collapsed": {"color": VERMILION, "width": 2, "linestyle": "C1"},
    }
    for name, style in lines.items():
        counts = history[f"{name}_latents"].values
        line_with_end(plot, history["epoch"].values, counts, target, **style)
    plot.hline(num_latents, target, color=GREY, width=0.8)
    step = max(1, round(num_latents / 8))
    ticks = np.arange(0, num_latents + 1, step)
    plot.yticks(ticks, [str(tick) for tick in ticks], target)
    plot.ylim((-0.05 * num_latents, 1.05 * num_latents), target)
    epoch_axis(plot, history, target)
    plot.ylabel("latents", target)
    last = int(history["active_latents"].values[-1])
    plot.title(f"{last} of {num_latents} latents active in the end", target)
    legend(plot, collection, lines)
    return collection


def _history(report: ReportData) -> xr.Dataset:
    history = report.group("history")
    if history is None:
        raise ValueError(expected("a report with the history of training", "report", repr(report)))
    return history
