"""Decoders `p(x|z)`: callables that return a distribution over the observed variables."""

from dataclasses import KW_ONLY, dataclass
from typing import Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from flax import linen as nn
from jaxtyping import Float

from numpyro_entropy.nets import AnyArray, apply_net


@dataclass(frozen=True, eq=False)
class NormalDecoder:
    """The decoder `p(x|z) = N(x; mu(z), sigma^2 I)` with one learned variance.

    Damm et al. 2023, Def. 1.

    Args:
        net: Maps latents `(..., H)` to the means `(..., D)`.
        initial_log_variance: Where `log sigma^2` starts. From the optimum for the data's mean,
            `log(optimal_decoder_variance(x, x.mean(0)))`, it converges soonest.
        dtype: The float type of `log sigma^2`; the default is JAX's.

    Example:
        >>> from numpyro_entropy import MLP
        >>> with numpyro.handlers.seed(rng_seed=0):
        ...     NormalDecoder(MLP(3, 4))(jnp.zeros((8, 3))).event_shape
        (4,)
    """

    net: nn.Module
    _: KW_ONLY
    initial_log_variance: float = 0.0
    dtype: Any = None

    def __call__(self, z: Float[AnyArray, "*batch latent_dim"]) -> dist.Distribution:
        """`p(x|z)`, of event shape `(D,)`."""
        initial = jnp.asarray(self.initial_log_variance, self.dtype or jnp.result_type(float))
        log_variance = numpyro.param("decoder.log_variance", initial)
        mean = apply_net("decoder.net", self.net, z)
        return dist.Normal(mean, jnp.exp(0.5 * log_variance)).to_event(1)
