"""What the theorem claims for each site of a NumPyro model: the derivatives that it asks for."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random
from jax.flatten_util import ravel_pytree
from jaxtyping import Array
from numpyro.distributions import Laplace, MultivariateNormal, Normal
from numpyro.handlers import replay, seed, substitute, trace

from entropy_core.checks import check_number, check_positive_int, expected
from entropy_core.claims import (
    Evidence,
    Jacobian,
    Linearised,
    SiteClaim,
    explain,
    mean_evidence,
    sampled_rows,
)
from entropy_core.terms import elbo_terms
from numpyro_entropy.data import arguments_of
from numpyro_entropy.elbos.base import check_reparameterised
from numpyro_entropy.natural import natural_parameters, parameters_of, unwrapped
from numpyro_entropy.params import Params, check_params
from numpyro_entropy.terms import Site, sample_sites, site_terms
from numpyro_entropy.traces import get_traces, pair_shapes

Sites = Mapping[str, Site]
Slices = dict[tuple[str, str], slice]


def explain_residuals(
    rng_key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    batches: Array | np.ndarray | Iterable,
    *,
    batch_size: int = 1000,
    num_particles: int = 1,
    tolerance: float = 1e-3,
    data_plate: str | None = None,
) -> list[SiteClaim]:
    """What the theorem claims for each site of a model, and whether it has converged.

    The residual `r_s = E_q[log p_s] + H[p_s]` of a site is the derivative of the ELBO along a
    direction of the parameters that scales the site's natural parameters and moves nothing else,
    where there is one (Damm et al. 2023, Theorems 1 to 3; Luecke 2022). That direction is looked
    for numerically at the draws of the first batch, in any parametrisation; for a fixed normal or
    Laplace prior it scales the latents in the guide and undoes that in their children. The claim is
    about a stationary point of the ELBO on these data.

    Args:
        rng_key: The key for the draws.
        params: The parameters of model and guide.
        model: The model.
        guide: The guide, with reparameterised draws.
        batches: An array whose first dimension is that of the data points, or an iterable of
            batches: arrays, or tuples of arguments to model and guide. The first one needs more
            data points than a site's direction has parameters.
        batch_size: How many data points to look at together, where `batches` is an array.
        num_particles: The number of draws from the guide for each data point.
        tolerance: What counts as zero, in nats per data point.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.

    Returns:
        A claim for each model site, or for sites that share parameters together.

    Raises:
        ValueError: If there is no batch, a batch has NaN or infinite entries, a number is not
            positive, `params` are not complete, or the guide lacks a latent site of the model.
        NotImplementedError: If a site of the guide has no reparameterised draws.

    Example:
        >>> from numpyro_entropy import VAE1
        >>> vae, key = VAE1(4, 2, hidden=()), random.key(0)
        >>> x = random.uniform(key, (100, 4))
        >>> for claim in explain_residuals(key, vae.init(key), vae.model, vae.guide, x):
        ...     print(*claim.sites, claim.verdict)
        z not converged
        x not converged
    """
    check_number(tolerance, "tolerance")
    check_positive_int(num_particles, "num_particles")

    @jax.jit
    def evidence_of(key: Array, params: Params, args: tuple) -> tuple[Params, dict[str, Array]]:
        def elbo(params: Params) -> tuple[Array, dict[str, Array]]:
            traces, _ = get_traces(key, params, model, guide, args, {})
            check_reparameterised(traces[1])
            terms = elbo_terms(site_terms(*traces, rng_key=key), data_plate)
            return terms.elbo, terms.residuals

        grads, residuals = jax.grad(lambda p: elbo({**params, **p}), has_aux=True)(_floats(params))
        return grads, residuals

    at, evidence, weights = None, [], []
    for i, args in enumerate(arguments_of(batches, batch_size)):
        if at is None:
            check_params(params, pair_shapes(model, guide, args, {}))
            if not _floats(params):
                what = "parameters that can be trained"
                raise ValueError(expected(what, "model` and `guide", "none"))
            at = _linearise(rng_key, params, model, guide, args)
        for key in random.split(random.fold_in(rng_key, i), num_particles):
            grads, residuals = jax.device_get(evidence_of(key, params, args))
            gradient = np.asarray(ravel_pytree(grads)[0], np.float64)
            evidence.append(Evidence(gradient, {n: float(r) for n, r in residuals.items()}, {}))
            weights.append(len(args[0]) if args and hasattr(args[0], "shape") else 1)
    if at is None:
        raise ValueError(expected("at least one batch", "batches", "none"))
    solved = float(jnp.finfo(ravel_pytree(_floats(params))[0].dtype).eps ** 0.4)
    return explain(at, mean_evidence(evidence, weights), tolerance=tolerance, solved=solved)


def _floats(params: Params) -> Params:
    """The parameters that have derivatives: nets may hold counts beside them."""
    return {
        name: value
        for name, value in params.items()
        if all(
            jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in jax.tree.leaves(value)
        )
    }


def _linearise(
    rng_key: Array, params: Params, model: Callable, guide: Callable, args: tuple
) -> Linearised:
    model_key, guide_key = random.split(rng_key)
    flat, unflatten = ravel_pytree(_floats(params))
    seen: dict[str, Any] = {}

    def rows(flat: Array, shifts: dict[str, Array]) -> Array:
        """The rows at parameters, and at draws that are held but for shifts."""
        values = {**params, **unflatten(flat)}
        guide_trace = trace(substitute(seed(guide, guide_key), data=values)).get_trace(*args)
        fixed = {}
        for name, site in guide_trace.items():
            if site["type"] == "sample" and name in shifts:
                site = {**site, "value": lax.stop_gradient(site["value"]) + shifts[name]}
            fixed[name] = site
        replayed = substitute(replay(seed(model, model_key), fixed), data=values)
        model_trace = trace(replayed).get_trace(*args)
        model_sites, guide_sites = sample_sites(model_trace), sample_sites(guide_trace)
        found = _rows(model_sites, guide_sites)
        seen.update(model=model_sites, guide=guide_sites, slices=found.slices)
        return found.values

    guide_trace = trace(substitute(seed(guide, guide_key), data=params)).get_trace(*args)
    still = {
        name: jnp.zeros_like(site["value"])
        for name, site in sample_sites(guide_trace).items()
        if jnp.issubdtype(site["value"].dtype, jnp.floating)
    }
    values, pushed = jax.linearize(rows, flat, still)
    push, (_, pull) = jax.jit(pushed), jax.vjp(rows, flat, still)
    pull = jax.jit(pull)
    # Once more without tracing, for values to look at.
    rows(flat, still)
    model_sites, guide_sites, slices = seen["model"], seen["guide"], seen["slices"]

    def jvp(direction: np.ndarray) -> np.ndarray:
        return np.asarray(push(jnp.asarray(direction, flat.dtype), still), np.float64)

    def vjp(weights: np.ndarray) -> np.ndarray:
        return np.asarray(pull(jnp.asarray(weights, values.dtype))[0], np.float64)

    natural, reasons, rescaling = {}, {}, {}
    for name, site in model_sites.items():
        where = slices.get(("natural", name))
        if where is None:
            reasons[name] = f"{type(unwrapped(site['fn'])).__name__} has no natural parameters"
            continue
        natural[name] = np.zeros(len(values))
        natural[name][where] = values[where]
    for name in still:
        if name not in model_sites or ("guide", name) not in slices:
            continue
        prior = unwrapped(model_sites[name]["fn"])
        if not isinstance(prior, Normal | MultivariateNormal | Laplace):
            continue
        own = slice(slices["natural", name].start, slices["kept", name].stop)
        weights = jnp.zeros_like(values).at[own].set(1.0)
        if any(jnp.any(shift) for shift in pull(weights)[1].values()):
            continue
        shift = guide_sites[name]["value"] - prior.mean
        target = -np.asarray(push(jnp.zeros_like(flat), {**still, name: shift}), np.float64)
        for (role, _), where in slices.items():
            if role == "guide":
                target[where] = 0
        target[own] = 0
        target[slices["guide", name]] = _scaled_guide(guide_sites[name], prior.mean)
        rescaling[name] = target, 1.0 if isinstance(prior, Laplace) else 2.0
    leaves = jax.tree_util.tree_leaves_with_path(_floats(params))
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf, np.float64) for path, leaf in leaves}
    jacobian = Jacobian(jvp, vjp, len(values))
    return Linearised(list(model_sites), arrays, jacobian, natural, rescaling, reasons)


class _Rows(NamedTuple):
    values: Array
    slices: Slices


def _rows(model_sites: Sites, guide_sites: Sites) -> _Rows:
    """The parameters of all distributions, those of each kind divided by their size."""
    parts: list[Array] = []
    slices: Slices = {}
    count = 0

    def add(role: str, name: str, arrays: Iterable[Array]) -> None:
        nonlocal count
        start = count
        for array in arrays:
            if jnp.issubdtype(array.dtype, jnp.floating):
                parts.append(_sampled(array / _size(array)))
                count += len(parts[-1])
        slices[role, name] = slice(start, count)

    for name, site in model_sites.items():
        natural = natural_parameters(site["fn"])
        if natural is None:
            add("kept", name, parameters_of(site["fn"]))
        else:
            add("natural", name, natural.scaled)
            add("kept", name, natural.kept)
    for name, site in guide_sites.items():
        fn = unwrapped(site["fn"])
        if isinstance(fn, Normal | MultivariateNormal):
            add("guide", name, _location_and_scale(fn))
        else:
            add("kept guide", name, parameters_of(site["fn"]))
    return _Rows(jnp.concatenate(parts), slices)


def _scaled_guide(site: Site, centre: Array) -> Array:
    """What scaling the draws of a guide's site about `centre` does to its rows."""
    loc, scale = _location_and_scale(unwrapped(site["fn"]))
    changes = (loc - jnp.broadcast_to(centre, loc.shape)) / _size(loc), scale / _size(scale)
    return jnp.concatenate([_sampled(change) for change in changes])


def _location_and_scale(fn: Any) -> tuple[Array, Array]:
    scale = fn.scale if isinstance(fn, Normal) else fn.scale_tril
    return jnp.asarray(fn.loc), jnp.asarray(scale)


def _size(array: Array) -> Array:
    size = jnp.sqrt(jnp.mean(lax.stop_gradient(array) ** 2))
    return jnp.where(size > 0, size, 1.0)


def _sampled(array: Array) -> Array:
    # Of a large distribution some of the rows do.
    return array.ravel()[sampled_rows(array.size)]
