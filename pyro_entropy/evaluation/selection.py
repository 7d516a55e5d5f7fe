"""Choosing the number of latent variables on a stream of data."""

from collections.abc import Sequence

import numpy as np
import torch
from pyro.infer import ELBO, SVI
from pyro.optim import Adam, PyroOptim  # type: ignore[attr-defined]
from torch import Tensor

from entropy_core.evaluation.selection import BaseSelector, Count
from pyro_entropy.elbos.standard import Standard_ELBO
from pyro_entropy.vaes.damm import LinearVAE
from pyro_entropy.vaes.data import check_data, check_values


class StreamingSelector(BaseSelector):
    """Trains several linear VAEs on one stream, and compares them by their entropies alone.

    After each step `BIC = -2 N H_sum + P log N`, lower is better, where the entropy sum of the
    linear VAE needs its `H + 1` variances and no data (Damm et al. 2023, Eq. 20, Fig. 3a). It is
    the log-likelihood where training has converged, and says nothing before.

    Args:
        data_dim: The number of observed variables, `D`.
        latent_dims: The numbers of latent variables to choose from, below `D`.
        num_data: `N` in the BIC; the default is the size of each batch, as in the paper's code.
        count: How the parameters are counted; see `num_parameters` in `entropy_core`.
        initial_log_variance: Where `log sigma^2` starts, see `NormalDecoder`.
        loss: The objective; the default is `Standard_ELBO()`.
        optim: The optimiser; the default is Adam with learning rate 2e-3.
        dtype: The float type; the default is torch's.

    Raises:
        ValueError: If `latent_dims` are no different positive integers below `data_dim`, a number
            is no positive integer, or `count` is not known.

    Example:
        >>> selector = StreamingSelector(4, [1, 2])
        >>> sorted(selector.update(torch.rand(10, 4)))
        [1, 2]
        >>> selector.best in (1, 2)
        True
    """

    def __init__(
        self,
        data_dim: int,
        latent_dims: Sequence[int],
        *,
        num_data: int | None = None,
        count: Count = "paper",
        initial_log_variance: float = 0.0,
        loss: ELBO | None = None,
        optim: PyroOptim | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(data_dim, latent_dims, num_data, count)
        self.vaes = {
            h: LinearVAE(data_dim, h, initial_log_variance=initial_log_variance, dtype=dtype)
            for h in latent_dims
        }
        optim = optim or Adam({"lr": 2e-3})
        # Each with an objective of its own, which finds the plates of its pair once.
        self._svis = {
            h: SVI(vae.model, vae.guide, optim, loss or Standard_ELBO())
            for h, vae in self.vaes.items()
        }

    def update(self, batch: Tensor) -> dict[int, float]:
        """Takes a step of each linear VAE.

        Args:
            batch: Data points of shape `(B, D)`.

        Returns:
            The BIC by the number of latents.

        Raises:
            TypeError: If `batch` is no tensor, or of another float type.
            ValueError: If `batch` is empty, of another shape, or not finite.
        """
        # Before any of them has moved.
        check_data(batch, next(iter(self.vaes.values())).model)
        check_values(batch)
        for svi in self._svis.values():
            svi.step(batch)
        return self._compare(self.vaes, len(batch))

    def _variances(self, latent_dim: int) -> tuple[np.ndarray, float]:
        vae = self.vaes[latent_dim]
        tau, sigma = (
            part.log_variance.detach().double().exp().cpu().numpy()  # type: ignore[operator]
            for part in (vae.encoder, vae.decoder)
        )
        return tau, float(sigma)
