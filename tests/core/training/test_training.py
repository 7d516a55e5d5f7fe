"""The loop around epochs: what it records, shows, refuses and lets through."""

from itertools import islice

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from entropy_core.traces.records import LatentTerms, Plate
from entropy_core.training import Callback, linear_annealing
from entropy_core.training.epochs import BaseSteps, train
from entropy_core.training.history import COUNTS, HISTORY, History
from entropy_core.training.interrupts import Interrupted, NotFiniteLoss
from entropy_core.training.stopping import Look
from tests.core.records import draw, in_plates, report_of, trace, traces


def reports():
    """A different report each time."""
    return (report_of(traces(draw(seed))) for seed in range(100))


class Steps(BaseSteps):
    """Steps whose batches are their losses."""

    def __init__(self, losses, diagnose):
        self.losses, self.diagnose = losses, diagnose

    def batches(self, epoch, skip):
        return iter(self.losses[epoch - 1][skip:])

    def step(self, batch, step):
        if not np.isfinite(batch):
            raise NotFiniteLoss(step + 1, batch)
        return batch

    def look(self, epoch):
        report = self.diagnose()
        return Look(epoch, report["elbo"]), report


def run(losses, diagnose, *, diagnose_every=1, progress_bar=False):
    course, _ = train(
        Steps(losses, diagnose),
        num_epochs=len(losses),
        diagnose_every=diagnose_every,
        progress_bar=progress_bar,
    )
    return course.losses, course.history


@pytest.mark.parametrize(
    ("num_epochs", "every", "rows"),
    [(4, 1, [1, 2, 3, 4]), (4, 2, [2, 4]), (5, 2, [2, 4, 5]), (3, 10, [3]), (1, 1, [1])],
)
def test_the_history_has_a_row_every_so_many_epochs_and_for_the_last(num_epochs, every, rows):
    losses = np.arange(2.0 * num_epochs).reshape(num_epochs, 2)
    made = []

    def diagnose():
        made.append(report_of(traces(draw(len(made)))))
        return made[-1]

    returned, history = run(losses, diagnose, diagnose_every=every)
    assert_array_equal(returned, losses.ravel())
    assert_array_equal(history["epoch"], rows)
    assert_array_equal(history["loss"], losses[np.array(rows) - 1].mean(1))
    assert list(history["latent"].values) == ["z[0]", "z[1]"]
    assert set(history.data_vars) == {"loss", *HISTORY, *COUNTS, "latent_encoder_entropy"}
    assert history.attrs["unit"] == "epoch"
    for i, report in enumerate(made):
        row = history.isel(epoch=i)
        for name in HISTORY:
            assert row[name] == report[name]
        assert_array_equal(row["latent_encoder_entropy"], report.latents()["encoder_entropy"])
        for name, column in zip(COUNTS, ("active", "collapsed"), strict=True):
            assert row[name].item() == report.latents()[column].sum()
            assert row[name].dtype.kind == "i"


class Several(Steps):
    """Steps that are taken together, but for two at most."""

    def __init__(self, *args):
        super().__init__(*args)
        self.chunks = []

    def several(self, batches, step, most):
        self.chunks.append((step, most))
        return list(islice(batches, 2))


def test_steps_are_taken_together_but_where_a_callback_looks_at_each():
    class Look(Callback):
        def __init__(self):
            self.seen = []

        def step(self, progress):
            self.seen.append((progress.step, progress.loss))

    losses, look = [[1.0, 2.0, 3.0], [4.0, 5.0]], Look()
    options = {"num_epochs": 2, "diagnose_every": 1, "progress_bar": False}
    together, alone = (Several(losses, reports().__next__) for _ in range(2))
    course, progress = train(together, **options)
    # The last call of each epoch finds no batch left.
    assert together.chunks == [(0, None), (2, None), (3, None), (3, None), (5, None)]
    assert (progress.step, progress.epoch, progress.loss) == (5, 2, 5.0)
    assert_array_equal(course.losses, [1, 2, 3, 4, 5])
    assert_array_equal(course.history["loss"], [2, 4.5])
    assert_array_equal(train(alone, callbacks=[look], **options)[0].losses, course.losses)
    assert look.seen == [(n, n) for n in range(1, 6)]
    assert not alone.chunks


