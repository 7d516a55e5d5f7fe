"""What a certificate says of a trained model: its residuals where the gradient vanishes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from entropy_core.checks import expected
from entropy_core.results.seen import PlateSeen, data_set_size, plates_of
from entropy_core.theory.claims import SiteClaim
from entropy_core.traces.plates import SEVERAL_DATA_SETS, find_data_plate
from entropy_core.traces.records import Plate, SiteTerms, mean_or_total, part_of
from entropy_core.training.optimum.stationary import Stationary

# A residual is at most the norm of the gradient times the length of its direction, some ten.
TOLERANCE, GRADIENT_TOLERANCE, MAX_EVALUATIONS = 1e-6, 1e-8, 20_000

NOT_FROZEN = (
    "a guide and a model that are smooth functions of their parameters at held draws "
    "(no draws by rejection, as those of Gamma, Beta and Dirichlet distributions, no randomness "
    "of another source, no branches that look at draws or parameters)"
)


@dataclass(frozen=True)
class Certificate:
    """What `certify` found at the stationary point of the ELBO at frozen draws.

    `print` shows it as a table; all numbers are in nats per data point.

    Args:
        params: The parameters there, unconstrained where they have constraints in Pyro, in float64.
        elbo: The ELBO at the frozen draws.
        fresh_elbo: The ELBO at fresh draws, and its Monte-Carlo standard error.
        gradient_norm: The Euclidean norm of the gradient of the ELBO at the frozen draws, without
            the directions in which it jumps.
        num_kinks: In how many directions it jumps, as where absolute deviations are summed.
        gradient_tolerance: The norm up to which the point counts as stationary.
        num_evaluations: How often the ELBO and its gradient were computed.
        num_draws: The number of frozen and of fresh draws for each data point.
        claims: What the theorem claims at the frozen draws, see `explain_residuals`.
        sites: A row for each site of the model: `residual` at the frozen draws, where `mcse` is the
            error of an entropy that is sampled and 0 of one in closed form; `fresh` and
            `fresh_mcse` at fresh draws; `fitted`, the first less the second: what was fitted to
            the draws; `verdict`.
    """

    params: Mapping[str, Any]
    elbo: float
    fresh_elbo: tuple[float, float]
    gradient_norm: float
    num_kinks: int
    gradient_tolerance: float
    num_evaluations: int
    num_draws: tuple[int, int]
    claims: Sequence[SiteClaim]
    sites: pd.DataFrame

    @property
    def is_stationary(self) -> bool:
        """Whether the gradient vanishes, up to the tolerance: else no residual need do."""
        return self.gradient_norm <= self.gradient_tolerance

    def __str__(self) -> str:
        """The table."""
        frozen, fresh = self.num_draws
        norm, wanted = self.gradient_norm, self.gradient_tolerance
        where = "at" if self.is_stationary else "not at"
        size = "is at most" if self.is_stationary else "exceeds"
        kinks = f" apart from kinks in {self.num_kinks} directions" if self.num_kinks else ""
        rows = self.sites.drop(columns="reason").to_string(float_format=lambda v: f"{v:.2e}")
        reasons = [
            f"{name}: {reason}"
            for name, verdict, reason in self.sites[["verdict", "reason"]].itertuples()
            if verdict != "holds"
        ]
        return "\n".join(
            [
                f"Certificate · {where} a stationary point of the ELBO at {frozen} frozen "
                f"{'draw' if frozen == 1 else 'draws'} for each data point",
                f"gradient norm {norm:.1e}{kinks}, which {size} {wanted:.0e}; "
                f"{self.num_evaluations:,} evaluations",
                f"ELBO {self.elbo:.4f} at the frozen draws, {self.fresh_elbo[0]:.4f} "
                f"(error {self.fresh_elbo[1]:.4f}) at {fresh} fresh ones",
                "residuals in nats per data point:",
                "",
                rows,
                *([""] if reasons else []),
                *reasons,
            ]
        )


class Draw(NamedTuple):
    """What one draw for each data point says, in nats per data point: ELBO and residuals."""

    elbo: float
    residuals: dict[str, float]


class Weights:
    """What each batch counts in the ELBO of a data set, from the plates of all batches.

    A term outside the data plate is one of the whole data set, and counts once.

    Args:
        data_plate: See `find_data_plate`.
        num_draws: How many held draws there are for each data point.
    """

    def __init__(self, data_plate: str | None, num_draws: int) -> None:
        self.data_plate, self.num_draws = data_plate, num_draws
        self._plates: dict[str, PlateSeen] = {}
        self._sizes: list[int] = []

    def add(self, records: Sequence[SiteTerms]) -> None:
        """Takes in a batch.

        Raises:
            ValueError: If no plate holds all data, and there has been a batch before; or if there
                are several draws and a site outside the plate, of which each would be another one.
        """
        plate = find_data_plate(records, self.data_plate)
        outside = {record.name for record in records if part_of(record, plate)[1]}
        if self.num_draws > 1 and (outside or plate is None):
            got = f"{self.num_draws}, and {sorted(outside) or 'all sites'} outside of it"
            what = "1, or all sites in a plate over data points,"
            raise ValueError(expected(what, "num_particles", got))
        if self._sizes and not (plate and self._plates):
            raise ValueError(SEVERAL_DATA_SETS)
        for name, seen in plates_of(plate).items():
            self._plates.setdefault(name, PlateSeen()).merge(seen)
        self._sizes.append(plate.size if plate else 1)

    def shares(self, batch: int) -> NDArray[np.float64]:
        """What a batch counts: its terms in the data plate, and those outside of it."""
        share = self._sizes[batch] / sum(self._sizes)
        return np.array([share, share / data_set_size(self._plates)])

    def elbo(self, records: Sequence[SiteTerms], shares: Any) -> Any:
        """What a batch adds to the ELBO of all data, in nats per data point.

        Args:
            records: The records of its sites, with or without entropies of the model.
            shares: Those of the batch.
        """
        plate = find_data_plate(records, self.data_plate)
        return sum(_part(record, record.term, plate, shares) for record in records)

    def residuals(self, records: Sequence[SiteTerms], shares: Any) -> dict[str, Any]:
        """What it adds to the residuals of the model's sites; records have their entropies."""
        plate = find_data_plate(records, self.data_plate)
        model = [record for record in records if record.role not in ("encoder", "guide factor")]
        return {r.name: _part(r, r.residual, plate, shares) for r in model}


