"""How a training ends before its time: errors that carry what it has come to."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from entropy_core.checks import expected


class Ended(BaseException):
    """What the errors of a training carry.

    Args:
        step: The step, counted from 1.
    """

    step: int
    epoch: int
    losses: NDArray[np.float64]
    history: xr.Dataset
    params: Any

    def carrying(self, **values: Any) -> "Ended":
        """The same error with more attributes."""
        for name, value in values.items():
            setattr(self, name, value)
        return self


class NotFiniteLoss(Ended, FloatingPointError):
    """A loss is NaN or infinite.

    The weights are the last ones whose loss was finite: in Pyro the modules have them, in NumPyro
    they are `error.params`. `error.losses` are those before, `error.history` is the history,
    `error.epoch` the number of epochs that were done.

    Args:
        step: The step with this loss, counted from 1.
        value: The loss.
        site: The first site whose value or log-probability is not finite; `None` where none is, as
            where the objective itself overflows.
    """

    def __init__(self, step: int, value: float, site: str | None = None) -> None:
        got = f"{value} at step {step}" + (f", from the site '{site}'" if site else "")
        super().__init__(expected("a finite value", "loss", got))
        self.step, self.value, self.site = step, value, site


class Interrupted(Ended, KeyboardInterrupt):
    """A training was interrupted, as with Ctrl-C.

    It ends after the step that it is in, in NumPyro after those that run as one loop. The weights
    are those after it: in Pyro the modules have them, in NumPyro they are `error.params`; losses,
    history and epochs as in `NotFiniteLoss`.

    Args:
        step: The number of steps that were done.
    """

    def __init__(self, step: int) -> None:
        super().__init__(f"training was interrupted after step {step}; the error has what it was")
        self.step = step


@contextmanager
def after_steps() -> Iterator[Callable[[], bool]]:
    """Lets the first Ctrl-C wait for the end of a step, so that no state is half changed.

    The second one ends at once. Elsewhere than in the main thread, or where the user has a handler
    of their own, nothing is changed.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    pressed: list[int] = []

    def wait(number: int, frame: FrameType | None) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    signal.signal(signal.SIGINT, wait)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