def test_epochs_may_have_different_lengths_and_losses_any_float_type():
    epochs = [np.float32([1, 2, 3]), np.float64([4])]
    losses, history = run(epochs, reports().__next__)
    assert losses.dtype == np.float64
    assert_array_equal(losses, [1, 2, 3, 4])
    assert_array_equal(history["loss"], [2, 4])


def test_a_model_without_latent_rows_has_a_history():
    _, history = run([[1.0], [2.0]], lambda: report_of(traces(draw(), in_plate=False)))
    assert history["latent_encoder_entropy"].shape == (2, 0)


def test_counts_are_those_of_each_row(make_report):
    history = History(unit="step")
    for step, entropy in enumerate([(-0.5, 0.2), (-0.5, 1.3), (1.3, 1.3)]):
        history.add(step, np.nan, make_report(entropy))
    made = history.to_dataset()
    assert_array_equal(made["collapsed_latents"], [0, 1, 2])
    assert_array_equal(made["active_latents"], [0, 0, 0])
    assert made.attrs["unit"] == "step"
    assert np.isnan(made["loss"]).all()


def test_a_history_without_rows_is_a_dataset():
    history = History().to_dataset()
    assert dict(history.sizes) == {"epoch": 0, "latent": 0}


@pytest.mark.parametrize("bad", [2, 1, -1, 3.0, True, None])
def test_rows_come_in_order(bad):
    history = History(unit="step")
    history.check(0)
    history.add(2, 1.0, next(reports()))
    history.check(3)
    with pytest.raises(ValueError, match=f"an integer above 2 for `step`; got {bad!r}"):
        history.check(bad)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("losses", "step"), [([[1, 2, 3], [4, "bad", "bad"]], 5), ([["bad"]], 1), ([[1], ["bad"]], 2)]
)
def test_a_loss_that_is_not_finite_stops_the_training_and_names_the_step(losses, step, bad):
    filled = [[bad if loss == "bad" else float(loss) for loss in epoch] for epoch in losses]
    seen, made = [], reports()

    def diagnose():
        seen.append(next(made))
        return seen[-1]

    with pytest.raises(
        FloatingPointError, match=rf"a finite value for `loss`; got {bad} at step {step}$"
    ):
        run([*filled, [1.0]], diagnose)
    assert len(seen) == len(losses) - 1


@pytest.mark.parametrize("error", [KeyError, RuntimeError, KeyboardInterrupt, StopIteration])
@pytest.mark.parametrize("where", ["batches", "step", "diagnose"])
def test_no_exception_is_swallowed(where, error, capsys):
    def fail(*args):
        raise error("mine")

    steps = Steps([[1.0], [1.0]], reports().__next__)
    setattr(steps, where, fail)
    ends = error is KeyboardInterrupt
    with pytest.raises(Interrupted if ends else error, match="interrupted" if ends else "mine"):
        train(steps, num_epochs=2, diagnose_every=1, progress_bar=True)
    # The bar is closed: what is printed next begins a line.
    assert capsys.readouterr().err.endswith("\n")


@pytest.mark.parametrize("bad", [0, -1, 1.0, True, "3", None])
@pytest.mark.parametrize("name", ["num_epochs", "diagnose_every"])
@pytest.mark.usefixtures("unchecked")
def test_bad_numbers_are_refused_before_the_first_epoch(name, bad):
    numbers = {"num_epochs": 2, "diagnose_every": 1, name: bad}
    with pytest.raises(ValueError, match=f"a positive integer for `{name}`; got {bad!r}"):
        # Without a single step.
        train(BaseSteps(), **numbers, progress_bar=False)


