"""The derivatives of all distributions of a NumPyro model and guide, as the claims ask for them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random
from jax.flatten_util import ravel_pytree
from jaxtyping import Array
from numpyro.distributions import Distribution, Laplace, MultivariateNormal, Normal

from entropy_core.arguments import Arguments
from entropy_core.theory import directions
from entropy_core.theory.directions import Jacobian, sampled_rows
from entropy_core.theory.linearised import Linearised
from entropy_core.theory.rows import RowReader, natural_targets, read_rows, rescalings
from numpyro_entropy.entropies.families import belongs_to
from numpyro_entropy.entropies.natural import natural_parameters, parameters_of
from numpyro_entropy.entropies.wrappers import unwrapped
from numpyro_entropy.params import Params
from numpyro_entropy.traces.enumerated import enumerating
from numpyro_entropy.traces.pairs import trace_guide, trace_model, trace_pair


def linearise(
    rng_key: Array, params: Params, model: Callable, guide: Callable, call: Arguments
) -> Linearised:
    """The model and guide about their parameters, at draws that are held.

    Args:
        rng_key: The key of the draws.
        params: The parameters of both.
        model: The model.
        guide: The guide.
        call: The arguments of both.
    """
    pair = trace_pair(rng_key, params, model, guide, *call)
    rows = _LinearRows(rng_key, params, *enumerating(model, guide, pair), call)
    # Once more without tracing, for values to look at.
    rows(rows.flat, rows.still)
    model_sites, guide_sites, slices = rows.seen["model"], rows.seen["guide"], rows.seen["slices"]
    values = np.asarray(rows.values, np.float64)
    natural, reasons = natural_targets(model_sites, values, slices, _READER)
    rescaling = rescalings(
        model_sites,
        guide_sites,
        slices,
        _READER,
        draws={name: guide_sites[name].value for name in rows.still},
        push=rows.push,
        depends=rows.depends,
        to_numpy=lambda array: np.asarray(array, np.float64),
    )
    leaves = jax.tree_util.tree_leaves_with_path(float_params(params))
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf, np.float64) for path, leaf in leaves}
    jacobian = Jacobian(rows.jvp, rows.vjp, len(values))
    return Linearised(list(model_sites), arrays, jacobian, natural, rescaling, reasons)


def float_params(params: Params) -> Params:
    """The parameters that have derivatives: nets may hold counts beside them."""
    return {
        name: value
        for name, value in params.items()
        if all(
            jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in jax.tree.leaves(value)
        )
    }


class _LinearRows:
    """The rows, and the products of their derivatives by parameters and by draws."""

    def __init__(
        self, rng_key: Array, params: Params, model: Callable, guide: Callable, call: Arguments
    ) -> None:
        self.params, self.model, self.guide, self.call = params, model, guide, call
        self.model_key, self.guide_key = random.split(rng_key)
        self.flat, self.unflatten = ravel_pytree(float_params(params))
        drawn = trace_guide(self.guide_key, params, guide, *call)
        self.still = {
            name: jnp.zeros_like(site.value)
            for name, site in drawn.sites.items()
            if jnp.issubdtype(site.value.dtype, jnp.floating)
        }
        self.seen: dict[str, Any] = {}
        self.values, pushed = jax.linearize(self, self.flat, self.still)
        pulled = jax.vjp(self, self.flat, self.still)[1]
        self._push, self._pull = jax.jit(pushed), jax.jit(pulled)

    def __call__(self, flat: Array, shifts: dict[str, Array]) -> Array:
        """The rows at parameters, and at draws that are held but for shifts."""
        params = {**self.params, **self.unflatten(flat)}
        drawn = trace_guide(self.guide_key, params, self.guide, *self.call)
        held = {
            name: site.holding(lax.stop_gradient(site.value) + shifts[name])
            if name in shifts
            else site
            for name, site in drawn.sites.items()
        }
        values = {**drawn.rows, **held}
        model_sites = trace_model(self.model_key, params, self.model, *self.call, values=values)
        rows = read_rows(model_sites, drawn.sites, _READER)
        self.seen = {"model": model_sites, "guide": drawn.sites, "slices": rows.slices}
        return jnp.concatenate(rows.parts)

    def jvp(self, direction: directions.Array) -> directions.Array:
        """From a direction of the parameters to the change of the rows."""
        change = self._push(jnp.asarray(direction, self.flat.dtype), self.still)
        return np.asarray(change, np.float64)

    def vjp(self, weights: directions.Array) -> directions.Array:
        """From weights of the rows to a gradient of the parameters."""
        return np.asarray(self._pull(jnp.asarray(weights, self.values.dtype))[0], np.float64)

    def push(self, name: str, change: Array) -> directions.Array:
        """The change of the rows where the draw of a site changes."""
        changed = self._push(jnp.zeros_like(self.flat), {**self.still, name: change})
        return np.array(changed, np.float64)

    def depends(self, where: slice) -> bool:
        """Whether some rows depend on any of the draws."""
        weights = jnp.zeros_like(self.values).at[where].set(1.0)
        return any(bool(jnp.any(shift)) for shift in self._pull(weights)[1].values())


def _location_and_scale(fn: Distribution) -> tuple[Array, Array] | None:
    leaf: Any = unwrapped(fn)
    if belongs_to(leaf, Normal):
        return jnp.asarray(leaf.loc), jnp.asarray(leaf.scale)
    if belongs_to(leaf, MultivariateNormal):
        return jnp.asarray(leaf.mean), jnp.asarray(leaf.scale_tril)
    return None


def _centre_and_power(fn: Distribution) -> tuple[Array, float] | None:
    leaf: Any = unwrapped(fn)
    if not belongs_to(leaf, Normal, MultivariateNormal, Laplace):
        return None
    return jnp.asarray(leaf.mean), 1.0 if belongs_to(leaf, Laplace) else 2.0


def _flat(array: Array, like: Array) -> Array:
    size = jnp.sqrt(jnp.mean(lax.stop_gradient(like) ** 2))
    # Of a large distribution some of the rows do.
    return (array / jnp.where(size > 0, size, 1.0)).ravel()[sampled_rows(array.size)]


_READER = RowReader(
    natural=natural_parameters,
    parameters=parameters_of,
    location_and_scale=_location_and_scale,
    centre_and_power=_centre_and_power,
    name=lambda fn: type(unwrapped(fn)).__name__,
    flat=_flat,
    is_floating=lambda array: jnp.issubdtype(array.dtype, jnp.floating),
)
