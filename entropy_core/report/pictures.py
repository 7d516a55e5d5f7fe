"""The figures of a page: SVGs inside of it, for light and dark schemes."""

import base64
import io
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from entropy_core.figures import sites as site_plots
from entropy_core.figures import training as plots
from entropy_core.figures.rates import plot_rate
from entropy_core.results.data import ReportData


class Picture(NamedTuple):
    """A figure as addresses of data, for either scheme."""

    light: str
    dark: str
    caption: str


def pictures_of(report: ReportData) -> list[Picture]:
    """All figures of a report; none if arviz-plots or matplotlib is not installed."""
    if not (find_spec("arviz_plots") and find_spec("matplotlib")):
        return []
    course = report.group("history")
    history, latents = course is not None, len(report.latents()) > 0
    shown: list[tuple[bool, Callable[..., Any], tuple[float, float], str]] = [
        (
            history,
            plots.plot_history,
            (6.5, 5.5),
            "ELBO and entropy sum over training, and the gap that is to vanish as training "
            "converges (Damm et al. 2023, Fig. 1).",
        ),
        (
            True,
            site_plots.plot_residuals,
            (6.5, 1.8 + 0.3 * len(report.sites())),
            "The residuals of the sites add up to the gap.",
        ),
        (
            latents,
            plots.plot_latents,
            (6.5, 4.0),
            "A latent whose encoder entropy is above the threshold is nearly as uncertain as "
            "its prior: it has collapsed (Damm et al. 2023, Eq. 24).",
        ),
        (
            latents and _counts_change(course),
            plots.plot_active,
            (6.5, 3.5),
            "Latents whose mean moves with the data are active (Burda et al. 2016); those with "
            "nearly the entropy of their prior have collapsed.",
        ),
        (
            report.group("rate") is not None,
            plot_rate,
            (6.5, 4.0),
            "A code of the data in bits per variable, less its seed and as a file; the line is the "
            "negative ELBO (Yu 2020, Eq. 33).",
        ),
    ]
    return [
        Picture(
            _svg(plot, report, size, "default"),
            _svg(plot, report, size, "dark_background"),
            caption,
        )
        for wanted, plot, size, caption in shown
        if wanted
    ]


def _counts_change(course: xr.Dataset | None) -> bool:
    """Whether numbers of latents have a course: a flat line says what the table of latents does."""
    names = {"active_latents", "collapsed_latents"}
    if course is None or not names <= set(course):
        return False
    return any(np.ptp(course[name].values) > 0 for name in names)


def _svg(
    plot: Callable[..., Any], report: ReportData, size: tuple[float, float], scheme: str
) -> str:
    # A figure that pyplot does not know needs no display and no closing, and the style of the page
    # is not that of the session.
    from matplotlib import style
    from matplotlib.figure import Figure

    # The salt makes the ids of an SVG, and so the page, the same every time.
    rc = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 11,
        "svg.hashsalt": "elbo-entropy",
    }
    with style.context(["default", scheme, rc]):
        figure = Figure(size, layout="constrained")
        plot(report, figure=figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"