def test_the_progress_bar_shows_loss_elbo_entropy_sum_and_gap(capsys):
    report = report_of(traces(draw()))
    run([[1.0, 2.0], [2.0, 0.5]], lambda: report, progress_bar=True)
    bar = capsys.readouterr().err
    numbers = (
        f"elbo={report['elbo']:.2f}, entropy sum={report['entropy_sum']:.2f}, "
        f"gap={report['gap']:.2f}"
    )
    assert f"loss=1.50, {numbers}" in bar
    assert f"loss=1.25, {numbers}" in bar
    assert "2/2" in bar


def test_between_reports_the_progress_bar_shows_the_newest(capsys):
    first, second = (report_of(traces(draw(seed))) for seed in (0, 1))
    made = iter([first, second])
    run([[9.0], [8.0], [7.0], [6.0]], made.__next__, diagnose_every=2, progress_bar=True)
    frames = capsys.readouterr().err.split("\r")
    for loss, report in (("8.00", first), ("7.00", first), ("6.00", second)):
        assert any(f"loss={loss}, elbo={report['elbo']:.2f}," in frame for frame in frames)
    assert all("elbo" not in frame for frame in frames if "loss=9.00" in frame)


def test_without_the_progress_bar_nothing_is_printed(capsys):
    run([[1.0]], reports().__next__)
    assert capsys.readouterr() == ("", "")


def test_the_last_row_in_few_digits():
    history, (first, second) = History(), (report_of(traces(draw(seed))) for seed in (0, 1))
    assert history.last == {}
    for epoch, report in enumerate((first, second), 1):
        history.add(epoch, 1.0, report)
        assert history.last == {
            "elbo": f"{report['elbo']:.2f}",
            "entropy sum": f"{report['entropy_sum']:.2f}",
            "gap": f"{report['gap']:.2f}",
        }


@pytest.mark.parametrize(
    ("num_steps", "start", "end", "wanted"),
    [
        (4, 0.0, 1.0, [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0]),
        (2, 2.0, 0.5, [2.0, 1.25, 0.5, 0.5]),
        (1, 0.0, 0.3, [0.0, 0.3, 0.3]),
        (3, 0.1, 0.1, [0.1, 0.1, 0.1, 0.1]),
    ],
)
def test_annealing_is_a_straight_line_and_then_flat(num_steps, start, end, wanted):
    weight = linear_annealing(num_steps, start=start, end=end)
    found = [weight(step) for step in range(len(wanted))]
    assert found == pytest.approx(wanted, rel=1e-15)
    assert (found[0], found[-1], weight(10**9)) == (start, end, end)
    assert all(type(value) is float for value in found)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"num_steps": 0}, "a positive integer for `num_steps`; got 0"),
        ({"num_steps": 2.5}, r"a positive integer for `num_steps`; got 2\.5"),
        ({"start": -1.0}, r"a non-negative finite number for `start`; got -1\.0"),
        ({"end": np.inf}, "a non-negative finite number for `end`; got inf"),
        ({"end": None}, "a non-negative finite number for `end`; got None"),
    ],
)
def test_annealing_refuses_bad_numbers(kwargs, match):
    with pytest.raises(ValueError, match=match):
        linear_annealing(**{"num_steps": 4} | kwargs)


def test_looks_at_other_data_may_have_other_latents():
    def looked(*names):
        latents = [LatentTerms(n, *np.full((4, 3, 1), i + 1.0)) for i, n in enumerate(names)]
        x = in_plates("x", "decoder", Plate("data", -1, 3, 3))
        return report_of([trace([x], latents)])

    history = History(unit="step")
    for step, names in enumerate((["a", "b"], ["b", "a"], ["c"])):
        history.add(step, 0.0, looked(*names))
    entropies = history.to_dataset()["latent_encoder_entropy"]
    assert list(entropies["latent"].values) == ["a[0]", "b[0]", "c[0]"]
    nan = np.nan
    assert_array_equal(entropies, [[1, 2, nan], [2, 1, nan], [nan, nan, 1]])