def added(draws: Iterable[Draw]) -> Draw:
    """A draw for a data set, from what its batches add."""
    elbo, residuals = 0.0, dict[str, float]()
    for draw in draws:
        elbo += float(draw.elbo)
        for name, value in draw.residuals.items():
            residuals[name] = residuals.get(name, 0.0) + float(value)
    return Draw(elbo, residuals)


def certificate(
    found: Stationary,
    params: Mapping[str, Any],
    claims: Sequence[SiteClaim],
    frozen: Sequence[Draw],
    fresh: Sequence[Draw],
    *,
    gradient_tolerance: float,
    tolerance: float,
    num_draws: int,
) -> Certificate:
    """Puts a certificate together from what either side has found.

    Args:
        found: The stationary point.
        params: The parameters there.
        claims: The claims at the held draws.
        frozen: The held draws, one, or several times with other draws for entropies.
        fresh: The fresh draws.
        gradient_tolerance: The norm up to which the point counts as stationary.
        tolerance: What counts as zero at the held draws.
        num_draws: The number of held draws for each data point.
    """
    rows = {}
    for claim in claims:
        verdict, reason = _verdict(claim, tolerance)
        if len(claim.sites) > 1:
            total = f"{' and '.join(claim.sites)} share parameters and add up to"
            reason = f"{total} {claim.residual:.1e}: {reason}"
        for site in claim.sites:
            residual, mcse = _mean([draw.residuals.get(site, np.nan) for draw in frozen])
            new, new_mcse = _mean([draw.residuals.get(site, np.nan) for draw in fresh])
            mcse = 0.0 if len(frozen) == 1 else mcse
            rows[site] = (residual, mcse, new, new_mcse, residual - new, verdict, reason)
    columns = ["residual", "mcse", "fresh", "fresh_mcse", "fitted", "verdict", "reason"]
    sites = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("site")
    return Certificate(
        params=params,
        elbo=frozen[0].elbo,
        fresh_elbo=_mean([draw.elbo for draw in fresh]),
        gradient_norm=found.gradient_norm,
        num_kinks=found.num_kinks,
        gradient_tolerance=gradient_tolerance,
        num_evaluations=found.num_evaluations,
        num_draws=(num_draws, len(fresh)),
        claims=tuple(claims),
        sites=sites,
    )


def _part(record: SiteTerms, values: Any, plate: Plate | None, shares: Any) -> Any:
    return shares[int(part_of(record, plate)[1])] * mean_or_total(record, values, plate)


def _verdict(claim: SiteClaim, tolerance: float) -> tuple[str, str]:
    """At held draws a residual has no error, so that nothing is left open."""
    if claim.verdict in ("no claim", "holds") or np.isnan(claim.residual):
        return claim.verdict, claim.reason
    if abs(claim.residual) <= tolerance:
        return "holds", "the residual is zero"
    return "not converged", "the ELBO has a gradient along the site's direction"


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """The mean of independent draws and its standard error; NaN from a single one."""
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return float(np.mean(values)), float(error)
