"""Figures of the sites of a report, drawn with whichever backend of arviz-plots is asked for."""

from typing import Any

import numpy as np

from entropy_core.figures.panels import BLUE, GREY, PALETTE, VERMILION, collection_of, legend
from entropy_core.results import tables
from entropy_core.results.data import ReportData


def plot_entropies(report: ReportData, *, backend: str = "matplotlib", figure: Any = None) -> Any:
    """What each site adds to the ELBO, stacked, beside what its entropy adds to the entropy sum.

    `F = sum_s E_q[log p_s] + sum_s H[q_s]` and `H_sum = sum_s H[q_s] - sum_s H[p_s]` (Damm et al.
    2023, Eq. 13): a site whose two parts differ is where the gap is. What is below zero is stacked
    downwards.

    Args:
        report: Any report.
        backend: `"matplotlib"` or `"plotly"`.
        figure: A figure of matplotlib to draw on; by default a new one.

    Returns:
        The `arviz_plots.PlotCollection`, with the plot `entropies`.

    Raises:
        ValueError: If there is no such backend.
        ImportError: If arviz-plots or the backend is not installed.
    """
    tree = report.to_datatree()
    sites = tables.sites_per_data_point(tree)
    sign = np.where(sites["role"] == "encoder", 1.0, -1.0)
    columns = np.stack([sites["term"].to_numpy(), sign * sites["entropy"].to_numpy()])
    names = list(sites.index)
    if len(names) > len(PALETTE):
        # The largest by name, and the others as one.
        order = np.argsort(-np.abs(columns).max(0), kind="stable")
        kept, rest = np.sort(order[: len(PALETTE) - 1]), order[len(PALETTE) - 1 :]
        names = [*(names[i] for i in kept), f"{len(rest)} other sites"]
        columns = np.c_[columns[:, kept], columns[:, rest].sum(1)]
    plot, collection = collection_of(
        tree["sites"].dataset, ["entropies"], (7.0, 5.0), backend, figure
    )
    target = collection.get_target(None, {"panel": "entropies"})
    for x, values in enumerate(columns):
        edges = np.array([x - 0.35, x + 0.35])
        ends = {True: 0.0, False: 0.0}
        for value, color in zip(values, PALETTE, strict=False):
            start, ends[value > 0] = ends[value > 0], ends[value > 0] + value
            bottom, top = sorted((start, ends[value > 0]))
            plot.fill_between_y(
                edges, np.full(2, bottom), np.full(2, top), target, color=color, alpha=1.0
            )
        plot.line(edges, np.full(2, values.sum()), target, color="B1", width=3)
    plot.hline(0.0, target, color=GREY, width=0.8)
    plot.xticks(np.arange(2), ["terms of the ELBO", "entropies"], target)
    plot.xlim((-0.6, 1.6), target)
    plot.ylabel(report.units, target)
    totals = f"ELBO {report['elbo']:.4g}, entropy sum {report['entropy_sum']:.4g}"
    plot.title(totals, target)
    entries = {n: {"color": c, "width": 8} for n, c in zip(names, PALETTE, strict=False)}
    legend(plot, collection, entries | {"sum": {"color": "B1", "width": 3}})
    return collection


def plot_residuals(report: ReportData, *, backend: str = "matplotlib", figure: Any = None) -> Any:
    """The residual of each site, and their sum, the gap, with two standard errors to each side.

    `r_s = E_q[log p_s] + H[p_s]`, and `F - H_sum = sum_s r_s` at every point of training.

    Args:
        report: Any report; with one draw there are no standard errors.
        backend: `"matplotlib"` or `"plotly"`.
        figure: A figure of matplotlib to draw on; by default a new one.

    Returns:
        The `arviz_plots.PlotCollection`, with the plot `residuals`.

    Raises:
        ValueError: If there is no such backend.
        ImportError: If arviz-plots or the backend is not installed.
    """
    # Each data point's share of what is outside the plate, so that the bars add up to the gap.
    tree = report.to_datatree()
    sites = tables.sites_per_data_point(tree)
    rows = sites[sites["role"] != "encoder"][["residual", "residual_mcse"]]
    names = [*rows.index, "gap"]
    mean, error = np.r_[rows.to_numpy(), report.summary().loc[["gap"]].to_numpy()].T
    plot, collection = collection_of(
        tree["sites"].dataset,
        ["residuals"],
        (7.0, 1.8 + 0.4 * len(names)),
        backend,
        figure,
    )
    target = collection.get_target(None, {"panel": "residuals"})
    height = np.arange(len(names))[::-1].astype(float)
    for i, color in enumerate([BLUE] * len(rows) + [VERMILION]):
        bottom, top = (np.full(2, height[i] + half) for half in (-0.3, 0.3))
        plot.fill_between_y(np.sort([0.0, mean[i]]), bottom, top, target, color=color, alpha=1.0)
        if np.isfinite(error[i]):
            ends = mean[i] + np.array([-2.0, 2.0]) * error[i]
            plot.line(ends, np.full(2, height[i]), target, color="B1", width=3)
    plot.vline(0.0, target, color=GREY, width=0.8)
    plot.yticks(height, names, target)
    whiskers = 2 * np.nan_to_num(error)
    reach = np.r_[0.0, mean - whiskers, mean + whiskers]
    margin = 0.05 * np.ptp(reach) or 0.5
    plot.xlim((reach.min() - margin, reach.max() + margin), target)
    plot.ylim((-0.6, len(names) - 0.4), target)
    shown = ", ± 2 standard errors" if np.isfinite(error).any() else ""
    plot.xlabel(f"residual in {report.units}{shown}", target)
    plot.title("Where the gap between ELBO and entropy sum is", target)
    return collection
