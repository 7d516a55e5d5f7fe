"""A report as text."""

from textwrap import wrap

import pandas as pd

from entropy_core.report.findings import findings
from entropy_core.report.residuals import level, pattern
from entropy_core.results.data import ReportData
from entropy_core.results.tables import ROWS

# So many rows of residuals, lines on sites that are not treated, and findings: one screen.
MAX_ROWS, MAX_UNTREATED, MAX_FINDINGS = 8, 4, 8


def render_text(report: ReportData) -> str:
    """The report as a person reads it on a terminal: the numbers, and what they mean."""
    attrs, latents = report.attrs, report.latents()
    draws = "1 draw" if attrs["num_particles"] == 1 else f"{attrs['num_particles']} draws"
    lines = [
        f"Entropy report · {attrs['inference_library']} {attrs['inference_library_version']}",
        f"{report.size}, {draws} each, {report.units}",
        "",
        *_numbers(report.summary()),
        "",
        f"relative gap  {100 * report.relative_gap:.3f} %",
    ]
    if report.no_claim:
        lines.append(f"no claim      {report.no_claim}: the theorem says nothing of this optimum")
    if report.group("claims") is not None:
        lines.append(f"claims        {level(report.claims())}")
    if len(latents):
        active = f"{latents['active'].sum()} active, {latents['collapsed'].sum()} collapsed"
        lines.append(f"latents       {active} of {len(latents)}")
    if report.group("rate") is not None:
        table = report.rate()
        code, file, elbo = table.loc[
            ["code less seed", "file", "negative ELBO, other draws"], "bits_per_dim"
        ]
        lines.append(
            f"code          {code:.4f} bits a variable less seed, its file {file:.4f}; "
            f"negative ELBO {elbo:.4f}"
        )
    lines += [*_untreated(report.untreated), ""]
    found = findings(report)
    for finding in found[:MAX_FINDINGS]:
        lines += wrap(finding, 88, initial_indent="- ", subsequent_indent="  ")
    if len(found) > MAX_FINDINGS:
        lines.append(f"- {len(found) - MAX_FINDINGS} more in report.findings()")
    return "\n".join(lines)


def _numbers(table: pd.DataFrame) -> list[str]:
    """The summary, with the largest residuals of many."""
    residuals = table.iloc[len(ROWS) :]
    rest = 0
    if len(residuals) > MAX_ROWS:
        kept = residuals["mean"].abs().nlargest(MAX_ROWS).index
        rest = len(residuals) - len(kept)
        table = pd.concat([table.iloc[: len(ROWS)], residuals[residuals.index.isin(kept)]])
    lines = table.to_string(float_format=lambda value: f"{value:.4f}").split("\n")
    return [*lines, f"... and {rest} smaller ones in report.summary()"] if rest else lines


def _untreated(reasons: dict[str, str]) -> list[str]:
    """Sites of one sequence with one reason in one line."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for name, why in reasons.items():
        kinds.setdefault((pattern(name), why), []).append(name)
    lines = []
    for (_, why), names in kinds.items():
        shown = f"{names[0]} to {names[-1]}" if len(names) > 2 else ", ".join(names)
        lines.append(f"not treated   {shown}: {why}")
    more = [f"not treated   {len(lines) - MAX_UNTREATED} more in report.untreated"]
    return lines if len(lines) <= MAX_UNTREATED + 1 else [*lines[:MAX_UNTREATED], *more]
