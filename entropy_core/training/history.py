"""The course of training: a row for each look at a model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from arviz_base import dict_to_dataset
from numpy.typing import NDArray

from entropy_core.checks import expected
from entropy_core.report.report import EntropyReport

HISTORY = ("elbo", "entropy_sum", "gap", "encoder_entropy", "prior_entropy", "decoder_entropy")

# The column of the ELBO over held-out data.
VALIDATION = "validation_elbo"

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
        self._claims: list[dict[str, list[float]]] = []

    def check(self, epoch: object) -> None:
        """Refuses a row that does not follow the newest one.

        Raises:
            ValueError: If `epoch` is no integer, negative, or not after the newest row.
        """
        last = self._epochs[-1] if self._epochs else -1
        whole = isinstance(epoch, int | np.integer) and not isinstance(epoch, bool)
        if not whole or epoch <= last:  # type: ignore[operator]
            raise ValueError(expected(f"an integer above {last}", self._unit, repr(epoch)))

    def add(
        self,
        epoch: int,
        loss: float,
        report: EntropyReport,
        *,
        also: Mapping[str, float] | None = None,
        claims: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        """Adds a row for the end of `epoch`.

        Args:
            epoch: The epoch, or step.
            loss: The loss; NaN where none is known.
            report: What the row says.
            also: More numbers of the row, such as the ELBO over held-out data.
            claims: The residual of each site with a direction, and its error.
        """
        latents = report.latents()
        self._epochs.append(int(epoch))
        numbers = {name: report[name] for name in HISTORY}
        self._rows.append({"loss": float(loss), **numbers, **(also or {})})
        self._claims.append({name: list(pair) for name, pair in (claims or {}).items()})
        self._counts.append((int(latents["active"].sum()), int(latents["collapsed"].sum())))
        entropies = latents["encoder_entropy"]
        self._latents.append(dict(zip(map(str, entropies.index), entropies, strict=True)))

    def newest(self, count: int, *names: str) -> tuple[NDArray[Any], ...]:
        """The epochs of the newest rows, and some of their numbers."""
        rows = self._rows[-count:]
        numbers = (np.array([row[name] for row in rows]) for name in names)
        return np.array(self._epochs[-count:]), *numbers

    @property
    def last(self) -> dict[str, str]:
        """The newest row in few digits, for a progress bar."""
        row = self._rows[-1] if self._rows else {}
        shown = [name for name in (*HISTORY[:3], VALIDATION) if name in row]
        return {name.replace("_", " "): f"{row[name]:.2f}" for name in shown}

    def to_json(self) -> dict[str, Any]:
        """All rows, of what JSON has."""
        return {
            "epochs": self._epochs,
            "rows": self._rows,
            "counts": self._counts,
            "latents": self._latents,
            "claims": self._claims,
        }

    def from_json(self, rows: Mapping[str, Any]) -> None:
        """Goes on after the rows that `to_json` wrote."""
        self._epochs, self._rows = list(rows["epochs"]), list(rows["rows"])
        self._counts = [(active, collapsed) for active, collapsed in rows["counts"]]
        self._latents, self._claims = list(rows["latents"]), list(rows["claims"])

    def to_dataset(self) -> xr.Dataset:
        """The rows over the dimension `epoch`, the encoder entropies over `latent` too.

        The attribute `unit` says what the dimension counts. A latent that a look has not seen, as
        where looks are at other data, is NaN there. Where there are held-out data,
        `validation_elbo` is the ELBO over them; what an objective notes, in its `history_terms`, is
        the mean over the steps of the epoch; where looks were at the claims of the theorem,
        `residual` and `residual_mcse` are those of the sites with a direction, over `claim`.
        """
        names = dict.fromkeys(["loss", *HISTORY, *(name for row in self._rows for name in row)])
        columns: dict[str, Any] = {
            name: np.array([row.get(name, np.nan) for row in self._rows], float) for name in names
        }
        counts = np.array(self._counts, int).reshape(-1, len(COUNTS))
        columns |= dict(zip(COUNTS, counts.T, strict=True))
        dims: dict[Any, Any] = {name: ["epoch"] for name in columns}
        labels = list(dict.fromkeys(label for latents in self._latents for label in latents))
        entropies = np.array(
            [[latents.get(label, np.nan) for label in labels] for latents in self._latents]
        ).reshape(len(self._rows), len(labels))
        columns["latent_encoder_entropy"] = entropies
        dims["latent_encoder_entropy"] = ["epoch", "latent"]
        coords: dict[str, Any] = {"epoch": self._epochs, "latent": labels}
        claims = list(dict.fromkeys(name for row in self._claims for name in row))
        if claims:
            nan = [np.nan, np.nan]
            both = np.array([[row.get(name, nan) for name in claims] for row in self._claims])
            columns |= {"residual": both[..., 0], "residual_mcse": both[..., 1]}
            dims |= {name: ["epoch", "claim"] for name in ("residual", "residual_mcse")}
            coords["claim"] = claims
        return dict_to_dataset(
            columns,
            dims=dims,
            coords=coords,
            attrs={"unit": self._unit},
            sample_dims=[],
        )


class BaseMonitor:
    """Keeps the history of a diagnostic that is run now and then.

    Args:
        run: Makes a report of the present state, as `EntropySumDiagnostic.run` does.
    """

    def __init__(self, run: Callable[..., EntropyReport]) -> None:
        self._run = run
        self._history = History(unit="step")
        self._report: EntropyReport | None = None

    def _add(self, step: int, loss: float, run: Callable[[], EntropyReport]) -> EntropyReport:
        """Adds a row; where something fails, the history is as it was."""
        self._history.check(step)
        report = run()
        self._history.add(step, loss, report)
        self._report = report.with_history(self.history)
        return self._report

    @property
    def history(self) -> xr.Dataset:
        """A row for each update over the dimension `epoch`, as in the group `history` of `fit`."""
        return self._history.to_dataset()

    @property
    def report(self) -> EntropyReport:
        """The report of the last update, with the history.

        Raises:
            ValueError: If there was no update.
        """
        if self._report is None:
            raise ValueError(expected("at least one call before", "update", "none"))
        return self._report


def over_seeds(reports: Sequence[EntropyReport], seeds: Sequence[int], how: str) -> xr.DataTree:
    """The groups of reports of the same training with several seeds, over the dimension `seed`.

    Args:
        reports: The reports.
        seeds: The label of each.
        how: How the trainings ran: `"at once"` or `"one after the other"`, which the attribute
            `seeds` of the history says.
    """
    trees = [report.to_datatree() for report in reports]
    index = pd.Index(list(seeds), name="seed")
    groups = {
        name: xr.concat([tree[name].dataset for tree in trees], dim=index, join="outer")
        for name in trees[0].children
    }
    groups["history"].attrs["seeds"] = how
    found = xr.DataTree.from_dict(groups)
    found.attrs = dict(trees[0].attrs)
    return found
