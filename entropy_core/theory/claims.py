"""What the theorem claims for each site of a model: the residual as a gradient, and what is left.

A site of an exponential family has the residual `r = E_q[eta . (T(v) - E_p T)]`. With a direction
`beta` of the parameters that scales the natural parameters, `J beta = eta`, and moves nothing else,

    r = <grad F, beta>  +  E_q[(T - E_p T) . (eta - J beta)]

so that the first part is zero at a stationary point, and the second one where there is such a
direction (Damm et al. 2023, proof of Theorem 2). It is searched for numerically, in any
parametrisation: the arithmetic is NumPy's, the Jacobian comes from either backend.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from arviz_base import dict_to_dataset
from numpy.typing import NDArray

from entropy_core.theory.directions import Array, Direction, search
from entropy_core.theory.linearised import Linearised
from entropy_core.theory.verdicts import (
    LEVEL,
    LOOKS,
    TOLERANCE,
    TOO_FEW,
    Judgement,
    Verdict,
    interval,
    judge,
)

# A direction with so small a misfit counts too, where what it leaves is below the tolerance.
NEAR = 1e-3


class SiteClaim(NamedTuple):
    """The residual of a site, or of sites that share parameters, and the claim of the theorem.

    Args:
        sites: The sites.
        residual: The sum of their residuals, in nats per data point.
        mcse: The Monte-Carlo standard error of the residual; NaN from a single draw.
        gradient_part: `<grad F, beta>`, which is zero at a stationary point.
        rest: What the direction does not explain, `residual - gradient_part - base_measure`.
        base_measure: `E_q[log h] - E_q E_p[log h]` where the base measure `h` is not constant.
        misfit: `|eta - J beta| / |eta|`, 0 where the theorem's direction exists, NaN where there
            is nothing to look for.
        verdict: On the residual: `"holds"` where it is surely below the tolerance,
            `"not converged"` where it is surely above, and is the gradient along a direction,
            `"no claim"` where no direction says that it vanishes, `"not decided"` where the draws,
            or the data points, do not tell. All verdicts are right together with probability
            `1 - LEVEL`, as far as draws go.
        reason: Why, in words.
        needed_draws: About how many draws would decide; NaN where that is unknown, or not needed.
        num_draws: The number of draws for each data point.
        tolerance: What counts as zero, in nats per data point.
    """

    sites: tuple[str, ...]
    residual: float
    mcse: float
    gradient_part: float
    rest: float
    base_measure: float
    misfit: float
    verdict: Verdict
    reason: str
    needed_draws: float = np.nan
    num_draws: int = 0
    tolerance: float = TOLERANCE

    @property
    def judgement(self) -> Judgement:
        """The verdict alone."""
        return Judgement(self.verdict, self.reason, self.needed_draws)


class Evidence(NamedTuple):
    """What one draw for each data point says of a model and guide, in nats per data point.

    A site outside the data plate has its share of a data point, as in the sums of the ELBO.

    Args:
        gradient: That of the ELBO, `(P,)`.
        residuals: The residual of each model site.
        base_measures: `E_q[log h] - E_q E_p[log h]` of sites whose base measure is not constant.
        untreated: Why a site has no residual, or one without an entropy in it.
    """

    gradient: Array
    residuals: Mapping[str, float]
    base_measures: Mapping[str, float]
    untreated: Mapping[str, str]


def claims_group(claims: Sequence[SiteClaim]) -> xr.Dataset:
    """The claims as the group `claims` of a report, over the dimension `claim`."""
    columns = {
        name: np.array([getattr(claim, name) for claim in claims])
        for name in SiteClaim._fields
        if name != "sites"
    }
    return dict_to_dataset(
        columns,
        dims={name: ["claim"] for name in columns},
        coords={"claim": [", ".join(claim.sites) for claim in claims]},
        sample_dims=[],
    )


class Found(NamedTuple):
    """The directions of a pair, for sites alone, for scaled latents, and for sites together."""

    own: Mapping[str, Direction]
    scaled: Mapping[str, Direction]
    groups: Sequence[Direction]
    solved: float

    def of(self, name: str) -> Direction | None:
        """The best direction for a site, `None` where there was nothing to look for."""
        candidates = [d for d in (self.own.get(name), self.scaled.get(name)) if d is not None]
        best = min(candidates, key=lambda d: d.misfit, default=None)
        together = [g for g in self.groups if name in g.sites and g.misfit <= self.solved]
        return together[0] if together and (best is None or best.misfit > self.solved) else best


def find_directions(at: Linearised, *, solved: float) -> Found:
    """Looks for the theorem's direction of each site, and of sites that share parameters.

    Args:
        at: The model and guide.
        solved: The relative misfit below which a direction counts as found.
    """
    touched = {name: np.abs(at.jacobian.vjp(eta)) > 0 for name, eta in at.natural.items()}
    own = {name: Direction((name,), eta) for name, eta in at.natural.items() if touched[name].any()}
    scaled = {name: Direction((name,), *rest) for name, rest in at.rescaling.items()}
    groups = [
        Direction(group, np.sum([at.natural[name] for name in group], axis=0))
        for group in _sharing({name: touched[name] for name in own})
    ]
    search(at.jacobian, at.arrays, [*own.values(), *scaled.values(), *groups], solved)
    return Found(own, scaled, groups, solved)


def explain(
    at: Linearised, found: Found, draws: Sequence[Evidence], *, tolerance: float
) -> list[SiteClaim]:
    """The claim of the theorem for each site, or for sites that share parameters together.

    Args:
        at: The model and guide.
        found: Its directions.
        draws: What all data say, for each draw.
        tolerance: What counts as zero, in nats per data point.
    """
    # Without them the ELBO is another one, and so are its gradient and its stationary points.
    residuals, reasons = draws[0].residuals, draws[0].untreated
    missing = [name for name in at.sites if name not in residuals]
    left_out = [name for name in missing if name in reasons]
    # As where a plate draws rows one after another, each of which has sites of its own.
    undrawn = [name for name in missing if name not in reasons]
    partial = f"the ELBO leaves out {', '.join(left_out)}" if left_out else ""
    partial = partial or (f"some draws lack {', '.join(undrawn)}" if undrawn else "")
    claims: dict[tuple[str, ...], SiteClaim | Direction | None] = {}
    done: set[str] = set()
    # A factor of the guide has a residual and is no site of the model.
    for name in dict.fromkeys([*at.sites, *residuals]):
        if name in done:
            continue
        untreated = reasons.get(name, partial)
        if untreated:
            rest = interval(np.array([e.residuals.get(name, np.nan) for e in draws]), LEVEL)
            numbers = (rest.mean, rest.mcse, 0.0, rest.mean, 0.0, np.nan)
            claims[name,] = SiteClaim(
                (name,), *numbers, "no claim", untreated, np.nan, len(draws), tolerance
            )
            continue
        direction = found.of(name)
        sites = direction.sites if direction else (name,)
        done.update(sites)
        claims[sites] = direction
    level = LEVEL / LOOKS / max(1, sum(not isinstance(c, SiteClaim) for c in claims.values()))
    return [
        claim
        if isinstance(claim, SiteClaim)
        else _claim(claim, sites, draws, tolerance, level, found.solved, at.reasons)
        for sites, claim in claims.items()
    ]


def _sharing(touched: Mapping[str, NDArray[np.bool_]]) -> list[tuple[str, ...]]:
    """The sites that share parameters, directly or through others, where there are several."""
    groups: list[set[str]] = []
    for name in touched:
        joined = [g for g in groups if any((touched[name] & touched[other]).any() for other in g)]
        groups = [g for g in groups if g not in joined] + [{name}.union(*joined)]
    return [tuple(name for name in touched if name in g) for g in groups if len(g) > 1]


def _claim(
    direction: Direction | None,
    sites: tuple[str, ...],
    draws: Sequence[Evidence],
    tolerance: float,
    level: float,
    solved: float,
    reasons: Mapping[str, str],
) -> SiteClaim:
    residuals = np.array([sum(e.residuals[name] for name in sites) for e in draws])
    measures = np.array([sum(e.base_measures.get(name, 0.0) for name in sites) for e in draws])
    parts, misfit, exists = np.zeros(len(draws)), np.nan, False
    reason = "no parameter that could be scaled"
    if direction is not None:
        misfit = direction.misfit
        reason = f"no direction of the parameters scales it alone (misfit {misfit:.2g})"
        reason = reason if direction.is_complete else TOO_FEW
    if direction is not None and direction.beta is not None:
        parts = np.array([e.gradient @ direction.beta for e in draws]) / direction.power
        rest = interval(residuals - parts - measures, level)
        exists = misfit <= solved or (misfit <= NEAR and rest.is_within(tolerance))
    judgement = judge(
        direction if exists else None,
        residuals,
        parts,
        measures,
        tolerance=tolerance,
        level=level,
        reason=reasons.get(sites[0], reason),
    )
    residual = interval(residuals, level)
    part, measure = float(parts.mean()), float(measures.mean())
    left = residual.mean - part - measure
    numbers = (residual.mean, residual.mcse, part, left, measure, misfit)
    return SiteClaim(sites, *numbers, *judgement, len(draws), tolerance)
