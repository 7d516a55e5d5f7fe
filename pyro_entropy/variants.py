"""The papers' variational autoencoders by name: each is a choice of prior, encoder and decoder."""

from collections.abc import Sequence

import torch
from torch import nn

from entropy_core.checks import check_positive_int
from pyro_entropy.decoders import NormalDecoder
from pyro_entropy.encoders import LinearNormalEncoder, NormalEncoder
from pyro_entropy.nets import MLP
from pyro_entropy.priors import StandardNormalPrior
from pyro_entropy.vae import VAE


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
        dtype: The float type; the default is torch's.

    Example:
        >>> VAE1(4, 2).model(torch.rand(8, 4), total=100)
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int,
        *,
        hidden: Sequence[int] = (200,),
        activation: str = "relu",
        initial_log_variance: float = 0.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_positive_int(data_dim, "data_dim")
        prior = StandardNormalPrior(latent_dim, dtype=dtype)
        encoder_net = MLP(data_dim, 2 * latent_dim, hidden, activation, dtype=dtype)
        decoder_net = MLP(latent_dim, data_dim, hidden[::-1], activation, dtype=dtype)
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
        dtype: The float type; the default is torch's.

    Example:
        >>> sorted(LinearVAE(4, 2).get_weights())
        ['decoder.log_variance', 'decoder.net.bias', 'decoder.net.weight',
         'encoder.log_variance', 'encoder.net.bias', 'encoder.net.weight']
    """

    def __init__(
        self,
        data_dim: int,
        latent_dim: int,
        *,
        initial_log_variance: float = 0.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        encoder = LinearNormalEncoder(data_dim, latent_dim, dtype=dtype)
        net = nn.Linear(latent_dim, data_dim, dtype=dtype)
        super().__init__(
            StandardNormalPrior(latent_dim, dtype=dtype),
            encoder,
            NormalDecoder(net, initial_log_variance=initial_log_variance, dtype=dtype),
            (data_dim,),
        )
