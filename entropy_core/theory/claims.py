"""What the theorem claims for each site of a model: the residual as a gradient, and what is left.

A site of an exponential family has the residual `r = E_q[eta . (T(v) - E_p T)]`. With a direction
`beta` of the parameters that scales the natural parameters, `J beta = eta`, and moves nothing else,

    r = <grad F, beta>  +  E_q[(T - E_p T) . (eta - J beta)]

so that the first part is zero at a stationary point, and the second one where there is such a
direction (Damm et al. 2023, proof of Theorem 2). It is searched for numerically, in any
parametrisation: the arithmetic is NumPy's, the Jacobian comes from either backend.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from arviz_base import dict_to_dataset
from numpy.typing import NDArray

from entropy_core.theory.directions import Array, Direction, search
from entropy_core.theory.linearised import Linearised

Verdict = Literal["holds", "not converged", "no claim"]

# What counts as zero, in nats per data point.
TOLERANCE = 1e-3
# What is within so many Monte-Carlo standard errors of zero may be zero.
STANDARD_ERRORS = 3.0


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
        verdict: `"holds"` where no part is beyond the tolerance and three of its standard errors,
            `"not converged"` where only the gradient is, `"no claim"` elsewhere.
        reason: Why, in words.
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


def explain(
    at: Linearised, draws: Sequence[Evidence], *, tolerance: float, solved: float
) -> list[SiteClaim]:
    """The claim of the theorem for each site, or for sites that share parameters together.

    Args:
        at: The model and guide.
        draws: What all data say, for each draw.
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
    # Without them the ELBO is another one, and so are its gradient and its stationary points.
    residuals, reasons = draws[0].residuals, draws[0].untreated
    missing = [name for name in at.sites if name not in residuals]
    left_out = [name for name in missing if name in reasons]
    # As where a plate draws rows one after another, each of which has sites of its own.
    undrawn = [name for name in missing if name not in reasons]
    partial = f"the ELBO leaves out {', '.join(left_out)}" if left_out else ""
    partial = partial or (f"some draws lack {', '.join(undrawn)}" if undrawn else "")
    claims: list[SiteClaim] = []
    done: set[str] = set()
    # A factor of the guide has a residual and is no site of the model.
    for name in dict.fromkeys([*at.sites, *residuals]):
        if name in done:
            continue
        untreated = reasons.get(name, partial)
        if untreated:
            found, error = _mean([e.residuals.get(name, np.nan) for e in draws])
            numbers = (found, error, 0.0, found, 0.0, np.nan)
            claims.append(SiteClaim((name,), *numbers, "no claim", untreated))
            continue
        candidates = [d for d in (own.get(name), scaled.get(name)) if d is not None]
        together = [g for g in groups if name in g.sites and g.misfit <= solved]
        best = min(candidates, key=lambda d: d.misfit, default=None)
        if (best is None or best.misfit > solved) and together:
            best = together[0]
        sites = best.sites if best else (name,)
        done.update(sites)
        reason = at.reasons.get(name, "" if best else "no parameter that could be scaled")
        claims.append(_judge(best, sites, draws, tolerance, reason))
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
    draws: Sequence[Evidence],
    tolerance: float,
    reason: str,
) -> SiteClaim:
    residuals = np.array([sum(e.residuals[name] for name in sites) for e in draws])
    measures = np.array([sum(e.base_measures.get(name, 0.0) for name in sites) for e in draws])
    parts, misfit = np.zeros(len(draws)), np.nan
    if direction is not None and direction.beta is not None:
        parts = np.array([e.gradient @ direction.beta for e in draws]) / direction.power
        misfit = direction.misfit
    (residual, mcse), (part, _), (base_measure, _) = map(_mean, (residuals, parts, measures))
    rests = residuals - parts - measures
    rest, _ = _mean(rests)
    verdict: Verdict = "no claim"
    if _beyond(measures, tolerance):
        reason = f"its base measure is not constant and adds {base_measure:+.2g} nats"
    elif _beyond(rests, tolerance):
        reason = reason or f"no direction of the parameters scales it alone (misfit {misfit:.2g})"
    elif _beyond(parts, tolerance):
        verdict, reason = "not converged", "the ELBO has a gradient along the site's direction"
    else:
        verdict, reason = "holds", "the residual is zero, and the gradient along the direction"
        if direction is None:
            reason = "the residual is zero, though no direction says that it must be"
    return SiteClaim(sites, residual, mcse, part, rest, base_measure, misfit, verdict, reason)


def _mean(values: Sequence[float] | Array) -> tuple[float, float]:
    """The mean over draws, and its standard error."""
    values = np.asarray(values)
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return float(values.mean()), float(error)


def _beyond(values: Array, tolerance: float) -> bool:
    mean, error = _mean(values)
    return abs(mean) > max(tolerance, 0.0 if np.isnan(error) else STANDARD_ERRORS * error)
