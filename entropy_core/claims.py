"""What the theorem claims for each site of a model: the residual as a gradient, and what is left.

A site of an exponential family has the residual `r = E_q[eta . (T(v) - E_p T)]`. With a direction
`beta` of the parameters that scales the natural parameters, `J beta = eta`, and moves nothing else,

    r = <grad F, beta>  +  E_q[(T - E_p T) . (eta - J beta)]

so that the first part is zero at a stationary point, and the second one where there is such a
direction (Damm et al. 2023, proof of Theorem 2). It is searched for numerically, in any
parametrisation: the arithmetic is NumPy's, the Jacobian comes from either backend.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr
from arviz_base import dict_to_dataset
from numpy.typing import NDArray

from entropy_core.directions import Array, Direction, Jacobian, search

Verdict = Literal["holds", "not converged", "no claim"]


class SiteClaim(NamedTuple):
    """The residual of a site, or of sites that share parameters, and the claim of the theorem.

    Args:
        sites: The sites.
        residual: The sum of their residuals, in nats per data point.
        gradient_part: `<grad F, beta>`, which is zero at a stationary point.
        rest: What the direction does not explain, `residual - gradient_part - base_measure`.
        base_measure: `E_q[log h] - E_q E_p[log h]` where the base measure `h` is not constant.
        misfit: `|eta - J beta| / |eta|`, 0 where the theorem's direction exists, NaN where there
            is nothing to look for.
        verdict: `"holds"` where all parts are below the tolerance, `"not converged"` where only the
            gradient is not, `"no claim"` elsewhere.
        reason: Why, in words.
    """

    sites: tuple[str, ...]
    residual: float
    gradient_part: float
    rest: float
    base_measure: float
    misfit: float
    verdict: Verdict
    reason: str


class Linearised(NamedTuple):
    """A model and guide about their parameters, at draws of the latents; rows are scaled alike.

    Args:
        sites: The sites of the model.
        arrays: The parameters by name, in the order of the directions.
        jacobian: The derivatives of all rows.
        natural: For each model site of an exponential family its natural parameters in its own
            rows, zero in all others, `(R,)`.
        rescaling: For each latent site whose prior is normal or Laplace what happens to all rows
            when the guide's draws are scaled about the prior's mean and its children undo it; and
            by what the derivative of the ELBO along it is divided.
        reasons: Why there is nothing to look for, by site.
    """

    sites: Sequence[str]
    arrays: Mapping[str, Array]
    jacobian: Jacobian
    natural: Mapping[str, Array]
    rescaling: Mapping[str, tuple[Array, float]]
    reasons: Mapping[str, str]


class Evidence(NamedTuple):
    """What the data say of a model and guide, in nats per data point.

    Args:
        gradient: That of the ELBO, `(P,)`.
        residuals: The residual of each model site.
        base_measures: `E_q[log h] - E_q E_p[log h]` of sites whose base measure is not constant.
    """

    gradient: Array
    residuals: Mapping[str, float]
    base_measures: Mapping[str, float]


def mean_evidence(evidence: Sequence[Evidence], weights: Sequence[int]) -> Evidence:
    """The evidence of several batches or draws, weighted by their numbers of data points."""

    def mean(values: list[Any]) -> Any:
        return np.average(np.array(values), axis=0, weights=weights)

    def means(name: str) -> dict[str, float]:
        found = [getattr(e, name) for e in evidence]
        return {site: float(mean([values[site] for values in found])) for site in found[0]}

    gradient = mean([e.gradient for e in evidence])
    return Evidence(gradient, means("residuals"), means("base_measures"))


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


def explain(
    at: Linearised, evidence: Evidence, *, tolerance: float, solved: float
) -> list[SiteClaim]:
    """The claim of the theorem for each site, or for sites that share parameters together.

    Args:
        at: The model and guide.
        evidence: What the data say.
        tolerance: What counts as zero, in nats per data point.
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
    claims: list[SiteClaim] = []
    done: set[str] = set()
    # A factor of the guide has a residual and is no site of the model.
    for name in dict.fromkeys([*at.sites, *evidence.residuals]):
        if name in done:
            continue
        candidates = [d for d in (own.get(name), scaled.get(name)) if d is not None]
        together = [g for g in groups if name in g.sites and g.misfit <= solved]
        best = min(candidates, key=lambda d: d.misfit, default=None)
        if (best is None or best.misfit > solved) and together:
            best = together[0]
        sites = best.sites if best else (name,)
        done.update(sites)
        reason = at.reasons.get(name, "" if best else "no parameter that could be scaled")
        claims.append(_judge(best, sites, evidence, tolerance, reason))
    return claims


def _sharing(touched: Mapping[str, NDArray[np.bool_]]) -> list[tuple[str, ...]]:
    """The sites that share parameters, directly or through others, where there are several."""
    groups: list[set[str]] = []
    for name in touched:
        joined = [g for g in groups if any((touched[name] & touched[other]).any() for other in g)]
        groups = [g for g in groups if g not in joined] + [{name}.union(*joined)]
    return [tuple(name for name in touched if name in g) for g in groups if len(g) > 1]


def _judge(
    direction: Direction | None,
    sites: tuple[str, ...],
    evidence: Evidence,
    tolerance: float,
    reason: str,
) -> SiteClaim:
    residual = sum(evidence.residuals[name] for name in sites)
    base_measure = sum(evidence.base_measures.get(name, 0.0) for name in sites)
    part, misfit = 0.0, np.nan
    if direction is not None and direction.beta is not None:
        part = float(evidence.gradient @ direction.beta) / direction.power
        misfit = direction.misfit
    rest = residual - part - base_measure
    verdict: Verdict = "no claim"
    if abs(base_measure) > tolerance:
        reason = f"its base measure is not constant and adds {base_measure:+.2g} nats"
    elif abs(rest) > tolerance:
        reason = reason or f"no direction of the parameters scales it alone (misfit {misfit:.2g})"
    elif abs(part) > tolerance:
        verdict, reason = "not converged", "the ELBO has a gradient along the site's direction"
    else:
        verdict, reason = "holds", "the residual is zero, and the gradient along the direction"
        if direction is None:
            reason = "the residual is zero, though no direction says that it must be"
    return SiteClaim(sites, residual, part, rest, base_measure, misfit, verdict, reason)
