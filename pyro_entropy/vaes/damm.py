"""The variational autoencoders of Damm et al. 2023 by name."""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import nn

from pyro_entropy.decoders.normal import (
    FixedNormalDecoder,
    HeteroscedasticNormalDecoder,
    NormalDecoder,
)
from pyro_entropy.encoders import LinearNormalEncoder, NormalEncoder
from pyro_entropy.nets.architecture import NetOptions, Nets
from pyro_entropy.priors.normal import NormalPrior, StandardNormalPrior
from pyro_entropy.vaes.base import VAE


class VAE0(VAE):
    """VAE-0: standard normal prior, diagonal normal encoder, constant decoder variance.

    `p(z) = N(0, I)`, `q(z|x) = N(m(x), diag tau^2(x))`, `p(x|z) = N(mu(z), sigma^2 I)`
    (Damm et al. 2023, Def. 1, but that nothing trains `sigma^2`).

    Args:
        data_dim: The number of observed variables, `D`, or the shape of one data point.
        latent_dim: The number of latent variables, `H`.
        variance: The constant `sigma^2`.
        options: `net`, `hidden`, `activation`, `dtype` and `compute_dtype`, see `Nets`.

    Raises:
        ValueError: If `variance` is not positive, and as `Nets` does.

    Example:
        >>> vae = VAE0(4, 2, variance=0.01, hidden=(16,))
        >>> vae.generate(5).shape
        torch.Size([5, 4])
    """

    def __init__(
        self,
        data_dim: int | Sequence[int],
        latent_dim: int,
        *,
        variance: float = 1.0,
        **options: Unpack[NetOptions],
    ) -> None:
        nets = Nets(data_dim, latent_dim, **options)
        prior = StandardNormalPrior(latent_dim, dtype=nets.dtype)
        encoder = NormalEncoder(nets.encoder(2 * latent_dim))
        decoder = FixedNormalDecoder(nets.decoder(), variance, dtype=nets.dtype)
        super().__init__(prior, encoder, decoder, nets.data_shape)


class VAE1(VAE):
    """VAE-1: standard normal prior, diagonal normal encoder, one learned decoder variance.

    `p(z) = N(0, I)`, `q(z|x) = N(m(x), diag tau^2(x))`, `p(x|z) = N(mu(z), sigma^2 I)`
    (Damm et al. 2023, Def. 1).

    Args:
        data_dim: The number of observed variables, `D`, or the shape of one data point.
        latent_dim: The number of latent variables, `H`.
        initial_log_variance: Where `log sigma^2` starts, see `NormalDecoder`.
        options: `net`, `hidden`, `activation`, `dtype` and `compute_dtype`, see `Nets`.

    Example:
        >>> vae = VAE1(4, 2, hidden=(16,))
        >>> vae.generate(5).shape
        torch.Size([5, 4])
    """

    def __init__(
        self,
        data_dim: int | Sequence[int],
        latent_dim: int,
        *,
        initial_log_variance: float = 0.0,
        **options: Unpack[NetOptions],
    ) -> None:
        nets = Nets(data_dim, latent_dim, **options)
        prior = StandardNormalPrior(latent_dim, dtype=nets.dtype)
        encoder = NormalEncoder(nets.encoder(2 * latent_dim))
        decoder = NormalDecoder(
            nets.decoder(), initial_log_variance=initial_log_variance, dtype=nets.dtype
        )
        super().__init__(prior, encoder, decoder, nets.data_shape)


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
        prior = StandardNormalPrior(latent_dim, dtype=dtype)
        encoder = LinearNormalEncoder(data_dim, latent_dim, dtype=dtype)
        net = nn.Linear(latent_dim, data_dim, dtype=dtype)
        decoder = NormalDecoder(net, initial_log_variance=initial_log_variance, dtype=dtype)
        super().__init__(prior, encoder, decoder, (data_dim,))


class VAE2(VAE):
    """VAE-2: normal prior with learned variances, and a decoder with columns of unit length.

    `p(z) = N(0, diag alpha^2)`, `q(z|x) = N(m(x), diag tau^2(x))`, `p(x|z) = N(mu(z), sigma^2 I)`,
    where the columns of the decoder's first weight have length one (Damm et al. 2023, Def. 2). It
    parametrises the same distributions as `VAE1` (Theorem 2): `entropy_core.vaes.conversion` makes
    weights of the one from those of the other.

    Args:
        data_dim: The number of observed variables, `D`, or the shape of one data point.
        latent_dim: The number of latent variables, `H`.
        initial_log_variance: Where `log sigma^2` starts, see `NormalDecoder`.
        options: `net`, `hidden`, `activation`, `dtype` and `compute_dtype`, see `Nets`.

    Example:
        >>> vae = VAE2(4, 2, hidden=(16,))
        >>> vae.generate(5).shape
        torch.Size([5, 4])
    """

    def __init__(
        self,
        data_dim: int | Sequence[int],
        latent_dim: int,
        *,
        initial_log_variance: float = 0.0,
        **options: Unpack[NetOptions],
    ) -> None:
        nets = Nets(data_dim, latent_dim, **options)
        prior = NormalPrior(latent_dim, dtype=nets.dtype)
        encoder = NormalEncoder(nets.encoder(2 * latent_dim))
        decoder = NormalDecoder(
            nets.decoder(unit_columns=True),
            initial_log_variance=initial_log_variance,
            dtype=nets.dtype,
        )
        super().__init__(prior, encoder, decoder, nets.data_shape)


class VAE3(VAE):
    """VAE-3: standard normal prior, diagonal normal encoder, decoder variances that depend on z.

    `p(z) = N(0, I)`, `q(z|x) = N(m(x), diag tau^2(x))`, `p(x|z) = N(mu(z), diag sigma^2(z))`
    (Damm et al. 2023, Def. 3). One net gives `mu` and `log sigma^2`.

    Args:
        data_dim: The number of observed variables, `D`, or the shape of one data point.
        latent_dim: The number of latent variables, `H`.
        initial_log_variance: What is added to the net's `log sigma^2`.
        options: `net`, `hidden`, `activation`, `dtype` and `compute_dtype`, see `Nets`.

    Example:
        >>> vae = VAE3(4, 2, hidden=(16,))
        >>> vae.generate(5).shape
        torch.Size([5, 4])
    """

    def __init__(
        self,
        data_dim: int | Sequence[int],
        latent_dim: int,
        *,
        initial_log_variance: float = 0.0,
        **options: Unpack[NetOptions],
    ) -> None:
        nets = Nets(data_dim, latent_dim, **options)
        prior = StandardNormalPrior(latent_dim, dtype=nets.dtype)
        encoder = NormalEncoder(nets.encoder(2 * latent_dim))
        decoder = HeteroscedasticNormalDecoder(
            nets.decoder(2), initial_log_variance=initial_log_variance
        )
        super().__init__(prior, encoder, decoder, nets.data_shape)
