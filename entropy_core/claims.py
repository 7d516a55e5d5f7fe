"""What the theorem claims for each site of a model: the residual as a gradient, and what is left.

A site of an exponential family has the residual `r = E_q[eta . (T(v) - E_p T)]`. With a direction
`beta` of the parameters that scales the natural parameters, `J beta = eta`, and moves nothing else,

    r = <grad F, beta>  +  E_q[(T - E_p T) . (eta - J beta)]

so that the first part is zero at a stationary point, and the second one where there is such a
direction (Damm et al. 2023, proof of Theorem 2). It is searched for numerically, in any
parametrisation: the arithmetic is NumPy's, the Jacobian comes from either backend.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, hstack
from scipy.sparse.linalg import LinearOperator, lsmr

Verdict = Literal["holds", "not converged", "no claim"]
Array = NDArray[np.float64]

# Beyond them a stage's Jacobian is not written down.
MAX_COLUMNS, MAX_ROWS = 2000, 4000

# Places among the parameters, and what a direction adds there.
_Column = tuple[NDArray[np.integer], Array]


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


class Jacobian(NamedTuple):
    """The derivatives of `R` rows of distribution parameters by `P` parameters, as products.

    Args:
        jvp: From a direction of the parameters, `(P,)`, to the change of the rows, `(R,)`.
        vjp: From weights of the rows, `(R,)`, to a gradient, `(P,)`.
        num_rows: `R`.
    """

    jvp: Callable[[Array], Array]
    vjp: Callable[[Array], Array]
    num_rows: int


@dataclass
class Direction:
    """What a direction has to do, and the best one found.

    Args:
        sites: The sites whose residuals it explains.
        target: The change of the rows, `(R,)`.
        power: By what the derivative of the ELBO along it is divided.
    """

    sites: tuple[str, ...]
    target: Array
    power: float = 1.0
    beta: Array | None = None
    misfit: float = np.inf


def search(
    jacobian: Jacobian, arrays: Mapping[str, Array], wanted: Sequence[Direction], solved: float
) -> None:
    """Looks for directions by least squares, in ever larger spaces, until each is found.

    Shifts and scalings of whole arrays come first, then entries of vectors such as biases and
    scalings of rows and columns of matrices, the short ones first, and all parameters at last: a
    search over all weights is ill-conditioned. A space is left out where the rows are fewer than
    twice its dimensions, since any target could be reached there.

    Args:
        jacobian: The derivatives.
        arrays: The parameters, in the order of the directions.
        wanted: The directions; `beta` and `misfit` are set.
        solved: The relative misfit below which a direction counts as found.
    """
    seen = np.abs(jacobian.vjp(np.random.default_rng(0).standard_normal(jacobian.num_rows))) > 0
    basis: csc_array | None = None
    products = np.zeros((jacobian.num_rows, 0))
    for columns in _stages(arrays):
        open_ = [w for w in wanted if w.misfit > solved]
        if not open_:
            return
        columns = columns[:, _moves(columns, seen)]
        known = products.shape[1]
        basis = columns if basis is None else csc_array(hstack([basis, columns]))
        if basis.shape[1] > min(MAX_COLUMNS, jacobian.num_rows // 2):
            break
        found = [jacobian.jvp(basis[:, [j]].toarray()[:, 0]) for j in range(known, basis.shape[1])]
        products = np.column_stack([products, *found])
        norms = np.linalg.norm(products, axis=0)
        used = norms > 0
        targets = np.column_stack([w.target for w in open_])
        solution, *_ = np.linalg.lstsq(products[:, used] / norms[used], targets, rcond=1e-12)
        fitted = (products[:, used] / norms[used]) @ solution
        for i, direction in enumerate(open_):
            misfit = np.linalg.norm(fitted[:, i] - targets[:, i]) / np.linalg.norm(targets[:, i])
            if misfit < direction.misfit:
                coefficients = np.zeros(len(norms))
                coefficients[used] = solution[:, i] / norms[used]
                direction.beta, direction.misfit = basis @ coefficients, float(misfit)
    num_seen = int(seen.sum())
    if 2 * num_seen <= jacobian.num_rows:
        for direction in (w for w in wanted if w.misfit > solved):
            _search_all(jacobian, len(seen), direction)


def sampled_rows(size: int) -> NDArray[np.integer]:
    """Which of the entries of a distribution's parameters to look at: all, or some thousand."""
    if size <= MAX_ROWS:
        return np.arange(size)
    return np.sort(np.random.default_rng(0).choice(size, MAX_ROWS, replace=False))


def _stages(arrays: Mapping[str, Array]) -> Iterator[csc_array]:
    """Directions to search along, ever more of them; each yields those that are new."""
    offsets = np.cumsum([0, *(array.size for array in arrays.values())])
    whole: list[_Column] = []
    units: list[list[_Column]] = []
    for array, start in zip(arrays.values(), offsets[:-1], strict=True):
        entries = start + np.arange(array.size).reshape(array.shape)
        if array.ndim <= 1:
            flat = entries.ravel()
            # Shifts of all, and of either half, where a net's output is cut in two.
            parts = [flat] if flat.size % 2 else [flat[: flat.size // 2], flat[flat.size // 2 :]]
            whole += [(part, np.ones(part.size)) for part in parts]
            units.append([(flat[[i]], np.ones(1)) for i in range(flat.size)])
        if array.size > 1:
            whole.append((entries.ravel(), array.ravel()))
        if array.ndim > 1:
            for axis, length in enumerate(array.shape):
                lines = [(entries.take(i, axis), array.take(i, axis)) for i in range(length)]
                units.append([(e.ravel(), values.ravel()) for e, values in lines])
    size = int(offsets[-1])
    yield _sparse(whole, size)
    units.sort(key=len)
    largest = 64
    while units:
        stage = [column for unit in units if len(unit) <= largest for column in unit]
        units = [unit for unit in units if len(unit) > largest]
        largest *= 4
        if stage:
            yield _sparse(stage, size)


def _sparse(columns: list[_Column], size: int) -> csc_array:
    rows = np.concatenate([entries for entries, _ in columns] or [np.zeros(0, int)])
    numbers = np.repeat(np.arange(len(columns)), [len(entries) for entries, _ in columns])
    values = np.concatenate([values for _, values in columns] or [np.zeros(0)])
    return csc_array(coo_array((values, (rows, numbers)), shape=(size, len(columns))))


def _moves(columns: csc_array, seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return (abs(columns).T @ seen.astype(float)) > 0


def _search_all(jacobian: Jacobian, num_params: int, direction: Direction) -> None:
    shape = (jacobian.num_rows, num_params)
    operator = LinearOperator(shape, matvec=jacobian.jvp, rmatvec=jacobian.vjp, dtype=np.float64)
    beta = lsmr(operator, direction.target, atol=1e-12, btol=1e-12, maxiter=1000)[0]
    misfit = np.linalg.norm(jacobian.jvp(beta) - direction.target) / np.linalg.norm(
        direction.target
    )
    if misfit < direction.misfit:
        direction.beta, direction.misfit = beta, float(misfit)


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
        verdict, reason = "holds", "the residual and the gradient along the direction are zero"
    return SiteClaim(sites, residual, part, rest, base_measure, misfit, verdict, reason)
