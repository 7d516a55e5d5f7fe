"""The course of training in a loop of the user's own: what a monitor of either side keeps."""

from collections.abc import Callable

import xarray as xr

from entropy_core.checks import expected
from entropy_core.report.report import EntropyReport
from entropy_core.training.history import History


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
