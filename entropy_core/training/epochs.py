"""The course of training, the same for both hosts: epochs, a progress bar, a history."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from tqdm.auto import tqdm

from entropy_core.checks import check_positive_int, expected
from entropy_core.report.report import EntropyReport
from entropy_core.training.callbacks import Callback, Progress, overriding
from entropy_core.training.checkpoints import FORMAT, VERSION, Checkpoints, check_same, reading
from entropy_core.training.history import VALIDATION, History
from entropy_core.training.interrupts import Ended, Interrupted, NotFiniteLoss, after_steps
from entropy_core.training.parting import Watch
from entropy_core.training.stopping import Look, Looks, Rule, Stopped

# From so many draws the error of a look with one is known to a third.
ERROR_DRAWS = 8


def error_of_look(report: EntropyReport, num_draws: int) -> float:
    """The Monte-Carlo standard error of the ELBO of a look.

    Args:
        report: A report from `ERROR_DRAWS` draws.
        num_draws: How many draws the look has.
    """
    error = report.summary().loc["ELBO", "mcse"] * ERROR_DRAWS**0.5
    return float(error) / num_draws**0.5


class BaseSteps:
    """What a side does in a training; the loop around it is `train`."""

    # What the objective notes of each step.
    note_terms: tuple[str, ...] = ()
    # Whether all losses are of one objective, and the looks at the model that it is about.
    is_comparable = False

    def batches(self, epoch: int, skip: int) -> Iterator[Any]:
        """The batches of an epoch, counted from 1, without the first ones."""
        raise NotImplementedError

    def step(self, batch: Any, step: int) -> Any:
        """Takes a step, counted from 0; the loss in nats per data point, which may be pending.

        Raises:
            NotFiniteLoss: If this loss, or a pending one, is not finite; the weights are then the
                last ones with a finite loss.
        """
        raise NotImplementedError

    def several(self, batches: Iterator[Any], step: int, most: int | None) -> Sequence[Any]:
        """Takes steps with the next batches: as many as is good, one by default.

        Args:
            batches: What `batches` has returned.
            step: The number of the first of these steps, counted from 0.
            most: The largest number of steps; `None` for any.

        Returns:
            The loss of each, as `step` returns it; none where no batch is left.

        Raises:
            NotFiniteLoss: As in `step`.
        """
        for batch in batches:
            return [self.step(batch, step)]
        return []

    def settle(self) -> None:
        """Waits for the pending losses; the errors are those of `step`."""

    def values(self, losses: Sequence[Any]) -> NDArray[np.float64]:
        """The values of losses."""
        return np.asarray(losses, float)

    def noted(self) -> NDArray[np.float64]:
        """What the objective has noted of the steps since the last call, `(steps, k)`."""
        return np.zeros((0, len(self.note_terms)))

    def error(self) -> float:
        """The Monte-Carlo standard error of a look's ELBO at the present weights."""
        raise NotImplementedError

    def look(self, epoch: int) -> tuple[Look, EntropyReport]:
        """Looks at the present weights; training goes on as without it."""
        raise NotImplementedError

    def adjust(self, epoch: int) -> None:
        """What is done to the weights at the end of an epoch, before a look."""

    def end_epoch(self, epoch: int, metric: float) -> None:
        """What is done at the end of an epoch, such as a step of a schedule.

        Args:
            epoch: The epoch.
            metric: What a schedule may watch: the held-out loss where there is one, or the mean
                loss of the epoch; smaller is better.
        """

    def weights(self) -> Any:
        """The parameters by name."""
        return None

    def keep_best(self) -> None:
        """Keeps a copy of the present weights, in place of an older one."""

    def restore_best(self) -> None:
        """Puts the kept weights back."""

    def describe(self) -> dict[str, Any]:
        """What tells this training from others, of what JSON has."""
        return {}

    def save(self, course: str, losses: NDArray[np.float64]) -> bytes:
        """All that a training goes on from."""
        raise NotImplementedError

    def read(self, content: bytes) -> tuple[str, NDArray[np.float64], Any]:
        """What `save` wrote, with its state still apart."""
        raise NotImplementedError

    def go_on(self, state: Any) -> None:
        """Takes a state that `read` has read.

        Raises:
            ValueError: If it is not of this training; then nothing has changed.
        """
        raise NotImplementedError

    def undisturbed(self) -> AbstractContextManager:
        """Leaves random generators as they were."""
        return nullcontext()


def mean_notes(names: Sequence[str], notes: Sequence[NDArray[np.float64]]) -> dict[str, float]:
    """What an objective has noted of steps, as means over them; nothing where it notes nothing.

    Args:
        names: What it notes.
        notes: The values, `(steps, k)`, in parts.
    """
    if not names:
        return {}
    return dict(zip(names, np.concatenate(notes).mean(0).tolist(), strict=True))


class Course(NamedTuple):
    """How a training went.

    Args:
        losses: The loss of each step.
        history: The history.
        stopped: What has ended it.
    """

    losses: NDArray[np.float64]
    history: xr.Dataset
    stopped: Stopped


