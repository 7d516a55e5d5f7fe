"""Steps as a loop on the device: the numbers of single steps, and what is no loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import random
from numpy.testing import assert_allclose, assert_array_equal

from entropy_core.training import Checkpoints, NotFiniteLoss, linear_annealing
from numpyro_entropy import fit_seeds
from numpyro_entropy.training import loops
from numpyro_entropy.training.loops import Loop, Rows
from tests.numpyro.training.test_course import GLANCE, Params, X, Y, guide, model, train

COMPILED = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: COMPILED.append(event) if "backend_compile" in event else None
)


@pytest.fixture
def taken(monkeypatch):
    """The number of steps in each run of a loop."""
    counts, steps = [], Loop._steps

    def counting(self, state, rows, step, start, stop):
        counts.append(stop - start)
        return steps(self, state, rows, step, start, stop)

    monkeypatch.setattr(Loop, "_steps", counting)
    # A chunk grows where it was quick, and how quick it was is another thing each time.
    monkeypatch.setattr(loops, "CHUNK_SECONDS", 1e9)
    monkeypatch.setattr(loops, "FIRST_CHUNK", 16)
    return counts


# Batches of two sizes, numbers that change with the step, and draws of a transform.
OPTIONS = {
    "kl_weight": linear_annealing(5),
    "transform": lambda key, x: x + random.uniform(key, x.shape),
    "optim": optax.adam(0.1),
}


def same_params(left, right):
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-12), left, right)


def test_chunks_and_single_steps_have_the_same_numbers(taken, monkeypatch, tmp_path):
    alone = train(X, callbacks=[Params()], **OPTIONS)
    assert not taken
    found = train(X, **OPTIONS)
    # Three batches of two data points and one of one, and no step from the host.
    assert taken == [3, 1] * 2
    assert_allclose(found.losses, alone.losses, rtol=1e-12)
    same_params(found.params, alone.params)
    # Wherever a chunk ends, be it at a file, one program has taken its steps.
    taken.clear()
    files = Checkpoints(tmp_path, every_steps=3, resume=True)
    filed = train(X, checkpoints=files, **OPTIONS)
    assert taken == [3, 1, 2, 1, 1]
    # As if it were killed in the middle of the second epoch.
    taken.clear()
    files.files()[-1].unlink()
    resumed = train(X, checkpoints=files, **OPTIONS)
    assert taken == [1, 1]
    monkeypatch.setattr(loops, "FIRST_CHUNK", 2)
    taken.clear()
    COMPILED.clear()
    chunks = train(X, **OPTIONS)
    assert taken == [2, 1, 1, 3, 1]
    # Nor has another training compiled anything.
    train(X, key=random.key(1), **OPTIONS)
    assert not COMPILED
    for other in (filed, resumed, chunks):
        assert_array_equal(other.losses, found.losses)
        assert other.params == found.params


@pytest.mark.parametrize(("chunk", "good"), [(16, 2), (3, 2), (1, 2), (16, 0)])
def test_a_loss_in_a_chunk_that_is_not_finite(taken, monkeypatch, chunk, good):
    monkeypatch.setattr(loops, "FIRST_CHUNK", chunk)
    optim = optax.sgd(lambda count: jnp.where(count < good, 1e-3, jnp.nan))
    errors = []
    for callbacks in ([], [Params()]):
        with pytest.raises(NotFiniteLoss) as caught:
            train(Y, optim=optim, callbacks=callbacks)
        errors.append(caught.value)
    error, alone = errors
    assert taken
    assert str(error) == str(alone)
    assert (error.step, error.epoch, error.site) == (good + 2, 0, "z")
    assert_allclose(error.losses, alone.losses, rtol=1e-12)
    assert len(error.losses) == good + 1
    same_params(error.params, alone.params)
    assert np.isfinite(jax.tree.leaves(error.params)).all()


def test_the_steps_of_several_seeds_are_a_loop(taken):
    options = {**OPTIONS, "num_epochs": 2, "batch_size": 2, "diagnose_every": 2}
    options |= {"diagnostic": GLANCE, "progress_bar": False}
    found = fit_seeds(model, guide, X, seeds=[3, 4], **options)
    assert taken == [3, 1] * 2
    alone = train(X, key=random.key(4), **OPTIONS)
    assert_allclose(found.losses[1], alone.losses, rtol=1e-12)


def convolved(x):
    return jnp.convolve(x, jnp.ones(3), mode="same")


def called(x):
    return jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct(x.shape, x.dtype), x)


@pytest.mark.parametrize(
    ("layer", "loops"),
    [
        (jnp.tanh, True),
        (convolved, False),
        (jax.jit(lambda x: jax.lax.map(convolved, x[None])[0]), False),
        (called, False),
        (lambda x: x * len(np.unique(x)), False),
        (lambda x: x[:2], False),  # another shape after a step
    ],
    ids=["dense", "convolution", "inside", "callback", "values", "shape"],
)
def test_what_is_slow_or_impossible_in_a_loop_is_none(layer, loops):
    def update(state, step, rows, given, options):
        state = layer(state + given[rows].sum())
        return state, state.sum()

    loop, rows = Loop(update, jnp.arange(6.0), None), jnp.arange(6).reshape(3, 2)
    assert loop.fits(jnp.ones(4), Rows([rows])) == loops
    assert not loop.fits(jnp.ones(4), Rows([rows], skip=3))
