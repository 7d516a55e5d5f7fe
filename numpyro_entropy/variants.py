"""The papers' variational autoencoders by name: each is a choice of prior, encoder and decoder."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from entropy_core.checks import check_positive_int
from numpyro_entropy.decoders import NormalDecoder
from numpyro_entropy.encoders import LinearNormalEncoder, NormalEncoder
from numpyro_entropy.nets import MLP
from numpyro_entropy.priors import StandardNormalPrior
from numpyro_entropy.vae import VAE


class VAE1(VAE):
    """VAE-1: standard normal prior, diagonal normal encoder, one learned decoder variance.

    `p(z) = N(0, I)`, `q(z|x) = N(m(x), diag tau^2(x))`, `p(x|z) = N(mu(z), sigma^2 I)`
    (Damm et al. 2023, Def. 1).

    Args:
        data_dim: The number of observed variables, `D`.
        latent_dim: The number of latent variables, `H`.
        hidden: The sizes of the encoder's hidden layers; the decoder's are the same, reversed.
        activation: The name of the non-linearity, see `MLP`.
        initial_log_variance: Where `log sigma^2` starts, see `NormalDecoder`.
        dtype: The float type; the default is JAX's.

    Example:
        >>> import jax
        >>> params = VAE1(4, 2).init(jax.random.key(0))
        >>> sorted(params)
        ['decoder.log_variance', 'decoder.net$params', 'encoder.net$params']
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int,
        *,
        hidden: Sequence[int] = (200,),
        activation: str = "relu",
        initial_log_variance: float = 0.0,
        dtype: Any = None,
    ) -> None:
        check_positive_int(data_dim, "data_dim")
        prior = StandardNormalPrior(latent_dim, dtype=dtype)
        encoder_net = MLP(data_dim, 2 * latent_dim, tuple(hidden), activation, dtype=dtype)
        decoder_net = MLP(latent_dim, data_dim, tuple(hidden[::-1]), activation, dtype=dtype)
        super().__init__(
            prior,
            NormalEncoder(encoder_net),
            NormalDecoder(decoder_net, initial_log_variance=initial_log_variance, dtype=dtype),
            (data_dim,),
        )


class LinearVAE(VAE):
    """The linear VAE, whose optimum is that of probabilistic PCA.

    `p(z) = N(0, I)`, `q(z|x) = N(V x + b, diag tau^2)`, `p(x|z) = N(W z + mu_0, sigma^2 I)`
    (Damm et al. 2023, Eqs. 18-19).

    Args:
        data_dim: The number of observed variables, `D`.
        latent_dim: The number of latent variables, `H`.
        initial_log_variance: Where `log sigma^2` starts, see `NormalDecoder`.
        dtype: The float type; the default is JAX's.

    Example:
        >>> import jax
        >>> vae = LinearVAE(4, 2)
        >>> sorted(vae.get_weights(vae.init(jax.random.key(0))))
        ['decoder.log_variance', 'decoder.net.bias', 'decoder.net.weight',
         'encoder.log_variance', 'encoder.net.bias', 'encoder.net.weight']
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int,
        *,
        initial_log_variance: float = 0.0,
        dtype: Any = None,
    ) -> None:
        encoder = LinearNormalEncoder(data_dim, latent_dim, dtype=dtype)
        net = nn.Dense(data_dim, param_dtype=dtype or jnp.result_type(float))
        super().__init__(
            StandardNormalPrior(latent_dim, dtype=dtype),
            encoder,
            NormalDecoder(net, initial_log_variance=initial_log_variance, dtype=dtype),
            (data_dim,),
        )
