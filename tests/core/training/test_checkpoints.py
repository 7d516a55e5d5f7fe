"""Files to go on from: which are kept, and what a damaged, foreign or cut one does: nothing."""

import json

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from entropy_core.training import Callback, Checkpoints, EarlyStopping
from entropy_core.training.checkpoints import checkpoints_of
from entropy_core.training.epochs import BaseSteps, train
from entropy_core.training.stopping import Look
from tests.core.records import draw, report_of, traces

REPORT = report_of(traces(draw()))


class Walk(BaseSteps):
    """A state that is a number, and a course that depends on all that a file has to hold."""

    def __init__(self, name="walk"):
        self.name, self.state, self.best = name, 1.0, 0.0

    def batches(self, epoch, skip):
        return iter([epoch + i / 10 for i in range(4)][skip:])

    def step(self, batch, step):
        self.state = np.cos(self.state * batch + step)
        return self.state

    def look(self, epoch):
        return Look(epoch, self.state, validation=-abs(self.state)), REPORT

    def weights(self):
        return self.state

    def keep_best(self):
        self.best = self.state

    def restore_best(self):
        self.state = self.best

    def describe(self):
        return {"name": self.name}

    def save(self, course, losses):
        return json.dumps([course, losses.tolist(), [self.state, self.best]]).encode()

    def read(self, content):
        course, losses, state = json.loads(content)
        return course, np.array(losses), state

    def go_on(self, state):
        self.state, self.best = state


class Killed(BaseException):
    pass


class KillAt(Callback):
    def __init__(self, step):
        self.at = step

    def step(self, progress):
        if progress.step == self.at:
            raise Killed


def walk(checkpoints=None, *, steps=None, callbacks=(), num_epochs=3, rules=()):
    steps = steps or Walk()
    course, _ = train(
        steps,
        num_epochs=num_epochs,
        diagnose_every=1,
        progress_bar=False,
        rules=rules,
        callbacks=callbacks,
        checkpoints=checkpoints,
    )
    return course, steps


@pytest.mark.parametrize("every_steps", [None, 1, 3])
@pytest.mark.parametrize("at", [1, 3, 4, 5, 8, 11])
def test_a_training_goes_on_from_where_it_was_killed(tmp_path, at, every_steps):
    rules = [EarlyStopping(patience=100)]
    whole, at_end = walk(rules=rules)
    with pytest.raises(Killed):
        walk(Checkpoints(tmp_path, every_steps=every_steps), callbacks=[KillAt(at)], rules=rules)
    assert len(list(tmp_path.iterdir())) <= 3
    course, steps = walk(Checkpoints(tmp_path, every_steps=every_steps, resume=True), rules=rules)
    assert_array_equal(course.losses, whole.losses)
    assert course.history.equals(whole.history)
    assert course.stopped == whole.stopped
    assert steps.state == at_end.state


def test_a_finished_training_stays_as_it_is_and_goes_on_for_more_epochs(tmp_path):
    whole, _ = walk(num_epochs=5)
    walk(Checkpoints(tmp_path))
    again, _ = walk(Checkpoints(tmp_path, resume=True), callbacks=[KillAt(13)])
    assert_array_equal(again.losses, whole.losses[:12])
    assert again.stopped.epoch == 3
    longer, _ = walk(Checkpoints(tmp_path, resume=True), num_epochs=5)
    assert_array_equal(longer.losses, whole.losses)


def test_the_newest_files_are_kept_and_nothing_else_is_touched(tmp_path):
    (tmp_path / "step-1.checkpoint").write_bytes(b"mine")
    (tmp_path / "notes").write_bytes(b"mine")
    left = tmp_path / ".step-000000000007.checkpoint.0a1b.tmp"
    left.write_bytes(b"half")
    walk(Checkpoints(tmp_path, every_steps=5, keep=2))
    names = sorted(path.name for path in tmp_path.iterdir())
    kept = ["step-000000000010.checkpoint", "step-000000000012.checkpoint"]
    assert names == ["notes", *kept, "step-1.checkpoint"]


@pytest.mark.parametrize("cut", [0, 1, 50, 200, -1])
def test_a_damaged_file_is_refused_and_changes_nothing(tmp_path, cut):
    walk(Checkpoints(tmp_path))
    newest = Checkpoints(tmp_path).files()[-1]
    newest.write_bytes(newest.read_bytes()[:cut])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    steps = Walk()
    with pytest.raises(ValueError, match="a checkpoint of this training for `checkpoints`"):
        walk(Checkpoints(tmp_path, resume=True), steps=steps)
    assert steps.state == 1.0
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_of_another_training_is_refused(tmp_path):
    walk(Checkpoints(tmp_path))
    with pytest.raises(ValueError, match="got one with name 'walk' for 'other'"):
        walk(Checkpoints(tmp_path, resume=True), steps=Walk("other"))
    with pytest.raises(ValueError, match="a folder without checkpoints, or resume=True"):
        walk(Checkpoints(tmp_path))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["every", "every_steps", "keep"])
def test_bad_numbers_are_refused(name):
    with pytest.raises(ValueError, match=f"positive integer for `{name}`; got 0"):
        Checkpoints("run", **{name: 0})


def test_a_folder_stands_for_the_defaults():
    assert checkpoints_of("run") == Checkpoints("run")
    with pytest.raises(TypeError, match="a folder or Checkpoints for `checkpoints`; got int"):
        checkpoints_of(3)