class _Training:
    """A training under way; the arguments are those of `train`."""

    def __init__(
        self,
        steps: BaseSteps,
        num_epochs: int,
        diagnose_every: int,
        rules: Sequence[Rule],
        callbacks: Sequence[Callback],
        checkpoints: Checkpoints | None,
    ) -> None:
        self.steps, self.checkpoints, self.callbacks = steps, checkpoints, callbacks
        self.num_epochs, self.diagnose_every = num_epochs, diagnose_every
        self.at_steps = overriding(callbacks, "step")
        self.looks, self.history = Looks(rules), History()
        self.progress = Progress(steps.weights, self.history.to_dataset)
        self.done: list[NDArray[np.float64]] = []
        self.pending: list[Any] = []
        # The steps of the present epoch that are done, those before a restart among them.
        self.in_epoch = 0
        self.mean_parts: list[NDArray[np.float64]] = []
        # What the objective has noted of these steps, and its means over the last epoch.
        self.notes: list[NDArray[np.float64]] = []
        self.mean_notes: dict[str, float] = {}
        self.watch = Watch(steps.error) if steps.is_comparable else None
        self.stopped: Stopped | None = None

    def start(self) -> None:
        """Goes on from the newest file; without one, writes the first."""
        if self.checkpoints is None:
            return
        content = self.checkpoints.start()
        if content is None:
            self.save()
            return

        def read() -> tuple[dict[str, Any], NDArray[np.float64], Any]:
            text, losses, state = self.steps.read(content)
            course = json.loads(text)
            if course.get("format") != FORMAT:
                raise ValueError(course.get("format"))
            return course, losses, state

        course, losses, state = reading(read)
        check_same({"version": VERSION, **self.steps.describe()}, course)
        history, looks = History(), [Look(*look) for look in course["looks"]]
        reading(lambda: history.from_json(course["history"]))
        self.steps.go_on(state)
        self.history.from_json(course["history"])
        self.looks.seen = [look._replace(undecided=tuple(look.undecided)) for look in looks]
        self.progress.step, self.progress.epoch = course["step"], course["epoch"]
        self.in_epoch = course["in_epoch"]
        finished = len(losses) - self.in_epoch
        self.done, self.mean_parts = [losses[:finished]], [losses[finished:]]
        if course.get("notes"):
            self.notes = [np.array(course["notes"])]
        if not self.in_epoch and self.looks.seen:
            ends = (rule.decide(self.looks.seen) for rule in self.looks.rules)
            self.stopped = next((end for end in ends if end is not None), None)

    def run_epoch(self, interrupted: Callable[[], bool]) -> float:
        """Trains for one epoch: its mean loss."""
        progress, steps = self.progress, self.steps
        batches = steps.batches(progress.epoch + 1, self.in_epoch)
        # One at a time where someone looks at each.
        take = partial(BaseSteps.several, steps) if self.at_steps else steps.several
        while taken := take(batches, progress.step, self.until_file()):
            self.pending.extend(taken)
            progress.loss = taken[-1]
            progress.step += len(taken)
            self.in_epoch += len(taken)
            for callback in self.at_steps:
                with steps.undisturbed():
                    callback.step(progress)
            if self.checkpoints and self.checkpoints.due_at_step(progress.step):
                self.save()
            if interrupted():
                raise KeyboardInterrupt
        self.collect()
        if not self.in_epoch:
            raise ValueError(expected("at least one batch in each epoch", "data", "none"))
        losses = np.concatenate(self.mean_parts)
        self.done.append(losses)
        self.mean_notes = mean_notes(steps.note_terms, self.notes)
        self.mean_parts, self.notes, self.in_epoch = [], [], 0
        progress.epoch += 1
        return float(losses.mean())

    def until_file(self) -> int | None:
        """The number of steps until a file is due; `None` where none is due at a step."""
        every = self.checkpoints.every_steps if self.checkpoints else None
        return None if every is None else every - self.progress.step % every

    def collect(self) -> None:
        """Waits for the losses that are pending."""
        self.steps.settle()
        self.mean_parts.append(self.steps.values(self.pending))
        self.notes.append(self.steps.noted())
        self.pending = []

    def end_epoch(self, loss: float) -> None:
        """Looks, tells the schedule and the callbacks, writes a file, and decides."""
        steps, epoch, metric = self.steps, self.progress.epoch, loss
        steps.adjust(epoch)
        if epoch % self.diagnose_every == 0 or epoch == self.num_epochs:
            look, report = steps.look(epoch)
            also = {} if np.isnan(look.validation) else {VALIDATION: look.validation}
            metric = -look.validation if also else loss
            claims = {name: (r, look.errors[name]) for name, r in look.residuals.items()}
            self.history.add(epoch, loss, report, also=also | self.mean_notes, claims=claims)
            if self.watch:
                self.watch.look(self.history)
            self.progress.report = report
            best, self.stopped = self.looks.add(look)
            if best:
                steps.keep_best()
        steps.end_epoch(epoch, metric)
        for callback in self.callbacks:
            with steps.undisturbed():
                callback.epoch(self.progress)
        if self.progress.stop_reason is not None and self.stopped is None:
            self.stopped = Stopped("callback", epoch, self.progress.stop_reason)
        if self.checkpoints and (
            self.stopped or self.checkpoints.due_at_epoch(epoch, self.num_epochs)
        ):
            self.save()

    def save(self) -> None:
        """Writes a file to go on from."""
        assert self.checkpoints is not None
        self.collect()
        course = {
            "format": FORMAT,
            "version": VERSION,
            **self.steps.describe(),
            "step": self.progress.step,
            "epoch": self.progress.epoch,
            "in_epoch": self.in_epoch,
            "notes": np.concatenate(
                [np.zeros((0, len(self.steps.note_terms))), *self.notes]
            ).tolist(),
            "history": self.history.to_json(),
            "looks": [tuple(look) for look in self.looks.seen],
        }
        self.checkpoints.write(self.progress.step, self.steps.save(json.dumps(course), self.losses))

    @property
    def losses(self) -> NDArray[np.float64]:
        """The losses that have been collected."""
        return np.concatenate([np.zeros(0), *self.done, *self.mean_parts])

    def ended(self, error: Ended) -> Ended:
        """An error that carries what the training has come to."""
        if isinstance(error, NotFiniteLoss):
            # Those after the loss that is not finite are of no use, and may not be finite.
            self.pending = self.pending[: max(0, error.step - 1 - self._collected)]
        self.mean_parts.append(self.steps.values(self.pending))
        self.pending = []
        return error.carrying(
            epoch=self.progress.epoch,
            losses=self.losses,
            history=self.history.to_dataset(),
            params=self.steps.weights(),
        )

    @property
    def _collected(self) -> int:
        return sum(map(len, [*self.done, *self.mean_parts]))

    def finish(self) -> Stopped:
        """How the training has ended; the best weights are put back where a rule says so."""
        stopped = self.stopped or self._out_of_epochs()
        best = self.looks.best
        if best is None or best == len(self.looks.seen) - 1:
            return stopped
        self.steps.restore_best()
        return stopped._replace(best_epoch=self.looks.seen[best].epoch)

    def _out_of_epochs(self) -> Stopped:
        epoch, seen = self.progress.epoch, self.looks.seen
        waiting = [rule.waiting(seen) for rule in self.looks.rules if hasattr(rule, "waiting")]
        reason = "; TheoremStop waited for ".join([f"all {epoch} epochs are done", *waiting])
        return Stopped("epochs", epoch, reason, seen[-1].undecided if seen else ())


