"""What callbacks are given, when they are called, and what they can do."""

import os
import signal

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from entropy_core.training import Callback, Interrupted, NotFiniteLoss
from entropy_core.training.epochs import train
from tests.core.training.test_checkpoints import Walk


class Diary(Callback):
    def __init__(self):
        self.lines = []

    def start(self, progress):
        self.lines.append(("start", progress.step, progress.epoch, progress.report))

    def step(self, progress):
        self.lines.append(("step", progress.step, progress.loss, progress.state))

    def epoch(self, progress):
        self.lines.append(("epoch", progress.epoch, len(progress.history["epoch"])))


def run(*callbacks, steps=None, **options):
    options = {"num_epochs": 2, "diagnose_every": 2, "progress_bar": False} | options
    return train(steps or Walk(), callbacks=callbacks, **options)


def test_what_callbacks_are_given():
    diary = Diary()
    course, progress = run(diary)
    steps = [("step", i, loss, loss) for i, loss in enumerate(course.losses, 1)]
    start = [("start", 0, 0, None)]
    assert diary.lines == [*start, *steps[:4], ("epoch", 1, 0), *steps[4:], ("epoch", 2, 1)]
    assert progress.report is not None
    assert progress.history.equals(course.history)


def test_a_callback_ends_a_training():
    class Enough(Callback):
        def epoch(self, progress):
            if progress.loss < np.inf:
                progress.stop("enough")

    course, _ = run(Enough(), num_epochs=50)
    assert course.stopped == ("callback", 1, "enough", (), None)
    assert len(course.losses) == 4


class Press(Callback):
    def __init__(self, at):
        self.at = at

    def step(self, progress):
        if progress.step == self.at:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("at", [2, 4, 6])
def test_ctrl_c_ends_after_the_step_and_carries_what_there_is(at):
    diary = Diary()
    with pytest.raises(Interrupted) as caught:
        run(Press(at), diary, diagnose_every=1)
    error, taken = caught.value, [line for line in diary.lines if line[0] == "step"]
    # The other callback has seen the end of the same step.
    assert (error.step, error.epoch, len(taken)) == (at, (at - 1) // 4, at)
    assert_array_equal(error.losses, [line[2] for line in taken])
    assert error.params == taken[-1][3]
    assert len(error.history["epoch"]) == (at - 1) // 4
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_loss_that_is_not_finite_carries_what_was_before():
    class Broken(Walk):
        def step(self, batch, step):
            if step == 5:
                raise NotFiniteLoss(step + 1, np.nan, "x")
            return super().step(batch, step)

    match = "got nan at step 6, from the site 'x'"
    with pytest.raises(NotFiniteLoss, match=match) as caught:
        run(steps=Broken(), diagnose_every=1)
    error = caught.value
    assert (error.step, error.epoch, error.site) == (6, 1, "x")
    assert len(error.losses) == 5
    assert error.params == error.losses[-1]
    assert isinstance(error, FloatingPointError)
