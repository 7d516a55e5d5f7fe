"""The variational autoencoders of the related papers by name."""

from collections.abc import Sequence
from typing import Unpack

from numpy.typing import ArrayLike
from torch import nn

from pyro_entropy.decoders.discrete import BernoulliDecoder
from pyro_entropy.decoders.normal import NormalDecoder
from pyro_entropy.encoders import ConstantNormalEncoder, FullNormalEncoder, NormalEncoder
from pyro_entropy.nets.architecture import NetOptions, Nets
from pyro_entropy.priors.mixtures import LearnedMixturePrior
from pyro_entropy.priors.normal import FloatingNormalPrior, StandardNormalPrior
from pyro_entropy.vaes.base import VAE


class SigmaVAE(VAE):
    """The Sigma-VAE: standard normal prior, full-covariance encoder, one learned decoder variance.

    `p(z) = N(0, I)`, `q(z|x) = N(m(x), Sigma(x))`, `p(x|z) = N(mu(z), sigma^2 I)` (Yu 2020,
    Sec. 3.3).

    Args:
        data_dim: The number of observed variables, `D`, or the shape of one data point.
        latent_dim: The number of latent variables, `H`.
        initial_log_variance: Where `log sigma^2` starts, see `NormalDecoder`.
        options: `net`, `hidden`, `activation`, `dtype` and `compute_dtype`, see `Nets`.

    Example:
        >>> vae = SigmaVAE(4, 2, hidden=(16,))
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
        num_outputs = latent_dim * (latent_dim + 3) // 2
        encoder = FullNormalEncoder(nets.encoder(num_outputs), latent_dim)
        decoder = NormalDecoder(
            nets.decoder(), initial_log_variance=initial_log_variance, dtype=nets.dtype
        )
        super().__init__(prior, encoder, decoder, nets.data_shape)


class BernoulliVAE(VAE):
    """The VAE for binary data: standard normal prior, diagonal normal encoder, Bernoulli decoder.

    `p(z) = N(0, I)`, `q(z|x) = N(m(x), diag tau^2(x))`, `p(x|z) = Bernoulli(sigmoid(l(z)))`
    (Kingma and Welling 2014, App. C.1).

    Args:
        data_dim: The number of observed variables, `D`, or the shape of one data point.
        latent_dim: The number of latent variables, `H`.
        options: `net`, `hidden`, `activation`, `dtype` and `compute_dtype`, see `Nets`.

    Example:
        >>> vae = BernoulliVAE(4, 2, hidden=(16,))
        >>> vae.generate(5).shape
        torch.Size([5, 4])
    """

    def __init__(
        self,
        data_dim: int | Sequence[int],
        latent_dim: int,
        **options: Unpack[NetOptions],
    ) -> None:
        nets = Nets(data_dim, latent_dim, **options)
        prior = StandardNormalPrior(latent_dim, dtype=nets.dtype)
        encoder = NormalEncoder(nets.encoder(2 * latent_dim))
        decoder = BernoulliDecoder(nets.decoder())
        super().__init__(prior, encoder, decoder, nets.data_shape)


class ConstantVarianceVAE(VAE):
    """The VAE with a constant encoder variance and a floating prior.

    `p(z) = N(0, S^2)`, `q(z|x) = N(m(x), Sigma)`, `p(x|z) = N(mu(z), sigma^2 I)` (Fyffe 2020,
    Sec. 4.3). `fit_floating_prior` sets `S^2` for a data set, and `generate` draws from it.

    Args:
        data_dim: The number of observed variables, `D`, or the shape of one data point.
        latent_dim: The number of latent variables, `H`.
        encoder_variance: The diagonal of `Sigma`: one number, or one for each latent.
        full_covariance: Whether `S^2` has all second moments, see `FloatingNormalPrior`.
        initial_log_variance: Where `log sigma^2` starts, see `NormalDecoder`.
        options: `net`, `hidden`, `activation`, `dtype` and `compute_dtype`, see `Nets`.

    Raises:
        ValueError: If a variance is not positive, and as `Nets` does.

    Example:
        >>> vae = ConstantVarianceVAE(4, 2, encoder_variance=0.01, hidden=(16,))
        >>> vae.generate(5).shape
        torch.Size([5, 4])
    """

    def __init__(
        self,
        data_dim: int | Sequence[int],
        latent_dim: int,
        *,
        encoder_variance: float | ArrayLike = 1.0,
        full_covariance: bool = False,
        initial_log_variance: float = 0.0,
        **options: Unpack[NetOptions],
    ) -> None:
        nets = Nets(data_dim, latent_dim, **options)
        prior = FloatingNormalPrior(latent_dim, full_covariance=full_covariance, dtype=nets.dtype)
        net = nets.encoder(latent_dim)
        encoder = ConstantNormalEncoder(net, encoder_variance, dtype=nets.dtype)
        decoder = NormalDecoder(
            nets.decoder(), initial_log_variance=initial_log_variance, dtype=nets.dtype
        )
        super().__init__(prior, encoder, decoder, nets.data_shape)


class EDVAE(VAE):
    """The ED-VAE: mixture prior, diagonal normal encoder, one learned decoder variance.

    `p(z) = sum_k pi_k N(mu_k, C_k)`, `q(z|x) = N(m(x), diag tau^2(x))`,
    `p(x|z) = N(mu(z), sigma^2 I)` (Lygerakis and Rueckert 2024, Sec. IV).

    Args:
        data_dim: The number of observed variables, `D`, or the shape of one data point.
        latent_dim: The number of latent variables, `H`.
        prior: The prior; the default is a `LearnedMixturePrior`. With samples of the prior at hand,
            the paper takes `MixturePrior.from_samples(samples, num_components)`.
        num_components: The number of components of the default prior.
        initial_log_variance: Where `log sigma^2` starts, see `NormalDecoder`.
        options: `net`, `hidden`, `activation`, `dtype` and `compute_dtype`, see `Nets`.

    Example:
        >>> vae = EDVAE(4, 2, num_components=3, hidden=(16,))
        >>> vae.generate(5).shape
        torch.Size([5, 4])
    """

    def __init__(
        self,
        data_dim: int | Sequence[int],
        latent_dim: int,
        *,
        prior: nn.Module | None = None,
        num_components: int = 10,
        initial_log_variance: float = 0.0,
        **options: Unpack[NetOptions],
    ) -> None:
        nets = Nets(data_dim, latent_dim, **options)
        if prior is None:
            prior = LearnedMixturePrior(latent_dim, num_components, dtype=nets.dtype)
        encoder = NormalEncoder(nets.encoder(2 * latent_dim))
        decoder = NormalDecoder(
            nets.decoder(), initial_log_variance=initial_log_variance, dtype=nets.dtype
        )
        super().__init__(prior, encoder, decoder, nets.data_shape)
