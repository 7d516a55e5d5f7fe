"""Choosing the number of latent variables on a stream of data."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array
from numpyro.infer import ELBO, SVI
from numpyro.optim import Adam

from entropy_core.evaluation.selection import BaseSelector, Count
from numpyro_entropy.elbos.standard import Standard_ELBO
from numpyro_entropy.params import Params
from numpyro_entropy.vaes.damm import LinearVAE
from numpyro_entropy.vaes.data import check_data, check_values


class StreamingSelector(BaseSelector):
    """Trains several linear VAEs on one stream, and compares them by their entropies alone.

    After each step `BIC = -2 N H_sum + P log N`, lower is better, where the entropy sum of the
    linear VAE needs its `H + 1` variances and no data (Damm et al. 2023, Eq. 20, Fig. 3a). It is
    the log-likelihood where training has converged, and says nothing before.

    Args:
        rng_key: The key for initial values and draws.
        data_dim: The number of observed variables, `D`.
        latent_dims: The numbers of latent variables to choose from, below `D`.
        num_data: `N` in the BIC; the default is the size of each batch, as in the paper's code.
        count: How the parameters are counted; see `num_parameters` in `entropy_core`.
        initial_log_variance: Where `log sigma^2` starts, see `NormalDecoder`.
        loss: The objective; the default is `Standard_ELBO()`.
        optim: The optimiser, NumPyro's or optax's; the default is Adam with learning rate 2e-3.
        dtype: The float type; the default is JAX's.

    Raises:
        ValueError: If `latent_dims` are no different positive integers below `data_dim`, a number
            is no positive integer, or `count` is not known.

    Example:
        >>> key = random.key(0)
        >>> selector = StreamingSelector(key, 4, [1, 2])
        >>> sorted(selector.update(random.uniform(key, (10, 4))))
        [1, 2]
        >>> selector.best in (1, 2)
        True
    """

    def __init__(
        self,
        rng_key: Array,
        data_dim: int,
        latent_dims: Sequence[int],
        *,
        num_data: int | None = None,
        count: Count = "paper",
        initial_log_variance: float = 0.0,
        loss: ELBO | None = None,
        optim: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(data_dim, latent_dims, num_data, count)
        self.vaes = {
            h: LinearVAE(data_dim, h, initial_log_variance=initial_log_variance, dtype=dtype)
            for h in latent_dims
        }
        optim = Adam(2e-3) if optim is None else optim
        self._svis = {
            h: SVI(vae.model, vae.guide, optim, loss or Standard_ELBO())
            for h, vae in self.vaes.items()
        }
        example = jnp.zeros((1, data_dim), dtype or float)
        self._states = {
            h: svi.init(random.fold_in(rng_key, h), example) for h, svi in self._svis.items()
        }
        # All in one function: the steps are small, and each call costs as much as one.
        self._step = jax.jit(
            lambda states, x: {h: svi.update(states[h], x)[0] for h, svi in self._svis.items()}
        )

    @property
    def params(self) -> dict[int, Params]:
        """The parameters of `vaes`, by the number of latents."""
        return {h: svi.get_params(self._states[h]) for h, svi in self._svis.items()}

    def update(self, batch: Array | np.ndarray) -> dict[int, float]:
        """Takes a step of each linear VAE.

        Args:
            batch: Data points of shape `(B, D)`.

        Returns:
            The BIC by the number of latents.

        Raises:
            TypeError: If `batch` is no array of floats.
            ValueError: If `batch` is empty, of another shape, or not finite.
        """
        check_data(batch, (self.data_dim,))
        check_values(batch)
        self._states = self._step(self._states, jnp.asarray(batch))
        return self._compare(self.vaes, len(batch))

    def _variances(self, latent_dim: int) -> tuple[np.ndarray, float]:
        params = self._svis[latent_dim].get_params(self._states[latent_dim])
        tau, sigma = (
            np.exp(np.asarray(params[f"{part}.log_variance"], np.float64))
            for part in ("encoder", "decoder")
        )
        return tau, float(sigma)
