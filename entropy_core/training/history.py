"""The course of training: a row for each look at a model."""

from typing import Any

import numpy as np
import xarray as xr
from arviz_base import dict_to_dataset

from entropy_core.checks import expected
from entropy_core.report.report import EntropyReport

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
        self._latents: list[dict[str, float]] = []

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
        entropies = latents["encoder_entropy"]
        self._latents.append(dict(zip(map(str, entropies.index), entropies, strict=True)))

    @property
    def last(self) -> dict[str, str]:
        """The newest row in few digits, for a progress bar."""
        row = self._rows[-1] if self._rows else {}
        return {name.replace("_", " "): f"{row[name]:.2f}" for name in HISTORY[:3] if row}

    def to_dataset(self) -> xr.Dataset:
        """The rows over the dimension `epoch`, the encoder entropies over `latent` too.

        The attribute `unit` says what the dimension counts. A latent that a look has not seen, as
        where looks are at other data, is NaN there.
        """
        columns: dict[str, Any] = {
            name: np.array([row[name] for row in self._rows], float) for name in ("loss", *HISTORY)
        }
        counts = np.array(self._counts, int).reshape(-1, len(COUNTS))
        columns |= dict(zip(COUNTS, counts.T, strict=True))
        dims: dict[Any, Any] = {name: ["epoch"] for name in columns}
        labels = list(dict.fromkeys(label for latents in self._latents for label in latents))
        entropies = np.array(
            [[latents.get(label, np.nan) for label in labels] for latents in self._latents]
        ).reshape(len(self._rows), len(labels))
        return dict_to_dataset(
            {**columns, "latent_encoder_entropy": entropies},
            dims=dims | {"latent_encoder_entropy": ["epoch", "latent"]},
            coords={"epoch": self._epochs, "latent": labels},
            attrs={"unit": self._unit},
            sample_dims=[],
        )