def train(
    steps: BaseSteps,
    *,
    num_epochs: int,
    diagnose_every: int,
    progress_bar: bool,
    rules: Sequence[Rule] = (),
    callbacks: Sequence[Callback] = (),
    checkpoints: Checkpoints | None = None,
) -> tuple[Course, Progress]:
    """Runs the epochs of a training, and keeps its losses and its history.

    Args:
        steps: What the host does.
        num_epochs: The number of epochs.
        diagnose_every: The number of epochs between looks; the last epoch has one.
        progress_bar: Whether to show a progress bar with loss, ELBO, entropy sum and gap.
        rules: What may end the training earlier.
        callbacks: Code of the user's own.
        checkpoints: Where to write files to go on from.

    Returns:
        How it went, and what `end` of the callbacks is to be called with.

    Raises:
        ValueError: If a number is no positive integer, or a file is not of this training.
        NotFiniteLoss: If a loss is NaN or infinite.
        Interrupted: If the training is interrupted, as with Ctrl-C.
    """
    check_positive_int(num_epochs, "num_epochs")
    check_positive_int(diagnose_every, "diagnose_every")
    training = _Training(steps, num_epochs, diagnose_every, rules, callbacks, checkpoints)
    training.start()
    progress = training.progress
    # Without `disable`, tqdm's own TQDM_DISABLE has its say.
    shown: dict[str, Any] = {} if progress_bar else {"disable": True}
    # Everything under one `with`, so that an error leaves no half-drawn bar behind.
    with (
        after_steps() as interrupted,
        tqdm(initial=progress.epoch, total=num_epochs, unit="epoch", **shown) as bar,
    ):
        try:
            for callback in callbacks:
                with steps.undisturbed():
                    callback.start(progress)
            while progress.epoch < num_epochs and not training.stopped:
                loss = training.run_epoch(interrupted)
                training.end_epoch(loss)
                bar.set_postfix({"loss": f"{loss:.2f}", **training.history.last})
                bar.update()
                if interrupted():
                    raise KeyboardInterrupt
        except NotFiniteLoss as error:
            raise training.ended(error) from None
        except KeyboardInterrupt as error:
            if checkpoints and interrupted():
                training.save()
            raise training.ended(Interrupted(progress.step)) from error
    stopped = training.finish()
    return Course(training.losses, training.history.to_dataset(), stopped), progress
