"""The steps of an epoch as a loop on the device."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from entropy_core.checks import check_weight
from entropy_core.traces.sites import ONE_AT_A_TIME
from numpyro_entropy.compiled import compiled

# Ctrl-C waits for the end of a chunk of steps; how long a step takes is not known before.
CHUNK_SECONDS, FIRST_CHUNK = 0.3, 1
# Inside a loop of JAX's, convolutions take up to twenty times as long on a CPU (jax-ml/jax#12868),
# and a call of Python's would be another one.
NOT_IN_LOOPS = ("conv_general_dilated", "callback")


class Rows(Iterator[Array]):
    """Which rows the batches of an epoch are: one batch after another, or many at once.

    Args:
        parts: The batches of each size, along the first dimension.
        skip: The number of batches to leave out in front.
    """

    def __init__(self, parts: Sequence[Array], skip: int = 0) -> None:
        self.parts, self.place = parts, skip
        self._single: Iterator[Array] | None = None

    def __next__(self) -> Array:
        """The next batch."""
        if not len(self.ahead[0]):
            raise StopIteration
        if self._single is None:
            self._single = islice(chain.from_iterable(self.parts), self.place, None)
        batch = next(self._single)
        self.place += 1
        return batch

    @property
    def ahead(self) -> tuple[Any, int]:
        """The batches of the size of the next one, and its place; at the end none, and 0."""
        place = self.place
        for part in self.parts:
            if place < len(part):
                return part, place
            place -= len(part)
        return np.zeros((0, 0), int), 0

    def skip(self, count: int) -> None:
        """Leaves batches out."""
        self.place += count


class Chunk(NamedTuple):
    """Steps that were taken together.

    Args:
        state: The state after them.
        losses: Their losses, as the host has them: in nats, of each step.
        notes: What the objective notes of each step; `None` where it notes nothing.
        before_last: Runs to the state before the last of them.
    """

    state: Any
    losses: NDArray[np.floating]
    notes: NDArray[np.floating] | None
    before_last: Callable[[], Any]


class Loop:
    """Steps of a training as a loop on the device, where that is no slower.

    One program takes any steps with batches of one size in an epoch, from whichever place and
    however many: the numbers do not depend on where a chunk begins or ends.

    Args:
        update: A step: takes a state, the number of the step, rows, what is given, and options;
            returns a state and the loss, or what `update_with_notes` has in its place.
        given: What all steps take.
        kl_weight: The weight of the KL divergence by step.
        num_notes: How many numbers the objective notes.
    """

    def __init__(
        self,
        update: Callable,
        given: Any,
        kl_weight: Callable[[int], Any] | None,
        num_notes: int = 0,
    ) -> None:
        self.given, self.kl_weight, self.most = given, kl_weight, FIRST_CHUNK
        self.num_notes = num_notes
        self._fits: dict[Any, bool] = {}

        def run(
            state: Any, rows: Array, given: Any, first: Any, ends: Sequence[Any], weights: Any
        ) -> tuple[Any, Array]:
            def body(i: Array, carry: tuple[Any, Array]) -> tuple[Any, Array]:
                state, losses = carry
                options = {} if weights is None else {"kl_weight": weights[i]}
                state, loss = update(state, first + i, rows[i], given, options)
                return state, losses.at[i].set(loss.astype(float))

            # Those of one seed, or of several at once.
            width = (1 + num_notes,) if num_notes else ()
            losses = jnp.zeros((*rows.shape[:-1], *width), float)
            start, stop = ends
            return jax.lax.fori_loop(start, stop, body, (state, losses))

        self._run = compiled(run, without=NOT_IN_LOOPS)

    def fits(self, state: Any, batches: Rows) -> bool:
        """Whether the next steps run as a loop; others are taken one at a time."""
        rows, _ = batches.ahead
        if not len(rows):
            return False
        if rows.shape not in self._fits:
            with ONE_AT_A_TIME:
                self._fits[rows.shape] = self._run.fits(*self._arguments(state, rows, 0, 0, 0))
        return self._fits[rows.shape]

    def take(self, state: Any, batches: Rows, step: int, most: int | None = None) -> Chunk:
        """Takes the next steps.

        Args:
            state: The state before; it stays as it is.
            batches: The batches, of which those of the steps are left out afterwards.
            step: The number of the first step in the training.
            most: The largest number of steps.
        """
        rows, start = batches.ahead
        stop = min(len(rows), start + min(self.most, most or self.most))
        begin = time.perf_counter()
        after, losses = self._steps(state, rows, step, start, stop)
        seconds = max(time.perf_counter() - begin, 1e-9)
        # A single measurement may be far off, as one with compiling in it.
        enough = int((stop - start) * CHUNK_SECONDS / seconds)
        self.most = min(max(enough, self.most // 4, 1), 4 * self.most)
        batches.skip(stop - start)
        return Chunk(
            after,
            *split(losses, self.num_notes),
            lambda: self._steps(state, rows, step, start, stop - 1)[0],
        )

    def take_finite(self, state: Any, batches: Rows, step: int, most: int | None) -> Chunk:
        """Takes the next steps, as `take`, up to the first one whose loss is not finite.

        Where that is the very first, it is the only one.
        """
        place = batches.place
        chunk = self.take(state, batches, step, most)
        if np.isfinite(chunk.losses).all():
            return chunk
        batches.place = place
        first = int(np.argmin(np.isfinite(chunk.losses)))
        return self.take(state, batches, step, max(first, 1))

    def _steps(
        self, state: Any, rows: Array, step: int, start: int, stop: int
    ) -> tuple[Any, NDArray[np.floating]]:
        with ONE_AT_A_TIME:
            after, losses = self._run(*self._arguments(state, rows, step, start, stop))
        return after, np.asarray(losses)[start:stop]

    def _arguments(self, state: Any, rows: Array, step: int, start: int, stop: int) -> tuple:
        first, weights = step - start, None
        if self.kl_weight is not None:
            weights = np.zeros(len(rows))
            for i in range(start, stop):
                weights[i] = check_weight(self.kl_weight(first + i), "kl_weight")
        return state, rows, self.given, first, (start, stop), weights


def split(values: Any, num_notes: int) -> tuple[Any, Any]:
    """The losses, and what the objective notes; `None` where it notes nothing."""
    return (values[..., 0], values[..., 1:]) if num_notes else (values, None)


def options_of(kl_weight: Callable[[int], Any] | None, step: int) -> dict[str, Array]:
    """The options of a single step: arrays of one type, so that no step compiles again."""
    if kl_weight is None:
        return {}
    return {"kl_weight": jnp.asarray(check_weight(kl_weight(step), "kl_weight"), float)}
