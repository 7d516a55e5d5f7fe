"""What the residuals of a report mean: of which sites, how large, and what to do about each."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from entropy_core.report.coverage import listed
from entropy_core.report.families import meaning
from entropy_core.results import tables
from entropy_core.results.data import ReportData
from entropy_core.results.numbers import short
from entropy_core.theory.verdicts import LEVEL, NOISE, TOO_FEW, UNCLEAR

# A residual below it, in nats, is not worth a sentence where there are no verdicts.
SMALL = 0.01
# An error below it, relative to the number, is none of draws.
ROUNDING = 1e-6
# So many names of one kind are one sequence.
SEQUENCE = 3


@dataclass(frozen=True)
class Subject:
    """One or more sites that a sentence is about.

    Args:
        sites: Their names.
        residual: The sum of their residuals, as a part of the gap.
        error: Its standard error; at most so much where sites are put together.
        verdict: That of their claim, empty without one.
        reason: The reason for it.
        needed_draws: How many draws would decide; NaN if unknown.
        meaning: What the residual means for a distribution of its family, and what to do.
        is_factor: Whether it is a factor, of which there is nothing to claim.
    """

    sites: tuple[str, ...]
    residual: float
    error: float
    verdict: str = ""
    reason: str = ""
    needed_draws: float = np.nan
    meaning: str = ""
    is_factor: bool = False

    @property
    def names(self) -> str:
        """The names in a sentence; those of a sequence by the first and the last one."""
        first, last = self.sites[0], self.sites[-1]
        if len(self.sites) >= SEQUENCE and len({pattern(name) for name in self.sites}) == 1:
            return f"the {len(self.sites)} sites '{first}' to '{last}'"
        return listed([f"'{name}'" for name in self.sites])

    @property
    def size(self) -> str:
        """The residual with its error, and its unit."""
        # What is in closed form has the errors of its float alone.
        if not self.error > ROUNDING * abs(self.residual):
            return f"{self.residual:.3g} nats"
        # An error has two digits, and the number those that it leaves.
        digits = max(0, 1 - int(np.floor(np.log10(self.error))))
        if digits > 6 or abs(self.residual) >= 1e6:
            return f"{self.residual:.3g} ± {self.error:.1g} nats"
        return f"{self.residual:.{digits}f} ± {self.error:.{digits}f} nats"


def pattern(name: str) -> str:
    """A name without its numbers: those of an unrolled sequence are the same.

    Example:
        >>> pattern("z_12") == pattern("z_3")
        True
    """
    return re.sub(r"\d+", "#", name)


def subjects(report: ReportData, num_dims: Mapping[str, int]) -> list[Subject]:
    """The sites of a report, those of a claim or of a sequence together, the largest first."""
    table = tables.sites_per_data_point(report.to_datatree())
    table = table[table["role"] != "encoder"]
    num_data = report.attrs["num_data"]
    # Not every saved report has it.
    table["share"] = num_data / table.get("num_data", pd.Series(num_data, table.index))
    found = _with_claims(report, table, num_dims)
    judged = {name for subject in found for name in subject.sites}
    found += [
        _alone(row, num_dims) for _, row in table.iterrows() if row["site_name"] not in judged
    ]
    return sorted(_put_together(found), key=lambda subject: -abs(np.nan_to_num(subject.residual)))


def on_residuals(report: ReportData, num_dims: Mapping[str, int]) -> list[str]:
    """A finding for each subject that is worth one, and one for all that hold."""
    found = subjects(report, num_dims)
    trained_on = _other_objective(report)
    texts = filter(None, (_sentence(subject, trained_on) for subject in found))
    capitalised = [text[0].upper() + text[1:] for text in texts]
    return [*capitalised, *_on_holding(report, found), *_on_cancelling(report)]


def level(claims: pd.DataFrame) -> str:
    """What counts as zero in claims, from how many draws, and at which level of error."""
    # Not every saved report has them.
    if "tolerance" not in claims:
        return "report.claims() has their parts"
    tolerance, draws = claims["tolerance"].iloc[0], claims["num_draws"].max()
    return (
        f"zero is below {short(tolerance)} nats per data point; {draws} draws, "
        f"joint error level {100 * LEVEL:.2g} %"
    )


def _with_claims(
    report: ReportData, table: pd.DataFrame, num_dims: Mapping[str, int]
) -> list[Subject]:
    if report.group("claims") is None:
        return []
    rows = {str(row["site_name"]): row for _, row in table.iterrows()}
    found = []
    for names, claim in report.claims().iterrows():
        sites = tuple(str(names).split(", "))
        alone = rows.get(sites[0]) if len(sites) == 1 else None
        found.append(
            Subject(
                sites,
                claim["residual"],
                claim["mcse"],
                claim["verdict"],
                claim["reason"],
                claim.get("needed_draws", np.nan),
                "" if alone is None else meaning(alone, num_dims),
                alone is not None and "factor" in alone["role"],
            )
        )
    return found


def _alone(row: pd.Series, num_dims: Mapping[str, int]) -> Subject:
    number = row["residual"], row["residual_mcse"]
    is_factor = "factor" in row["role"]
    return Subject(
        (row["site_name"],), *number, meaning=meaning(row, num_dims), is_factor=is_factor
    )


def _put_together(found: Sequence[Subject]) -> Iterable[Subject]:
    """Sites of one sequence with one verdict as one subject."""
    kinds: dict[tuple, list[Subject]] = {}
    for subject in found:
        reason = re.sub(r" \(misfit .*\)| adds \S+ nats", "", subject.reason)
        alike = sorted({pattern(name) for name in subject.sites})
        kind = (*alike, subject.is_factor, subject.verdict, reason)
        kinds.setdefault(kind, []).append(subject)
    for (*_, reason), parts in kinds.items():
        if len(parts) < SEQUENCE:
            yield from parts
            continue
        yield replace(
            parts[0],
            sites=tuple(name for part in parts for name in part.sites),
            residual=sum(part.residual for part in parts),
            # Their errors may go together.
            error=sum(part.error for part in parts),
            reason=reason,
            needed_draws=max(part.needed_draws for part in parts),
            meaning="",
        )


def _sentence(subject: Subject, trained_on: str) -> str:
    """What was seen, what it means, what to do."""
    several = len(subject.sites) > 1
    size = "" if np.isnan(subject.residual) else f" (residual {subject.size})"
    if subject.is_factor:
        if abs(subject.residual) < SMALL:
            return ""
        adds = "factors {} add" if several else "factor {} adds"
        return (
            f"The {adds.format(subject.names)} "
            f"{subject.size} to the ELBO and, without an entropy, nothing to the entropy sum."
        )
    if subject.verdict == "holds":
        return ""
    if subject.verdict == "not converged" and trained_on:
        return (
            f"The residual of {subject.names}, {subject.size}, is a gradient of the ELBO, which is "
            f"not what was trained ({trained_on}).{subject.meaning}"
        )
    if subject.verdict == "not converged":
        have = "have" if several else "has"
        return (
            f"{subject.names} {have} not converged{size}: the ELBO of these "
            "data still has a gradient there. If they are those of the training, train longer."
            f"{subject.meaning}"
        )
    if subject.verdict == "no claim":
        text = f"The theorem makes no claim for {subject.names}{size}: {subject.reason}."
        return f"{text}{subject.meaning if size else ''}"
    if subject.verdict == "not decided":
        return (
            f"Whether the theorem's claim holds for {subject.names}{size} is not decided: "
            f"{subject.reason}{_what_would_tell(subject)}."
        )
    error = np.nan_to_num(subject.error)
    if abs(subject.residual) < SMALL or abs(subject.residual) <= 2 * error:
        return ""
    return f"The residual of {subject.names} is {subject.size}.{subject.meaning}"


def _what_would_tell(subject: Subject) -> str:
    if subject.reason == TOO_FEW:
        return ""
    if subject.reason in (NOISE, UNCLEAR) and np.isfinite(subject.needed_draws):
        return f"; about {short(subject.needed_draws)} draws for each data point would"
    return "; more draws may"


def _on_holding(report: ReportData, found: Sequence[Subject]) -> list[str]:
    holding = [subject for subject in found if subject.verdict == "holds"]
    if not holding:
        return []
    tolerance = report.claims().get("tolerance", pd.Series([np.nan])).iloc[0]
    within = "" if np.isnan(tolerance) else f" within {short(tolerance)} nats"
    names = ", ".join(subject.names for subject in holding[:3])
    more = f" and {len(holding) - 3} more" if len(holding) > 3 else ""
    one = len(holding) == 1 and len(holding[0].sites) == 1
    if one:
        return [f"The residual of {names} is zero{within}."]
    return [f"The residuals of {names}{more} are zero{within}."]


def _on_cancelling(report: ReportData) -> list[str]:
    table = tables.sites_per_data_point(report.to_datatree())
    residual, error = table["residual"], table["residual_mcse"].fillna(0.0)
    real = table[(residual.abs() > 2 * error) & (residual.abs() >= SMALL)]
    above, below = (real[real["residual"] * sign > 0]["residual"].sum() for sign in (1, -1))
    if min(above, -below) <= 0 or abs(above + below) >= 0.1 * max(above, -below):
        return []
    names = listed([f"'{name}'" for name in dict.fromkeys(real["site_name"])])
    return [
        f"Residuals of {short(above)} and {short(below)} nats cancel ({names}), so that a small "
        "gap hides them."
    ]


def _other_objective(report: ReportData) -> str:
    sums = report.group("entropy_sum")
    if report.no_claim:
        return report.no_claim
    return "scale handlers" if sums is not None and "scaled_elbo" in sums else ""
