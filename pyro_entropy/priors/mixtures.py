"""Mixture priors `p(z)`: modules that return a distribution over the latent variables."""

from collections.abc import Callable

import numpy as np
import pyro.distributions as dist
import torch
from numpy.typing import ArrayLike
from pyro.distributions import constraints
from torch import Tensor, nn
from torch.distributions import Distribution

from entropy_core.checks import check_positive_int, expected
from entropy_core.vaes.mixture import check_mixture, check_pseudo_inputs, fit_mixture
from pyro_entropy.operations import to_numpy


class _Mixture(dist.MixtureSameFamily):
    """A mixture whose support is that of its components, as the host's automatic guides ask for."""

    @constraints.dependent_property
    def support(self) -> constraints.Constraint:
        """The support of the components."""
        return self.component_distribution.support


class MixturePrior(nn.Module):
    """A given mixture of Gaussians, `p(z) = sum_k pi_k N(z; mu_k, C_k)`.

    The prior of ED-VAE (Lygerakis and Rueckert 2024, Sec. IV-C). Nothing trains it, and no weights
    file holds it. Its entropy has no closed form: the library samples it.

    Args:
        weights: The weight of each component, `(K,)`; divided by their sum.
        loc: The mean of each component, `(K, H)`.
        covariance: The variances of each component, `(K, H)`, or its covariance, `(K, H, H)`.
        dtype: The float type of the parameters; the default is torch's.

    Raises:
        ValueError: If shapes do not fit, weights or variances are not positive, or a covariance is
            not positive definite.

    Example:
        >>> MixturePrior([1, 1], [[-2.0], [2.0]], [[0.1], [0.1]])().mean
        tensor([0.])
    """

    logits: Tensor
    loc: Tensor
    scale: Tensor

    def __init__(
        self,
        weights: ArrayLike,
        loc: ArrayLike,
        covariance: ArrayLike,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        mixture = check_mixture(weights, loc, covariance)
        full = mixture.covariance.ndim == 3
        scale = np.linalg.cholesky(mixture.covariance) if full else np.sqrt(mixture.covariance)
        dtype = dtype or torch.get_default_dtype()
        for name, array in (
            ("logits", np.log(mixture.weights)),
            ("loc", mixture.loc),
            ("scale", scale),
        ):
            self.register_buffer(name, torch.tensor(array, dtype=dtype), persistent=False)

    @classmethod
    def from_samples(
        cls,
        samples: Tensor | ArrayLike,
        num_components: int,
        *,
        full_covariance: bool = True,
        seed: int = 0,
        dtype: torch.dtype | None = None,
    ) -> "MixturePrior":
        """Fits the mixture to samples of the prior, see `entropy_core.vaes.mixture.fit_mixture`.

        Args:
            samples: The samples, of shape `(N, H)`.
            num_components: The number of components, `K`.
            full_covariance: Whether components have a full covariance, or one variance a dimension.
            seed: The seed of the initial values.
            dtype: The float type of the parameters; the default is torch's.

        Raises:
            ImportError: If scikit-learn is missing.
            ValueError: If `samples` are not of that shape, or fewer than the components.
        """
        if isinstance(samples, Tensor):
            samples = to_numpy(samples)
        mixture = fit_mixture(samples, num_components, full_covariance=full_covariance, seed=seed)
        return cls(*mixture, dtype=dtype)

    def forward(self) -> Distribution:
        """`p(z)`, of event shape `(H,)`."""
        if self.scale.ndim == 3:
            components = dist.MultivariateNormal(self.loc, scale_tril=self.scale)
        else:
            components = dist.Normal(self.loc, self.scale).to_event(1)
        return _Mixture(dist.Categorical(logits=self.logits), components)


class LearnedMixturePrior(nn.Module):
    """A learned mixture of Gaussians, `p(z) = sum_k pi_k N(z; mu_k, diag s_k^2)`.

    The means start at draws from the standard normal distribution. Its entropy has no closed form:
    the library samples it.

    Args:
        latent_dim: The number of latent variables, `H`.
        num_components: The number of components, `K`.
        dtype: The float type of the parameters; the default is torch's.

    Raises:
        ValueError: If a size is no positive integer.

    Example:
        >>> LearnedMixturePrior(2, 5)().mixture_distribution.probs.sum()
        tensor(1..., grad_fn=<SumBackward0>)
    """

    def __init__(
        self, latent_dim: int, num_components: int, *, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        check_positive_int(latent_dim, "latent_dim")
        check_positive_int(num_components, "num_components")
        shape = (num_components, latent_dim)
        self.logits = nn.Parameter(torch.zeros(num_components, dtype=dtype))
        self.loc = nn.Parameter(torch.randn(shape, dtype=dtype))
        self.log_variance = nn.Parameter(torch.zeros(shape, dtype=dtype))

    def forward(self) -> Distribution:
        """`p(z)`, of event shape `(H,)`."""
        components = dist.Normal(self.loc, torch.exp(0.5 * self.log_variance)).to_event(1)
        return _Mixture(dist.Categorical(logits=self.logits), components)


class VampPrior(nn.Module):
    """The VampPrior: a mixture of the encoder at learned pseudo-inputs.

    `p(z) = 1/K sum_k q(z|u_k)` (Tomczak and Welling 2018, Eq. 9). Its entropy has no closed form:
    the library samples it.

    Args:
        encoder: The encoder of the VAE that the prior belongs to, and the same object.
        pseudo_inputs: Where the `u_k` start, `(K, *data_shape)`: some data points will do.
        dtype: The float type of the pseudo-inputs; the default is torch's.

    Raises:
        ValueError: If `pseudo_inputs` are not finite, or there are none.

    Example:
        >>> from pyro_entropy import MLP, NormalEncoder
        >>> VampPrior(NormalEncoder(MLP(4, 2 * 3)), torch.rand(10, 4))().event_shape
        torch.Size([3])
    """

    def __init__(
        self,
        encoder: Callable[..., Distribution],
        pseudo_inputs: Tensor | ArrayLike,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        inputs = torch.as_tensor(pseudo_inputs).detach().clone()
        check_pseudo_inputs(inputs.double().cpu().numpy())
        # The guide holds the encoder: registered here too, each of its tensors would have two
        # names, which no weights file could hold.
        self._encoder = (encoder,)
        self.pseudo_inputs = nn.Parameter(inputs.to(dtype or torch.get_default_dtype()))

    @property
    def encoder(self) -> Callable[..., Distribution]:
        """The encoder."""
        return self._encoder[0]

    def forward(self) -> Distribution:
        """`p(z)`, of event shape `(H,)`."""
        logits = self.pseudo_inputs.new_zeros(len(self.pseudo_inputs))
        components = self.encoder(self.pseudo_inputs)
        return _Mixture(dist.Categorical(logits=logits), components)


def check_vamp_prior(prior: object, encoder: object) -> None:
    """Refuses a VampPrior of another encoder than the VAE's, which would never train.

    Raises:
        ValueError: If `prior` is such a one.
    """
    if isinstance(prior, VampPrior) and prior.encoder is not encoder:
        raise ValueError(expected("a VampPrior of the VAE's own encoder", "prior", "another's"))
