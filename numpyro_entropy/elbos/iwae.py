"""The importance weighted bound, with its three gradient estimators."""

from collections.abc import Callable
from copy import copy
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax, nn, random
from jaxtyping import Array
from numpyro.infer import ELBO

from entropy_core.elbos.iwae import Gradient, IWAETerms, check_particles
from entropy_core.traces.importance import LogWeights, log_weights
from entropy_core.traces.sites import Pair
from numpyro_entropy.elbos.base import one_state
from numpyro_entropy.params import Params, check_params
from numpyro_entropy.traces.normals import lean_pair
from numpyro_entropy.traces.pairs import (
    check_reparameterised,
    pair_shapes,
    trace_guide,
    trace_pair,
)
from numpyro_entropy.traces.terms import site_terms


class IWAE_ELBO(ELBO):
    """The importance weighted bound `L_K = sum_n E[log 1/K sum_k p(x_n, z_nk) / q(z_nk|x_n)]`.

    Burda et al. 2016, Eq. 8; Yu 2020, Sec. 3.2. The average over the `K` particles is one for each
    data point. Plates' subsampling and a `scale` handler that all sites share multiply the result
    and do not enter the exponent, and all particles see the same subsample. `L_1` is
    `numpyro.infer.Trace_ELBO`; `L_K` does not fall with `K`, and its bias is about
    `-Var(w) / (2 K p(x_n)^2)`.

    The gradient of the guide's parameters has three estimators: `"plain"`; `"dreg"` (Tucker et al.
    2019, Eq. 8), of less variance and unbiased for every `K`; and `"stl"`, sticking the landing
    (Roeder et al. 2017), which is the same at `K = 1` and biased beyond. The model's parameters
    always have the plain one.

    Args:
        num_particles: The number of draws for each data point, `K`.
        gradient: The estimator of the guide's gradient.
        chunk_size: The number of particles to draw at once; the default is all of them. Gradients
            then hold one chunk's intermediate values at a time, and draw each chunk twice.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.
        *args: Further ones of the host's `ELBO`, in its order.
        **kwargs: Those of `numpyro.infer.ELBO`.

    Raises:
        ValueError: If a number is no positive integer, or `gradient` is not known.

    Example:
        >>> from numpyro.infer import SVI
        >>> from numpyro.optim import Adam
        >>> from numpyro_entropy import IWAE_ELBO, VAE1
        >>> vae, key, x = VAE1(4, 2), random.key(0), jnp.zeros((8, 4))
        >>> svi = SVI(vae.model, vae.guide, Adam(1e-3), IWAE_ELBO(10, gradient="dreg"))
        >>> state, loss = jax.jit(svi.update)(jax.jit(svi.init)(key, x), x)
        >>> terms = jax.jit(IWAE_ELBO(10).terms, static_argnums=(2, 3))
        >>> terms = terms(key, svi.get_params(state), vae.model, vae.guide, x)
        >>> bool(terms.bound >= terms.elbo)
        True
    """

    is_lean = False

    def __init__(
        self,
        num_particles: int = 1,
        *args: Any,
        gradient: Gradient = "plain",
        chunk_size: int | None = None,
        data_plate: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.chunk_size = check_particles(num_particles, chunk_size, gradient)
        self.gradient = gradient
        self.data_plate = data_plate
        super().__init__(num_particles, *args, **kwargs)
        if self.vectorize_particles is False:
            self.chunk_size = 1

    @property
    def no_claim(self) -> str | None:
        """Why its stationary points are not those of the ELBO; `None` where they are."""
        several = self.num_particles > 1
        return "the importance weighted bound is another objective" if several else None

    def lean(self) -> "IWAE_ELBO":
        """The objective with densities that take few operations."""
        found = copy(self)
        found.is_lean = True
        return found

    def loss_with_mutable_state(
        self,
        rng_key: Array,
        param_map: Params,
        model: Callable,
        guide: Callable,
        *args: Any,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The loss `-L_K`, summed over the data plate and scaled as the host does.

        Raises:
            ValueError: If no plate holds all data, a site is outside of it, `scale` handlers differ
                between sites, or the guide lacks a latent site of the model.
            NotImplementedError: If a site of the guide has no reparameterised draws.
        """
        particles = _Particles(self, rng_key, param_map, model, guide, args, kwargs)
        values, scale, state = particles.log_weights()
        loss = -scale * log_mean_exp(values).sum()
        if self.gradient != "plain":
            weights = lax.stop_gradient(nn.softmax(values, 0))
            surrogate = -scale * particles.map(particles.surrogate, weights).sum()
            loss = lax.stop_gradient(loss) + surrogate - lax.stop_gradient(surrogate)
        return {"loss": loss, "mutable_state": one_state(state, self.num_particles)}

    def terms(
        self,
        rng_key: Array,
        params: Params,
        model: Callable,
        guide: Callable,
        *args: Any,
        **kwargs: Any,
    ) -> IWAETerms:
        """The bound, the ELBO and the effective sample size at the same draws.

        Raises:
            ValueError: If `params` are not complete, and as `loss_with_mutable_state` does.
        """
        check_params(params, pair_shapes(model, guide, args, kwargs))
        particles = _Particles(self, rng_key, params, model, guide, args, kwargs)
        values, *_ = particles.log_weights()
        weights = nn.softmax(values, 0)
        return IWAETerms(
            log_mean_exp(values).mean(), values.mean(), (1 / (weights**2).sum(0)).mean()
        )

    def log_weights(
        self,
        rng_key: Array,
        params: Params,
        model: Callable,
        guide: Callable,
        *args: Any,
        **kwargs: Any,
    ) -> Array:
        """The log-weights `log p(x_n, z_nk) - log q(z_nk|x_n)`, of shape `(K, B)`, without a scale.

        Raises:
            ValueError: As `loss_with_mutable_state` does.
        """
        return _Particles(self, rng_key, params, model, guide, args, kwargs).log_weights()[0]


class _Particles:
    """The particles of one loss: pairs of traces of the same subsample, each with a key."""

    def __init__(
        self,
        elbo: IWAE_ELBO,
        rng_key: Array,
        params: Params,
        model: Callable,
        guide: Callable,
        args: tuple,
        kwargs: dict[str, Any],
    ) -> None:
        self.elbo = elbo
        self.call = model, guide, args, kwargs
        # The host's keys, so that the draws are its own.
        single = elbo.num_particles == 1
        self.keys = rng_key[None] if single else random.split(rng_key, elbo.num_particles)
        # All particles see the same subsample: that of the first one.
        _, guide_key = random.split(self.keys[0])
        drawn = trace_guide(guide_key, params, guide, args, kwargs)
        self.params = {**params, **drawn.rows}

    def map(self, function: Callable[..., Any], *arrays: Array) -> Any:
        """Calls `function` with each particle's key and rows, a chunk of particles at a time."""
        if self.elbo.chunk_size == self.elbo.num_particles:
            return self.elbo.vectorize_particles_fn(lambda xs: function(*xs), (self.keys, *arrays))
        # Recomputed in the backward pass, so that only one chunk's values are held.
        return lax.map(
            lambda xs: jax.checkpoint(function)(*xs),
            (self.keys, *arrays),
            batch_size=self.elbo.chunk_size,
        )

    def log_weights(self) -> tuple[Array, Array, dict[str, Any]]:
        """The log-weights `(K, B)`, the factor of their sum, and the state of nets, stacked."""

        def values_and_scale(key: Array) -> tuple[Array, Array, dict[str, Any]]:
            weights, pair = self._weights(key, self.params)
            return weights.values, jnp.asarray(weights.scale), dict(pair.state)

        values, scales, state = self.map(values_and_scale)
        return values, scales[0], state

    def surrogate(self, key: Array, weights: Array) -> Array:
        """What has the gradient of a particle's part of `L_K`, from its normalised weights."""
        _, pair = self._weights(key, self.params)
        draws = {name: pair.guide[name].value for name in pair.latents}
        fixed = lax.stop_gradient(draws)

        def slopes(coefficients: Array) -> dict[str, Array]:
            def weighted(values: dict[str, Array]) -> Array:
                params = {**lax.stop_gradient(self.params), **values}
                log_weights, _ = self._weights(key, params)
                return (coefficients * log_weights.values).sum()

            return lax.stop_gradient(jax.grad(weighted)(fixed))

        # The guide's parameters see the draws alone, and the density only as its argument moves.
        # The identity behind `w^2` needs a density (Tucker et al. 2019, Eq. 7): a point has none.
        squared = self.elbo.gradient == "dreg"
        along = slopes(weights**2 if squared else weights)
        points = [name for name in draws if pair.guide[name].is_point]
        if squared and points:
            plain = slopes(weights)
            along |= {name: plain[name] for name in points}
        paths = sum((along[name] * draws[name]).sum() for name in draws)
        log_weights, _ = self._weights(key, {**self.params, **fixed})
        return (weights * log_weights.model).sum() + paths

    def _weights(self, key: Array, params: Params) -> tuple[LogWeights, Pair]:
        pair = trace_pair(key, params, *self.call)
        check_reparameterised(pair.guide)
        pair = lean_pair(pair) if self.elbo.is_lean else pair
        pair = site_terms(pair, closed_form=False, entropies=False)
        return log_weights(pair.records, self.elbo.data_plate), pair


def log_mean_exp(values: Array) -> Array:
    """`log 1/K sum_k exp(values_k)`, over the first dimension."""
    return nn.logsumexp(values, 0) - jnp.log(len(values))
