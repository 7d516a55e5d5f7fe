"""Choosing the number of latent variables of a linear VAE from its entropies alone."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from entropy_core.checks import check_choice, check_positive_int, expected
from entropy_core.theory.closed_form import linear_vae_entropy_sum

Count = Literal["paper", "ppca"]


def num_parameters(data_dim: int, latent_dim: int, count: Count = "paper") -> int:
    """The number `P` of parameters of probabilistic PCA, for the BIC.

    `"paper"`: `P = H D + 1`, the weight and the variance (Damm et al. 2023, Fig. 3a). `"ppca"`:
    `P = H D + 1 - H (H - 1)/2`, without the rotations, which change no likelihood (Tipping and
    Bishop 1999). The mean is in neither: it has `D` parameters for every `H`.

    Raises:
        ValueError: If a size is no positive integer, or `count` is not known.

    Example:
        >>> num_parameters(10, 4), num_parameters(10, 4, "ppca")
        (41, 35)
    """
    check_positive_int(data_dim, "data_dim")
    check_positive_int(latent_dim, "latent_dim")
    check_choice(count, Count, "count")
    rotations = latent_dim * (latent_dim - 1) // 2 if count == "ppca" else 0
    return latent_dim * data_dim + 1 - rotations


def linear_vae_bic(
    encoder_variance: Float[np.ndarray, " H"],
    variance: float,
    data_dim: int,
    num_data: int,
    *,
    count: Count = "paper",
) -> float:
    """The BIC of a linear VAE from its entropies alone, without data; lower is better.

    `BIC = -2 N H_sum + P log N`, with the entropy sum `H_sum` (Damm et al. 2023, Eq. 20), which at
    the maximum is the log-likelihood per data point (Corollary 2), in nats.

    Args:
        encoder_variance: `tau_h^2`.
        variance: `sigma^2`.
        data_dim: `D`.
        num_data: `N`.
        count: See `num_parameters`.

    Raises:
        ValueError: If a variance is not positive, a number is no positive integer, or `count` is
            not known.

    Example:
        >>> round(linear_vae_bic(np.array([0.25, 1.0]), 1.0, data_dim=2, num_data=10), 4)
        82.1334
    """
    check_positive_int(num_data, "num_data")
    entropy_sum = linear_vae_entropy_sum(encoder_variance, variance, data_dim)
    penalty = num_parameters(data_dim, len(encoder_variance), count) * np.log(num_data)
    return float(-2 * num_data * entropy_sum + penalty)


def check_latent_dims(latent_dims: Sequence[int], data_dim: int) -> None:
    """Refuses numbers of latents that are not ones to choose from.

    Raises:
        ValueError: If there is none, one is no positive integer below `data_dim`, or one is twice
            there.
    """
    check_positive_int(data_dim, "data_dim")
    for latent_dim in latent_dims:
        check_positive_int(latent_dim, "latent_dims")
    dims = list(latent_dims)
    # Of `D` or more latents the likelihood has no maximum: the variance goes to zero.
    if not dims or len(set(dims)) < len(dims) or max(dims) >= data_dim:
        raise ValueError(expected(f"different integers below {data_dim}", "latent_dims", dims))


def best_of(bic: Mapping[int, float]) -> int:
    """The number of latents with the lowest BIC.

    Raises:
        ValueError: If there is none yet.
    """
    if not bic:
        raise ValueError(expected("at least one call before", "update", "none"))
    return min(bic, key=lambda latent_dim: bic[latent_dim])


class BaseSelector(ABC):
    """What the selectors of both sides keep: the BIC of each linear VAE after the last step.

    Args:
        data_dim: The number of observed variables, `D`.
        latent_dims: The numbers of latent variables to choose from, below `D`.
        num_data: `N` in the BIC; `None` for the size of each batch.
        count: How the parameters are counted; see `num_parameters`.

    Raises:
        ValueError: If `latent_dims` are no different positive integers below `data_dim`, a number
            is no positive integer, or `count` is not known.
    """

    def __init__(
        self, data_dim: int, latent_dims: Sequence[int], num_data: int | None, count: Count
    ) -> None:
        check_latent_dims(latent_dims, data_dim)
        if num_data is not None:
            check_positive_int(num_data, "num_data")
        check_choice(count, Count, "count")
        self.data_dim, self.num_data, self.count = data_dim, num_data, count
        self._bic: dict[int, float] = {}

    @abstractmethod
    def _variances(self, latent_dim: int) -> tuple[Float[np.ndarray, " H"], float]:
        """`tau_h^2` and `sigma^2` of a linear VAE."""

    def _compare(self, latent_dims: Iterable[int], batch_size: int) -> dict[int, float]:
        """The BIC of each linear VAE as it is now."""
        num_data = self.num_data or batch_size
        self._bic = {
            h: linear_vae_bic(*self._variances(h), self.data_dim, num_data, count=self.count)
            for h in latent_dims
        }
        return dict(self._bic)

    @property
    def best(self) -> int:
        """The number of latents with the lowest BIC after the last step.

        Raises:
            ValueError: If there was no step.
        """
        return best_of(self._bic)
