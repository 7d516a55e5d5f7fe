"""Mixture priors `p(z)`: callables that return a distribution over the latent variables."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import random
from jaxtyping import Array
from numpy.typing import ArrayLike

from entropy_core.checks import check_positive_int, expected
from entropy_core.vaes.mixture import (
    GaussianMixture,
    check_mixture,
    check_pseudo_inputs,
    fit_mixture,
)


@dataclass(frozen=True, eq=False)
class MixturePrior:
    """A given mixture of Gaussians, `p(z) = sum_k pi_k N(z; mu_k, C_k)`.

    The prior of ED-VAE (Lygerakis and Rueckert 2024, Sec. IV-C). Nothing trains it, and no weights
    file holds it. Its entropy has no closed form: the library samples it.

    Args:
        weights: The weight of each component, `(K,)`; divided by their sum.
        loc: The mean of each component, `(K, H)`.
        covariance: The variances of each component, `(K, H)`, or its covariance, `(K, H, H)`.
        dtype: The float type of the parameters; the default is JAX's.

    Raises:
        ValueError: If shapes do not fit, weights or variances are not positive, or a covariance is
            not positive definite.

    Example:
        >>> MixturePrior([1, 1], [[-2.0], [2.0]], [[0.1], [0.1]])().mean
        Array([0.], dtype=...)
    """

    weights: ArrayLike
    loc: ArrayLike
    covariance: ArrayLike
    _: KW_ONLY
    dtype: Any = None

    def __post_init__(self) -> None:
        """Checks the parameters."""
        _ = self._mixture

    @cached_property
    def _mixture(self) -> GaussianMixture:
        return check_mixture(self.weights, self.loc, self.covariance)

    @classmethod
    def from_samples(
        cls,
        samples: Array | ArrayLike,
        num_components: int,
        *,
        full_covariance: bool = True,
        seed: int = 0,
        dtype: Any = None,
    ) -> "MixturePrior":
        """Fits the mixture to samples of the prior, see `entropy_core.vaes.mixture.fit_mixture`.

        Args:
            samples: The samples, of shape `(N, H)`.
            num_components: The number of components, `K`.
            full_covariance: Whether components have a full covariance, or one variance a dimension.
            seed: The seed of the initial values.
            dtype: The float type of the parameters; the default is JAX's.

        Raises:
            ImportError: If scikit-learn is missing.
            ValueError: If `samples` are not of that shape, or fewer than the components.
        """
        mixture = fit_mixture(
            np.asarray(samples), num_components, full_covariance=full_covariance, seed=seed
        )
        return cls(*mixture, dtype=dtype)

    def __call__(self) -> dist.Distribution:
        """`p(z)`, of event shape `(H,)`."""
        dtype = self.dtype or jnp.result_type(float)
        mixture = self._mixture
        logits, loc = jnp.asarray(np.log(mixture.weights), dtype), jnp.asarray(mixture.loc, dtype)
        if mixture.covariance.ndim == 3:
            scale_tril = jnp.asarray(np.linalg.cholesky(mixture.covariance), dtype)
            components = dist.MultivariateNormal(loc, scale_tril=scale_tril)
        else:
            scale = jnp.asarray(np.sqrt(mixture.covariance), dtype)
            components = dist.Normal(loc, scale).to_event(1)
        return dist.MixtureSameFamily(dist.Categorical(logits=logits), components)


@dataclass(frozen=True, eq=False)
class LearnedMixturePrior:
    """A learned mixture of Gaussians, `p(z) = sum_k pi_k N(z; mu_k, diag s_k^2)`.

    The means start at draws from the standard normal distribution. Its entropy has no closed form:
    the library samples it.

    Args:
        latent_dim: The number of latent variables, `H`.
        num_components: The number of components, `K`.
        dtype: The float type of the parameters; the default is JAX's.

    Raises:
        ValueError: If a size is no positive integer.

    Example:
        >>> with numpyro.handlers.seed(rng_seed=0):
        ...     LearnedMixturePrior(2, 5)().mixing_distribution.probs.sum()
        Array(1., dtype=...)
    """

    latent_dim: int
    num_components: int
    _: KW_ONLY
    dtype: Any = None

    def __post_init__(self) -> None:
        """Checks the sizes."""
        check_positive_int(self.latent_dim, "latent_dim")
        check_positive_int(self.num_components, "num_components")

    def __call__(self) -> dist.Distribution:
        """`p(z)`, of event shape `(H,)`."""
        dtype = self.dtype or jnp.result_type(float)
        shape = (self.num_components, self.latent_dim)
        logits = numpyro.param("prior.logits", jnp.zeros(self.num_components, dtype))
        loc = numpyro.param("prior.loc", lambda key: random.normal(key, shape, dtype))
        log_variance = numpyro.param("prior.log_variance", jnp.zeros(shape, dtype))
        components = dist.Normal(loc, jnp.exp(0.5 * log_variance)).to_event(1)
        return dist.MixtureSameFamily(dist.Categorical(logits=logits), components)


@dataclass(frozen=True, eq=False)
class VampPrior:
    """The VampPrior: a mixture of the encoder at learned pseudo-inputs.

    `p(z) = 1/K sum_k q(z|u_k)` (Tomczak and Welling 2018, Eq. 9). Its entropy has no closed form:
    the library samples it.

    Args:
        encoder: The encoder of the VAE that the prior belongs to, and the same object.
        pseudo_inputs: Where the `u_k` start, `(K, *data_shape)`: some data points will do.
        dtype: The float type of the pseudo-inputs; the default is JAX's.

    Raises:
        ValueError: If `pseudo_inputs` are not finite, or there are none.

    Example:
        >>> from numpyro_entropy import MLP, NormalEncoder
        >>> prior = VampPrior(NormalEncoder(MLP(4, 2 * 3)), np.ones((10, 4)))
        >>> with numpyro.handlers.seed(rng_seed=0):
        ...     prior().event_shape
        (3,)
    """

    encoder: Callable[..., dist.Distribution]
    pseudo_inputs: Array | ArrayLike
    _: KW_ONLY
    dtype: Any = None

    def __post_init__(self) -> None:
        """Checks the pseudo-inputs."""
        check_pseudo_inputs(np.asarray(self.pseudo_inputs))

    def __call__(self) -> dist.Distribution:
        """`p(z)`, of event shape `(H,)`."""
        initial = jnp.asarray(self.pseudo_inputs, self.dtype or jnp.result_type(float))
        inputs = numpyro.param("prior.pseudo_inputs", initial)
        # The guide's encoder: in the model its parameters have the same names.
        components = self.encoder(inputs)
        logits = jnp.zeros(len(inputs), inputs.dtype)
        return dist.MixtureSameFamily(dist.Categorical(logits=logits), components)


def check_vamp_prior(prior: object, encoder: object) -> None:
    """Refuses a VampPrior of another encoder than the VAE's, which would never train.

    Raises:
        ValueError: If `prior` is such a one.
    """
    if isinstance(prior, VampPrior) and prior.encoder is not encoder:
        raise ValueError(expected("a VampPrior of the VAE's own encoder", "prior", "another's"))
