"""What a report says in plain words: if the gap is real, where it is, and what to do about it."""

from collections.abc import Mapping

import numpy as np

from entropy_core.report.coverage import (
    listed,
    on_checks,
    on_missing_sites,
    on_parts_of_the_data,
    on_scales,
)
from entropy_core.report.residuals import on_residuals
from entropy_core.results.data import ReportData
from entropy_core.results.numbers import short

# A change of the ELBO over the last fifth of training, relative to the ELBO.
STILL_MOVING = 0.01


def findings(report: ReportData, num_dims: Mapping[str, int] | None = None) -> list[str]:
    """What the numbers of a report mean, a sentence or two for each finding.

    Args:
        report: Any report.
        num_dims: The number of dimensions `D` of a data point, by site, where the report does not
            know it, as of one with masks: with it, a finding says how far a scale is off.

    Returns:
        The findings: on what the sums are over, on the gap, on each site whose residual is not
        small or that has a claim of the theorem, the largest first, on collapsed latents, on
        training.

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
        *on_residuals(report, num_dims or {}),
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


def _on_latents(report: ReportData) -> list[str]:
    latents = report.latents()
    if latents.empty:
        return []
    collapsed = latents[latents["collapsed"]]
    num, count = len(latents), len(collapsed)
    wide = "as wide as the prior (Damm et al. 2023, Eq. 24)"
    seen = {str(label).rpartition("[")[0] for label in latents.index}
    sites = report.sites()
    others = [n for n in sites[sites["role"] == "prior"]["site_name"] if n not in seen]
    # The others may have collapsed or not.
    of = f"{num} {'latent' if num == 1 else 'latents'}"
    if others:
        names = listed([f"'{name}'" for name in others])
        of += f" that could be looked at (not {names})"
    have = "has" if count == 1 else "have"
    if count == num:
        all_ = f"The {of.removeprefix('1 ')}" if num == 1 else f"All {of}"
        found = [f"{all_} {have} collapsed: the encoder is nearly {wide}."]
    elif count:
        found = [
            f"{count} of {of} {have} collapsed, {listed(collapsed.index)}: the encoder is nearly "
            f"{wide}; fewer latents might do."
        ]
    elif num > 1:
        found = [f"None of the {of} has collapsed."]
    else:
        found = [f"The {of.removeprefix('1 ')} has not collapsed."]
    for disagree, is_, moves in (
        (collapsed[collapsed["active"]], "collapsed by entropy", "moves"),
        (
            latents[~latents["collapsed"] & ~latents["active"]],
            "not collapsed by entropy",
            "hardly moves",
        ),
    ):
        if len(disagree):
            found.append(
                f"The criteria disagree on {listed(disagree.index)}: {is_}, and yet the encoder's "
                f"mean {moves} with the data (Burda et al. 2016)."
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
