"""The diagnostic on the way, in a training loop of the user's own."""

from collections.abc import Iterable
from typing import SupportsFloat

import numpy as np
from torch import Tensor

from entropy_core.report.report import EntropyReport
from entropy_core.training.history import BaseMonitor


class Monitor(BaseMonitor):
    """Runs a diagnostic now and then in a training loop, and keeps the course of training.

    `EntropySumDiagnostic.monitor` makes one. The gap between ELBO and entropy sum vanishes as the
    training converges (Damm et al. 2023, Eq. 13); `fit` keeps the same history by itself.

    Args:
        run: Makes a report of the present state, as `EntropySumDiagnostic.run` does.

    Example:
        >>> import torch
        >>> from pyro.infer import SVI
        >>> from pyro.optim import Adam
        >>> from pyro_entropy import VAE1, EntropySumDiagnostic, Standard_ELBO
        >>> vae, x = VAE1(4, 2), torch.rand(100, 4)
        >>> svi = SVI(vae.model, vae.guide, Adam({"lr": 1e-3}), Standard_ELBO())
        >>> monitor = EntropySumDiagnostic(vae.model, vae.guide).monitor()
        >>> for step in range(20):
        ...     loss = svi.step(x)
        ...     if step % 10 == 0:
        ...         report = monitor.update(step, x, loss=loss / 100)
        >>> monitor.history["epoch"].values
        array([ 0, 10])
    """

    def update(
        self,
        step: int,
        batches: Tensor | Iterable,
        *,
        batch_size: int = 1000,
        loss: SupportsFloat = np.nan,
    ) -> EntropyReport:
        """Runs the diagnostic and adds a row to the history.

        Args:
            step: The number of steps, or of epochs, that are done; larger at every call.
            batches: See `EntropySumDiagnostic.run`.
            batch_size: See `EntropySumDiagnostic.run`.
            loss: The loss to show beside the row, in nats per data point.

        Returns:
            The report of this step, with the history so far.

        Raises:
            ValueError: If `step` does not follow the last one; and what the diagnostic raises. The
                history is then as it was.
        """

        def run() -> EntropyReport:
            return self._run(batches, batch_size=batch_size)

        return self._add(step, float(loss), run)
