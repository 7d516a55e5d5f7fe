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
from entropy_core.theory.rows import (
    RowReader,
    Scaled,
    natural_targets,
    read_rows,
    rescalings,
    rows_by_site,
    scaled_latents,
)
from numpyro_entropy.compiled import compiled
from numpyro_entropy.entropies.families import belongs_to
from numpyro_entropy.entropies.natural import (
    log_density_differences,
    natural_parameters,
    parameters_of,
)
from numpyro_entropy.entropies.wrappers import unwrapped
from numpyro_entropy.params import Params
from numpyro_entropy.traces.enumerated import enumerating
from numpyro_entropy.traces.pairs import trace_guide, trace_model, trace_pair
from numpyro_entropy.traces.sites import Site

# Of a difference of derivatives: the parameters move by less.
STEP = 1e-3


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
    rows = _LinearRows(rng_key, params, model, guide, call)
    values = _numpy(rows.values)
    natural, reasons = natural_targets(rows.model_sites, values, rows.slices, _READER)
    rescaling = rescalings(
        rows.scaled, rows.powers, rows.slices, push=rows.push, depends=rows.depends, to_numpy=_numpy
    )
    leaves = jax.tree_util.tree_leaves_with_path(float_params(params))
    arrays = {jax.tree_util.keystr(path): _numpy(leaf) for path, leaf in leaves}
    return Linearised(
        list(rows.model_sites),
        arrays,
        Jacobian(rows.jvp, rows.vjp, rows.second, len(values)),
        natural,
        rescaling,
        reasons,
        rows_by_site(rows.slices),
    )


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
    """The rows, and the products of their derivatives by parameters and by draws.

    What is compiled has all that varies among its arguments, so that it is compiled once.
    """

    def __init__(
        self, rng_key: Array, params: Params, model: Callable, guide: Callable, call: Arguments
    ) -> None:
        self.model, self.guide = model, guide
        self.params = params
        self.flat, self.unflatten = ravel_pytree(float_params(params))
        self.context = rng_key, params, call
        shapes = jax.eval_shape(self._draws, *self.context)
        self.still = {name: jnp.zeros(shape.shape, shape.dtype) for name, shape in shapes.items()}
        # What is no array is seen while the rows are traced.
        size = jax.eval_shape(self._rows, self.flat, self.still, *self.context)[0]
        self.weights = jnp.zeros(size.shape, size.dtype)
        self._pull, self._push = compiled(self._pulled), compiled(self._pushed)
        (self.values, self.scaled), *_ = self._pull(
            self.weights, self.flat, self.still, *self.context
        )

    def vjp(self, weights: directions.Array) -> directions.Array:
        """From weights of the rows to a gradient of the parameters."""
        return _numpy(self._pulled_by(jnp.asarray(weights, self.values.dtype))[1])

    def jvp(self, columns: directions.Array) -> directions.Array:
        """From directions of the parameters to the changes of the rows."""
        return self._pushed_by(columns, self.flat)

    def second(self, direction: directions.Array) -> directions.Array:
        """From a direction of the parameters to the second derivative of the rows along it."""
        step = STEP / max(1.0, np.abs(direction).max())
        shift = jnp.asarray(step * direction, self.flat.dtype)
        ahead, behind = (
            self._pushed_by(direction[:, None], at) for at in (self.flat + shift, self.flat - shift)
        )
        return (ahead - behind)[:, 0] / (2 * step)

    def push(self, name: str, change: Array) -> directions.Array:
        """The change of the rows where the draw of a site changes."""
        columns, still = self._padded(np.zeros((0, len(self.flat))))
        changes = {**still, name: jnp.broadcast_to(change, still[name].shape)}
        return _numpy(self._push(columns, changes, self.flat, self.still, *self.context))[0]

    def depends(self, where: slice) -> bool:
        """Whether some rows depend on any of the draws."""
        shifts = self._pulled_by(self.weights.at[where].set(1.0))[2]
        return any(bool(jnp.any(shift)) for shift in shifts.values())

    def _draws(self, rng_key: Array, params: Params, call: Arguments) -> dict[str, Array]:
        drawn = trace_guide(random.split(rng_key)[1], params, self.guide, *call)
        return {
            name: site.value
            for name, site in drawn.sites.items()
            if jnp.issubdtype(site.value.dtype, jnp.floating)
        }

    def _rows(
        self, flat: Array, shifts: dict[str, Array], rng_key: Array, params: Params, call: Arguments
    ) -> tuple[Array, dict[str, Scaled]]:
        """The rows at parameters, and at draws that are held but for shifts."""
        params = {**params, **self.unflatten(flat)}
        pair = trace_pair(rng_key, params, self.model, self.guide, *call)
        model, guide = enumerating(self.model, self.guide, pair)
        model_key, guide_key = random.split(rng_key)
        drawn = trace_guide(guide_key, params, guide, *call)
        held = {
            name: site.holding(lax.stop_gradient(site.value) + shifts[name])
            if name in shifts
            else site
            for name, site in drawn.sites.items()
        }
        values = {**drawn.rows, **held}
        self.model_sites = trace_model(model_key, params, model, *call, values=values)
        rows = read_rows(self.model_sites, drawn.sites, _READER)
        self.slices = rows.slices
        scaled, self.powers = scaled_latents(
            self.model_sites, {n: drawn.sites[n] for n in shifts}, rows.slices, _READER
        )
        return jnp.concatenate(rows.parts), scaled

    def _pulled(self, weights: Array, flat: Array, shifts: dict[str, Array], *context: Any) -> Any:
        values, pull, scaled = jax.vjp(
            lambda *at: self._rows(*at, *context), flat, shifts, has_aux=True
        )
        return (values, scaled), *pull(weights)

    def _pushed(
        self, columns: Array, changes: dict[str, Array], flat: Array, shifts: Any, *context: Any
    ) -> Array:
        def push(column: Array, change: dict[str, Array]) -> Array:
            def rows(*at: Any) -> Array:
                return self._rows(*at, *context)[0]

            return jax.jvp(rows, (flat, shifts), (column, change))[1]

        return jax.vmap(push)(columns, changes)

    def _pulled_by(self, weights: Array) -> Any:
        return self._pull(weights, self.flat, self.still, *self.context)

    def _pushed_by(self, columns: directions.Array, at: Array) -> directions.Array:
        num = columns.shape[1]
        padded, still = self._padded(columns.T)
        return _numpy(self._push(padded, still, at, self.still, *self.context))[:num].T

    def _padded(self, columns: directions.Array) -> tuple[Array, dict[str, Array]]:
        """As many columns as ever, so that what is compiled once serves all."""
        width = directions.width_of(len(self.flat), len(self.weights))
        padded = np.zeros((width, len(self.flat)))
        padded[: len(columns)] = columns
        still = {name: jnp.zeros((width, *z.shape), z.dtype) for name, z in self.still.items()}
        return jnp.asarray(padded, self.flat.dtype), still


