"""The course of training, the same for both hosts: epochs, a progress bar, a history."""

from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from tqdm.auto import tqdm

from entropy_core.checks import check_positive_int, expected
from entropy_core.report.report import EntropyReport
from entropy_core.training.history import History


def train(
    run_epoch: Callable[[int], NDArray[np.floating]],
    diagnose: Callable[[], EntropyReport],
    *,
    num_epochs: int,
    diagnose_every: int,
    progress_bar: bool,
) -> tuple[NDArray[np.float64], xr.Dataset]:
    """Runs the epochs of a training, and keeps its losses and its history.

    Args:
        run_epoch: Trains for one epoch, counted from 1, and returns the loss of each step.
        diagnose: Makes a report of the present state.
        num_epochs: The number of epochs.
        diagnose_every: The number of epochs between rows of the history; the last epoch has one.
        progress_bar: Whether to show a progress bar with loss, ELBO, entropy sum and gap.

    Returns:
        The loss of each step, and the history.

    Raises:
        ValueError: If a number is no positive integer.
        FloatingPointError: If a loss is NaN or infinite.
    """
    check_positive_int(num_epochs, "num_epochs")
    check_positive_int(diagnose_every, "diagnose_every")
    history, losses = History(), []
    # Everything under one `with`, so that an error leaves no half-drawn bar behind.
    # Without `disable`, tqdm's own TQDM_DISABLE has its say.
    shown = {} if progress_bar else {"disable": True}
    with tqdm(range(1, num_epochs + 1), unit="epoch", **shown) as bar:
        for epoch in bar:
            losses.append(np.asarray(run_epoch(epoch), float))
            finite = np.isfinite(losses[-1])
            if not finite.all():
                step = sum(map(len, losses[:-1])) + int(np.argmin(finite)) + 1
                raise FloatingPointError(
                    expected("a finite value", "loss", f"{losses[-1][~finite][0]} at step {step}")
                )
            loss = float(losses[-1].mean())
            if epoch % diagnose_every == 0 or epoch == num_epochs:
                history.add(epoch, loss, diagnose())
            bar.set_postfix({"loss": f"{loss:.2f}", **history.last})
    return np.concatenate(losses), history.to_dataset()
