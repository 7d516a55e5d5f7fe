"""A report as text."""

from textwrap import wrap

from entropy_core.report.findings import findings
from entropy_core.results.data import ReportData


def render_text(report: ReportData) -> str:
    """The report as a person reads it on a terminal: the numbers, and what they mean."""
    attrs, latents = report.attrs, report.latents()
    lines = [
        f"Entropy report · {attrs['inference_library']} {attrs['inference_library_version']}",
        f"{report.size}, {attrs['num_particles']} draws each, {report.units}",
        "",
        report.summary().to_string(float_format=lambda value: f"{value:.4f}"),
        "",
        f"relative gap  {100 * report.relative_gap:.3f} %",
    ]
    if report.no_claim:
        lines.append(f"no claim      {report.no_claim}: the theorem says nothing of this optimum")
    if len(latents):
        active = f"{latents['active'].sum()} active, {latents['collapsed'].sum()} collapsed"
        lines.append(f"latents       {active} of {len(latents)}")
    lines += [f"not treated   {name}: {why}" for name, why in report.untreated.items()]
    lines.append("")
    for finding in findings(report):
        lines += wrap(finding, 88, initial_indent="- ", subsequent_indent="  ")
    return "\n".join(lines)
