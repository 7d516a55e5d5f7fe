"""The course of training, the same for both hosts: epochs, a progress bar, a history."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from arviz_base import dict_to_dataset
from numpy.typing import NDArray
from tqdm.auto import tqdm

from entropy_core.checks import check_non_negative, check_positive_int, expected
from entropy_core.report import EntropyReport

HISTORY = ("elbo", "entropy_sum", "gap", "encoder_entropy", "prior_entropy", "decoder_entropy")
COUNTS = ("active_latents", "collapsed_latents")


class History:
    """What a report says at some epochs, and the mean loss of each of those epochs.

    Args:
        unit: What the rows are counted in: `"epoch"`, or `"step"` in a loop of the user's own.
    """

    def __init__(self, *, unit: str = "epoch") -> None:
        self._unit = unit
        self._epochs: list[int] = []
        self._rows: list[dict[str, float]] = []
        self._counts: list[tuple[int, int]] = []
        self._latents: list[NDArray[np.float64]] = []
        self._labels: list[str] = []

    def check(self, epoch: object) -> None:
        """Refuses a row that does not follow the newest one.

        Raises:
            ValueError: If `epoch` is no integer, negative, or not after the newest row.
        """
        last = self._epochs[-1] if self._epochs else -1
        whole = isinstance(epoch, int | np.integer) and not isinstance(epoch, bool)
        if not whole or epoch <= last:  # type: ignore[operator]
            raise ValueError(expected(f"an integer above {last}", self._unit, repr(epoch)))

    def add(self, epoch: int, loss: float, report: EntropyReport) -> None:
        """Adds a row for the end of `epoch`; the loss is NaN where none is known."""
        latents = report.latents()
        self._epochs.append(int(epoch))
        self._rows.append({"loss": loss, **{name: report[name] for name in HISTORY}})
        self._counts.append((int(latents["active"].sum()), int(latents["collapsed"].sum())))
        self._latents.append(latents["encoder_entropy"].to_numpy())
        self._labels = list(latents.index)

    @property
    def last(self) -> dict[str, str]:
        """The newest row in few digits, for a progress bar."""
        row = self._rows[-1] if self._rows else {}
        return {name.replace("_", " "): f"{row[name]:.2f}" for name in HISTORY[:3] if row}

    def to_dataset(self) -> xr.Dataset:
        """The rows over the dimension `epoch`, the encoder entropies over `latent` too.

        The attribute `unit` says what the dimension counts.
        """
        columns: dict[str, Any] = {
            name: np.array([row[name] for row in self._rows], float) for name in ("loss", *HISTORY)
        }
        counts = np.array(self._counts, int).reshape(-1, len(COUNTS))
        columns |= dict(zip(COUNTS, counts.T, strict=True))
        dims: dict[Any, Any] = {name: ["epoch"] for name in columns}
        entropies = np.array(self._latents).reshape(len(self._rows), len(self._labels))
        return dict_to_dataset(
            {**columns, "latent_encoder_entropy": entropies},
            dims=dims | {"latent_encoder_entropy": ["epoch", "latent"]},
            coords={"epoch": self._epochs, "latent": self._labels},
            attrs={"unit": self._unit},
            sample_dims=[],
        )


def linear_annealing(
    num_steps: int, *, start: float = 0.0, end: float = 1.0
) -> Callable[[int], float]:
    """A KL weight that goes from `start` to `end` in a straight line, for `fit(..., kl_weight=)`.

    `beta_t = start + (end - start) t / T` up to the step `t = T`, and `end` from there on: the
    warm-up of Sønderby et al. 2016. Any other function of the step will do, and in NumPyro a
    schedule of optax.

    Args:
        num_steps: `T`, the number of steps; that of the first one is 0.
        start: The weight at the first step.
        end: The weight from step `T` on.

    Raises:
        ValueError: If `num_steps` is no positive integer, or a weight is negative or not finite.

    Example:
        >>> weight = linear_annealing(4)
        >>> [weight(step) for step in range(6)]
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    check_positive_int(num_steps, "num_steps")
    first, last = check_non_negative(start, "start"), check_non_negative(end, "end")

    def kl_weight(step: int) -> float:
        return last if step >= num_steps else first + (last - first) * step / num_steps

    return kl_weight


def check_annealing(kl_weight: object, loss: object) -> None:
    """Refuses to anneal the KL weight of an objective that has none.

    Args:
        kl_weight: A function of the step; `None` for no annealing.
        loss: The objective.

    Raises:
        TypeError: If `kl_weight` is no function.
        ValueError: If the objective takes no `kl_weight`.
    """
    if kl_weight is None:
        return
    if not callable(kl_weight):
        raise TypeError(expected("a function of the step", "kl_weight", repr(kl_weight)))
    if "kl_weight" not in getattr(loss, "call_options", ()):
        what = "an objective that takes a `kl_weight`, such as Standard_ELBO,"
        raise ValueError(expected(what, "loss", type(loss).__name__))


def no_claim_of(loss: object, *, annealed: bool) -> str | None:
    """Why the theorem says nothing of the optimum of a training; `None` where it does."""
    return "annealed KL weight" if annealed else getattr(loss, "no_claim", None)


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
