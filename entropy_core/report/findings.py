"""What a report says in plain words: if the gap is real, where it is, and what to do about it."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from entropy_core.report.coverage import (
    listed,
    on_checks,
    on_missing_sites,
    on_parts_of_the_data,
    on_scales,
)
from entropy_core.results.data import ReportData
from entropy_core.results.numbers import short

# A residual below it, in nats, is not worth a sentence; nor is a scale that is off by less.
SMALL = 0.01
# A change of the ELBO over the last fifth of training, relative to the ELBO.
STILL_MOVING = 0.01


def findings(report: ReportData, num_dims: Mapping[str, int] | None = None) -> list[str]:
    """What the numbers of a report mean, a sentence or two for each finding.

    The scale of a Gaussian site with one scale for its `D` dimensions is best at
    `sigma*^2 = sigma^2 (1 - 2 r / D)`, with the residual `r` of the site in nats per data point
    (from Damm et al. 2023, Eq. 76).

    Args:
        report: Any report.
        num_dims: The number of dimensions `D` of a data point, by site, where the report does not
            know it, as of one with masks: with it, a finding says how far the scale is off.

    Returns:
        The findings: on sites that no sum holds, on the gap, on each site whose residual is not
        small, on collapsed latents, on training.

    Example:
        >>> for finding in findings(EntropyReport.load("report.nc")):  # doctest: +SKIP
        ...     print(finding)
    """
    return [
        *on_missing_sites(report),
        *on_parts_of_the_data(report),
        *on_scales(report),
        *on_checks(report),
        *_on_the_gap(report),
        *_on_claims(report),
        *_on_sites(report, num_dims or {}),
        *_on_latents(report),
        *_on_training(report),
    ]


def _on_the_gap(report: ReportData) -> list[str]:
    found = []
    if report.no_claim:
        found.append(
            f"The pair was trained for another optimum than the ELBO's ({report.no_claim}): a gap "
            "is no sign that training has not converged."
        )
    gap, error = map(float, report.summary().loc["gap"])
    size = f"{short(abs(gap))} nats, {short(100 * report.relative_gap)} % of the ELBO"
    if np.isnan(error):
        found.append(f"The gap is {size}; one draw does not tell its Monte-Carlo error.")
    elif abs(gap) <= 2 * error:
        found.append(
            f"The gap is within its Monte-Carlo error ({size}; two standard errors are "
            f"{short(2 * error)} nats): ELBO and entropy sum agree as far as the draws can tell."
        )
    elif error == 0:
        found.append(f"The gap is {size}, and does not depend on draws.")
    else:
        above = "above" if gap > 0 else "below"
        times = f"{abs(gap) / error:.1f}" if abs(gap) < 1000 * error else "more than 1000"
        draws = "is no effect" if abs(gap) > 4 * error else "may still be an effect"
        found.append(
            f"The ELBO is {above} the entropy sum by {size}: {times} standard errors, so that it "
            f"{draws} of too few draws."
        )
    return found


def _on_claims(report: ReportData) -> list[str]:
    if report.group("claims") is None:
        return []
    found = []
    for names, claim in report.claims().iterrows():
        sites = " and ".join(f"'{name}'" for name in str(names).split(", "))
        if claim["verdict"] == "holds":
            found.append(f"The theorem's claim holds for {sites}, within the tolerance.")
        elif claim["verdict"] == "not converged":
            found.append(
                f"Training has not converged for {sites}: the theorem says that the residual of "
                f"{claim['residual']:.3g} nats vanishes at a stationary point."
            )
        else:
            found.append(f"The theorem makes no claim for {sites}: {claim['reason']}.")
    return found


def _on_sites(report: ReportData, num_dims: Mapping[str, int]) -> list[str]:
    sites = report.sites()
    residual, error = sites["residual"], sites["residual_mcse"].fillna(0.0)
    real = sites[(residual.abs() > 2 * error) & (residual.abs() >= SMALL)]
    # The largest first.
    real = real.loc[real["residual"].abs().sort_values(ascending=False).index]
    verdicts = _verdicts(report)
    real = real[[verdicts.get(name) != "holds" for name in real["site_name"]]]
    found = [
        _on_site(report, site, num_dims, judged=site["site_name"] in verdicts)
        for _, site in real.iterrows()
    ]
    if len(real) > 1 and abs(report["gap"]) < 0.1 * real["residual"].abs().max():
        names = ", ".join(f"'{name}'" for name in real["site_name"])
        found.append(
            f"The residuals of {names} cancel, so that a small gap hides them: sites that share "
            "parameters do that at the optimum, others while training goes on."
        )
    return found


def _verdicts(report: ReportData) -> dict[str, str]:
    if report.group("claims") is None:
        return {}
    rows = report.claims()["verdict"].items()
    return {name: verdict for names, verdict in rows for name in str(names).split(", ")}


def _on_site(
    report: ReportData, site: pd.Series, num_dims: Mapping[str, int], *, judged: bool
) -> str:
    name, residual = f"'{site['site_name']}'", site["residual"]
    if "factor" in site["role"]:
        return (
            f"The factor {name} adds {residual:.3g} nats to the ELBO and, as it has no entropy, "
            "nothing to the entropy sum."
        )
    text = (
        f"The site {name} has a residual of {residual:.3g} nats: its values are "
        f"{'closer to' if residual > 0 else 'further from'} where its distribution expects them "
        "than its entropy says."
    )
    in_data_plate = site["per"] == "data point"
    dims = num_dims.get(site["site_name"]) or _num_dims(site)
    # Of the data points that have the site.
    num_data = report.attrs["num_data"]
    own = residual * num_data / site.get("num_data", num_data)
    ratio = 1 - 2 * own / dims if dims and in_data_plate else np.nan
    if site["role"] == "prior":
        compared = f"{ratio:.3g} times" if ratio > 0 else ("below" if residual > 0 else "above")
        return f"{text} If it is Gaussian, the mean square of its draws is {compared} its variance."
    large = "large" if residual > 0 else "small"
    # Where there are claims, they say which of the two it is.
    why = "" if judged else ": it has not converged, or is not learned"
    # A Gaussian's residual is below D / 2.
    if ratio > 0:
        off = 100 * abs(ratio**-0.5 - 1)
        scale = f"one scale for its {dims} dimensions" if dims > 1 else "one dimension"
        return (
            f"{text} If it is Gaussian with {scale}, sigma is about {short(off)} % too "
            f"{large}{why}."
        )
    return f"{text} If it is Gaussian with one scale, sigma is too {large}{why}."


def _num_dims(site: pd.Series) -> int:
    # Not every saved report has it.
    return int(site.get("num_dims", 0))


def _on_latents(report: ReportData) -> list[str]:
    latents = report.latents()
    if latents.empty:
        return []
    collapsed = latents[latents["collapsed"]]
    num = len(latents)
    wide = "as wide as the prior (Damm et al. 2023, Eq. 24)"
    if len(collapsed) == num:
        found = [f"All {num} latents have collapsed: the encoder is nearly {wide}."]
    elif len(collapsed):
        found = [
            f"{len(collapsed)} of {num} latents {'has' if len(collapsed) == 1 else 'have'} "
            f"collapsed, {listed(collapsed.index)}: the encoder is nearly {wide}; fewer latents "
            "might do."
        ]
    else:
        found = [
            f"None of the {num} latents has collapsed."
            if num > 1
            else "The latent has not collapsed."
        ]
    moving = collapsed[collapsed["active"]]
    if len(moving):
        found.append(
            f"The criteria disagree on {listed(moving.index)}: collapsed by entropy, and yet the "
            "encoder's mean moves with the data (Burda et al. 2016)."
        )
    still = latents[~latents["collapsed"] & ~latents["active"]]
    if len(still):
        found.append(
            f"The criteria disagree on {listed(still.index)}: not collapsed by entropy, and yet "
            "the encoder's mean hardly moves with the data (Burda et al. 2016)."
        )
    return found


def _on_training(report: ReportData) -> list[str]:
    history = report.group("history")
    elbo = np.zeros(0) if history is None else np.asarray(history.get("elbo", []))
    if len(elbo) < 5:
        return []
    # From the mean of a fifth of training to that of the next one: single rows are noisy.
    fifth = len(elbo) // 5
    change = elbo[-fifth:].mean() - elbo[-2 * fifth : -fifth].mean()
    if abs(change) < STILL_MOVING * abs(elbo[-1]):
        return []
    moved = "rose" if change > 0 else "fell"
    return [
        f"Training was not over: the ELBO still {moved} by {short(abs(change))} nats from the "
        "last fifth but one of the history to the last."
    ]
