"""What a user's own code sees of a training, and when: a small protocol."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat

import xarray as xr

from entropy_core.report.report import EntropyReport


@dataclass
class Progress:
    """How far a training has come.

    Args:
        step: The number of steps that are done.
        epoch: The number of epochs that are done.
        loss: The loss of the last step, in nats per data point; NaN before the first one. In
            NumPyro it may be an array that is still computed: `float` waits for it.
        report: The report of the last look, in `end` that of the result; `None` before the first.
        history: The course of training so far, as in the group `history` of the report.
    """

    _state: Callable[[], Any]
    _history: Callable[[], xr.Dataset]
    step: int = 0
    epoch: int = 0
    loss: SupportsFloat = float("nan")
    report: EntropyReport | None = None
    stop_reason: str | None = None

    @property
    def state(self) -> Any:
        """The parameters by name: those of Pyro's param store, or NumPyro's `params`."""
        return self._state()

    @property
    def history(self) -> xr.Dataset:
        """The course of training so far, as in the group `history` of the report."""
        return self._history()

    def stop(self, reason: str) -> None:
        """Ends the training after this epoch.

        Args:
            reason: Why, for `result.stopped`.
        """
        self.stop_reason = reason


class Callback:
    """Code of the user's own that a training calls; a subclass has the methods that it needs.

    What it changes of the state it changes in the training. The random generators are as they were
    after each call, so that training goes on as without it.

    Example:
        >>> class Printer(Callback):
        ...     def epoch(self, progress):
        ...         print(progress.epoch, round(float(progress.loss), 2))
    """

    def start(self, progress: Progress) -> None:
        """Before the first step."""

    def step(self, progress: Progress) -> None:
        """After each step."""

    def epoch(self, progress: Progress) -> None:
        """After each epoch, and its look where it has one."""

    def end(self, progress: Progress) -> None:
        """Once, when the training has ended, with the report of the result."""


def overriding(callbacks: Sequence[Callback], method: str) -> list[Callback]:
    """The callbacks that have a method of their own."""
    return [c for c in callbacks if getattr(type(c), method, None) is not getattr(Callback, method)]