def _location_and_scale(fn: Distribution) -> tuple[Array, Array] | None:
    leaf: Any = unwrapped(fn)
    if belongs_to(leaf, Normal):
        return jnp.asarray(leaf.loc), jnp.asarray(leaf.scale)
    if belongs_to(leaf, MultivariateNormal):
        return jnp.asarray(leaf.mean), jnp.asarray(leaf.scale_tril)
    return None


def _is_drawn(site: Site) -> bool:
    return site.fn.has_rsample and site.enumerate_dim is None and not site.is_point


def _moving(site: Site) -> Array:
    # A draw with derivatives moves with its distribution, whatever that is made of.
    floats = jnp.issubdtype(site.value.dtype, jnp.floating)
    return site.value if floats and not site.is_factor else site.log_prob


def _centre_and_power(fn: Distribution) -> tuple[Array, float] | None:
    leaf: Any = unwrapped(fn)
    if not belongs_to(leaf, Normal, MultivariateNormal, Laplace):
        return None
    return jnp.asarray(leaf.mean), 1.0 if belongs_to(leaf, Laplace) else 2.0


def _numpy(array: Any) -> directions.Array:
    return np.array(array, np.float64)


def _flat(array: Array, like: Array) -> Array:
    size = jnp.sqrt(jnp.mean(lax.stop_gradient(like) ** 2))
    # Of a large distribution some of the rows do.
    return (array / jnp.where(size > 0, size, 1.0)).ravel()[sampled_rows(array.size)]


_READER = RowReader(
    natural=natural_parameters,
    densities=log_density_differences,
    parameters=parameters_of,
    location_and_scale=_location_and_scale,
    is_drawn=_is_drawn,
    moving=_moving,
    centre_and_power=_centre_and_power,
    name=lambda fn: type(unwrapped(fn)).__name__,
    flat=_flat,
    is_floating=lambda array: jnp.issubdtype(array.dtype, jnp.floating),
)
