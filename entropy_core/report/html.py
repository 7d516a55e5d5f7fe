"""A report as one self-contained page, and as a fragment for notebooks."""

import base64
import io
from collections.abc import Callable, Iterable
from datetime import datetime
from html import escape
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from entropy_core.figures import sites as site_plots
from entropy_core.figures import training as plots
from entropy_core.figures.rates import plot_rate
from entropy_core.report.findings import findings
from entropy_core.report.residuals import level
from entropy_core.results.data import ReportData
from entropy_core.version import __version__

LONG = 20

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>Entropy report</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def render_page(report: ReportData) -> str:
    """The report as a page that needs no network, no scripts and no other file.

    The figures are there if arviz-plots and matplotlib are installed.
    """
    tables = [
        ("Terms, entropies and residuals", report.summary(), ""),
        ("Sites", report.sites(), ""),
        ("Latents", report.latents(), ""),
    ]
    if report.group("claims") is not None:
        claims = report.claims()
        tables.insert(1, ("What the theorem claims", claims, f"<p>{escape(level(claims))}.</p>"))
    if report.group("rate") is not None:
        tables.append(("A code of the data", report.rate(), ""))
    body = [
        "<h1>Entropy report</h1>",
        f"<p>{_sentence(report)}</p>",
        _headline(report),
        _no_claim(report),
        _findings(report),
        *_figures(report),
        *(_section(*section) for section in tables if len(section[1])),
        _untreated(report),
        _footer(report),
    ]
    style = files("entropy_core.report").joinpath("report.css").read_text(encoding="utf-8")
    return PAGE.format(style=style, body="\n".join(filter(None, body)))


def fragment(report: ReportData) -> str:
    """The headline, the findings and the summary alone, for the output of a notebook."""
    numbers = " · ".join(f"{name} <b>{value}</b>" for name, value in _numbers(report))
    head = f"<p>{_sentence(report)}</p><p>{numbers}</p>{_no_claim(report)}"
    return f"<div>{head}{_findings(report)}{_table(report.summary())}</div>"


def _sentence(report: ReportData) -> str:
    attrs = report.attrs
    draws = "1 draw" if attrs["num_particles"] == 1 else f"{attrs['num_particles']} draws"
    becomes = " that it becomes at a stationary point of training (Damm et al. 2023)"
    return (
        "The ELBO of a model and its guide, beside the sum of entropies"
        f"{'' if report.no_claim else becomes}: estimated from "
        f"{report.size} with {draws} each by {_library(report)}, "
        f"in {escape(report.units)}."
    )


def _library(report: ReportData) -> str:
    attrs = report.attrs
    return escape(f"{attrs['inference_library']} {attrs['inference_library_version']}")


def _numbers(report: ReportData) -> list[tuple[str, str]]:
    return [
        ("ELBO", _text(report["elbo"])),
        ("entropy sum", _text(report["entropy_sum"])),
        ("gap in nats", _text(report["gap"])),
        ("gap in % of ELBO", f"{_text(100 * report.relative_gap)} %"),
    ]


def _headline(report: ReportData) -> str:
    pairs = (f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _numbers(report))
    return f"<dl>{''.join(pairs)}</dl>"


def _no_claim(report: ReportData) -> str:
    if not report.no_claim:
        return ""
    return (
        "<p><b>No claim</b> is made of the gap, because of the objective of training "
        f"({escape(report.no_claim)}): the theorem says nothing of this optimum.</p>"
    )


def _findings(report: ReportData) -> str:
    items = "".join(f"<li>{escape(finding)}</li>" for finding in findings(report))
    return f"<section><h2>Findings</h2><ul>{items}</ul></section>"


def _section(heading: str, table: pd.DataFrame, note: str) -> str:
    box = f'<div class="scroll">{_table(table)}</div>'
    if len(table) > LONG:
        box = f"<details><summary>{len(table)} rows</summary>{box}</details>"
    return f"<section><h2>{heading}</h2>{note}{box}</section>"


def _table(table: pd.DataFrame) -> str:
    def row(cells: Iterable[str]) -> str:
        return f"<tr>{''.join(cells)}</tr>"

    names = ["", *(str(name).replace("_", " ") for name in table.columns)]
    head = row(f'<th scope="col">{escape(name)}</th>' for name in names)
    lines = [
        row([f'<th scope="row">{escape(str(label))}</th>', *map(_cell, values)])
        for label, values in zip(table.index, table.itertuples(index=False), strict=True)
    ]
    return f"<table><thead>{head}</thead><tbody>{''.join(lines)}</tbody></table>"


def _cell(value: Any) -> str:
    number = isinstance(value, float | int | np.integer) and not isinstance(value, bool)
    kind = "" if number else ' class="text"'
    return f"<td{kind}>{escape(_text(value))}</td>"


def _text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    if np.isnan(value):
        return "–"
    # Four digits show a gap in nats; a small one or its error needs an exponent to be seen.
    return f"{value:.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.1e}"


def _untreated(report: ReportData) -> str:
    reasons = report.untreated.items()
    if not reasons:
        return ""
    pairs = (f"<li><b>{escape(name)}</b>: {escape(why)}</li>" for name, why in reasons)
    return f"<section><h2>Not treated</h2><ul>{''.join(pairs)}</ul></section>"


def _footer(report: ReportData) -> str:
    tree = report.to_datatree()
    arviz = tree["entropy_sum"].attrs
    made = datetime.fromisoformat(tree.attrs["created_at"])
    versions = [
        _library(report),
        escape(f"{arviz['creation_library']} {arviz['creation_library_version']}"),
        f"elbo-entropy {__version__}",
    ]
    return (
        "<footer>mcse: the Monte-Carlo standard error of the mean. "
        f'Estimated <time datetime="{made.isoformat()}">{made:%Y-%m-%d %H:%M %Z}</time>; '
        f"{', '.join(versions)}.</footer>"
    )


def _figures(report: ReportData) -> list[str]:
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
            course is not None and latents and "active_latents" in course,
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
    return [_figure(plot, report, size, caption) for wanted, plot, size, caption in shown if wanted]


def _figure(
    plot: Callable[..., Any], report: ReportData, size: tuple[float, float], caption: str
) -> str:
    light, dark = (_svg(plot, report, size, scheme) for scheme in ("default", "dark_background"))
    return (
        f'<figure><picture><source srcset="{dark}" media="(prefers-color-scheme: dark)">'
        f'<img src="{light}" alt="{caption}"></picture><figcaption>{caption}</figcaption></figure>'
    )


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
