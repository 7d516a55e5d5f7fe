"""What NumPyro does in a training: steps, looks, and the state that both leave."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from itertools import islice
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array
from numpy.typing import NDArray
from numpyro.infer import SVI

from entropy_core.arguments import Arguments
from entropy_core.report.report import EntropyReport
from entropy_core.theory.claims import SiteClaim
from entropy_core.traces.plates import find_data_plate
from entropy_core.traces.sites import ONE_AT_A_TIME
from entropy_core.training.annealing import is_comparable
from entropy_core.training.epochs import ERROR_DRAWS, BaseSteps, error_of_look
from entropy_core.training.interrupts import NotFiniteLoss
from entropy_core.training.stopping import Look, claims_of
from numpyro_entropy.compiled import compiled
from numpyro_entropy.diagnostic.diagnostic import EntropySumDiagnostic
from numpyro_entropy.elbos.noted import update_with_notes
from numpyro_entropy.params import Params
from numpyro_entropy.traces.batches import first_not_finite
from numpyro_entropy.traces.pairs import trace_pair
from numpyro_entropy.traces.terms import site_terms
from numpyro_entropy.training.checkpoints import from_bytes, like, to_bytes
from numpyro_entropy.training.data import Data
from numpyro_entropy.training.loops import Loop, Rows, options_of, split
from numpyro_entropy.training.variances import ClosedFormVariances, clear_state

# While a step is computed, the next one is prepared.
PENDING = 1


class Steps(BaseSteps):
    """What NumPyro does in a training: steps, looks, and the state that both leave.

    Args:
        svi: The host's SVI.
        data: The data.
        num_data: The number of data points.
        state: The state of the SVI.
        rng_key: The key of the orders and transforms.
        report_key: The key of the looks.
        kl_weight: The weight of the KL divergence by step.
        glance: What looks on the way.
        validation: Held-out data.
        claims: Makes what a stop by the theorem looks at; `None` for no such stop.

    `each_epoch` are called at the end of each epoch, before its look; sites whose variances they
    set in closed form go into `closed`, and are no part of a stop by the theorem.
    """

    def __init__(
        self,
        svi: SVI,
        data: Data,
        num_data: int,
        *,
        state: Any,
        rng_key: Array,
        report_key: Array,
        kl_weight: Callable[[int], Any] | None,
        glance: EntropySumDiagnostic,
        validation: Data | None,
        claims: Callable[[Params], list[SiteClaim]] | None,
    ) -> None:
        self.svi, self.data, self.num_data, self.state = svi, data, num_data, state
        self.order_key, self.report_key = rng_key, report_key
        # Epochs count from 1.
        self.transform_key = random.fold_in(rng_key, 0)
        self.kl_weight = kl_weight
        self.glance, self.validation, self.claims = glance, validation, claims
        self.each_epoch: list[Callable[[], None]] = []
        self.closed: set[str] = set()
        self.has_total = "total" in svi.static_kwargs
        self.sizes: dict[Any, int] = {}
        self.best: Any = None
        # The last state with a finite loss, which may have to be run to.
        self.good: Callable[[], Any] = lambda: state
        # Each step not looked at yet: its number, the state before it, its batch and its loss.
        self.pending: deque[tuple[int, Any, Any, Any]] = deque()
        self.given = self.transform_key, data.arrays if data.on_device else []

        def on_rows(
            state: Any, step: Any, rows: Array, given: Any, options: dict
        ) -> tuple[Any, Array]:
            return self._update(state, self._call(step, rows, given), options)

        def orders(order_key: Array, epoch: Any) -> list[Array]:
            return data.orders(random.fold_in(order_key, epoch))

        # What the objective notes of each step that is not asked for yet.
        self.notes: list[Any] = []
        self.note_terms = getattr(svi.loss, "history_terms", ())
        self.is_comparable = is_comparable(svi.loss, annealed=kl_weight is not None)
        self.loop = Loop(on_rows, self.given, kl_weight, len(self.note_terms))
        self._on_rows, self._on_call = compiled(on_rows), compiled(self._update)
        self._orders = compiled(orders)

    def batches(self, epoch: int, skip: int) -> Iterator[Any]:
        """The batches of an epoch, counted from 1, without the first ones."""
        if self.data.on_device:
            return Rows(self._orders(self.order_key, epoch), skip)
        order_key = random.fold_in(self.order_key, epoch)
        return islice(self.data.epoch(order_key, epoch), skip, None)

    def step(self, batch: Any, step: int) -> Array:
        """Takes a step, counted from 0; the loss in nats per data point, which may be pending."""
        options = options_of(self.kl_weight, step)
        before = self.state
        with ONE_AT_A_TIME:
            if self.data.on_device:
                self.state, values = self._on_rows(
                    before, jnp.asarray(step), batch, self.given, options
                )
            else:
                self.state, values = self._on_call(before, self._call(step, batch), options)
        loss, notes = split(values, len(self.note_terms))
        if notes is not None:
            self.notes.append(notes)
        self.pending.append((step, before, batch, loss))
        while len(self.pending) > PENDING:
            self._check_oldest()
        return loss / self.size_of(batch, step)

    def several(self, batches: Iterator[Any], step: int, most: int | None) -> Sequence[Any]:
        """Takes steps with the next batches: as a loop on the device, or one at a time."""
        if not isinstance(batches, Rows) or not self.loop.fits(self.state, batches):
            return super().several(batches, step, most)
        self.settle()
        before, (rows, start) = self.state, batches.ahead
        chunk = self.loop.take_finite(before, batches, step, most)
        if not np.isfinite(chunk.losses[0]):
            self._fail(step, before, rows[start], chunk.losses[0])
        self.state, self.good = chunk.state, chunk.before_last
        if chunk.notes is not None:
            self.notes.extend(chunk.notes)
        size = self.num_data if self.has_total else self.size_of(rows[start], step)
        return (chunk.losses / size).tolist()

    def settle(self) -> None:
        """Waits for the pending losses; the errors are those of `step`."""
        while self.pending:
            self._check_oldest()

    def values(self, losses: Sequence[Any]) -> NDArray[np.float64]:
        """The values of losses."""
        on_device = any(isinstance(loss, jax.Array) for loss in losses)
        return np.asarray(jax.device_get(list(losses)) if on_device else losses, float)

    def noted(self) -> NDArray[np.float64]:
        """What the objective has noted of the steps since the last call, `(steps, k)`."""
        notes, self.notes = self.notes, []
        return self.values(notes).reshape(len(notes), len(self.note_terms))

    def error(self) -> float:
        """The Monte-Carlo standard error of a look's ELBO at the present weights."""
        several = copy(self.glance)
        several.num_particles = ERROR_DRAWS
        report = several.run(self.report_key, self.weights(), self.in_order())
        return error_of_look(report, self.glance.num_particles)

    def set_variances(self, variances: ClosedFormVariances) -> None:
        """Sets variances in closed form at the end of each epoch."""

        def action() -> None:
            found = variances.run(self.report_key, self.weights(), self.in_order())
            self._take(clear_state(self.svi, self.state, found))
            self.closed.update(site for sites in found.sites.values() for site in sites)

        self.each_epoch.append(action)

    def look(self, epoch: int) -> tuple[Look, EntropyReport]:
        """Looks at the present weights; training goes on as without it."""
        params = self.weights()
        report = self.glance.run(self.report_key, params, self.in_order())
        elbo, error = map(float, report.summary().loc["ELBO"])
        validation = np.nan
        if self.validation is not None:
            held_out = self.validation.in_order(self.report_key)
            validation = self.glance.run(self.report_key, params, held_out)["elbo"]
        claims = {}
        if self.claims is not None:
            found = self.claims(params)
            claims = claims_of(found, self.glance.num_particles, self.closed)
        return Look(epoch, elbo, error, validation, **claims), report

    def in_order(self) -> Any:
        """The training data for a look."""
        return self.data.in_order(self.transform_key)

    def adjust(self, epoch: int) -> None:
        """What is done to the weights at the end of an epoch, before a look."""
        for action in self.each_epoch:
            action()

    def weights(self) -> Params:
        """The parameters by name."""
        return state_params(self.svi, self.state)

    def keep_best(self) -> None:
        """Keeps a copy of the present weights, in place of an older one."""
        self.best = self.state

    def restore_best(self) -> None:
        """Puts the kept weights back."""
        self.state = self.best

    def describe(self) -> dict[str, Any]:
        """What tells this training from others, of what JSON has."""
        return {
            "library": "numpyro",
            "num_data": self.num_data,
            "batch_size": self.data.batch_size if self.data.num_rows else None,
            "rng_key": np.asarray(random.key_data(self.order_key)).tolist(),
        }

    def save(self, course: str, losses: NDArray[np.float64]) -> bytes:
        """All that a training goes on from."""
        state = {"state": self.state}
        if self.best is not None:
            state["best"] = self.best
        return to_bytes(course, losses, state)

    def read(self, content: bytes) -> tuple[str, NDArray[np.float64], Any]:
        """What `save` wrote, with its state still apart."""
        return from_bytes(content)

    def go_on(self, state: Any) -> None:
        """Takes a state that `read` has read.

        Raises:
            ValueError: If it is not of this training; then nothing has changed.
        """
        new = like(self.state, state["state"])
        self.best = like(self.state, state["best"]) if "best" in state else None
        self._take(new)

    def _update(self, state: Any, call: Arguments, options: dict) -> tuple[Any, Array]:
        return update_with_notes(self.svi, state, *call.args, **call.kwargs, **options)

    def _call(self, step: Any, batch: Any, given: Any = None) -> Arguments:
        key, arrays = given or self.given
        if self.data.transform is not None:
            # Those of looks are other ones.
            key = random.fold_in(random.fold_in(key, 1), step)
        if self.data.on_device:
            return self.data.rows(key, batch, arrays)
        return self.data.ready(key, batch)

    def _take(self, state: Any) -> None:
        self.state, self.good = state, lambda: state

    def _fail(self, step: int, before: Any, batch: Any, loss: Any) -> NoReturn:
        """Goes back to the last state with a finite loss, and raises the error."""
        self.pending.clear()
        self.state = self.good()
        _, key = random.split(before.rng_key)
        pair = key, state_params(self.svi, before), self.svi.model, self.svi.guide
        site = first_not_finite(*pair, self._call(step, batch))
        raise NotFiniteLoss(step + 1, float(loss), site)

    def _check_oldest(self) -> None:
        step, before, batch, loss = self.pending.popleft()
        if not np.isfinite(loss):
            self._fail(step, before, batch, loss)
        self.good = lambda: before

    def size_of(self, batch: Any, step: int) -> int:
        """The number of data points that a loss of this batch stands for."""
        if self.has_total:
            return self.num_data
        form = tuple(jnp.shape(leaf) for leaf in jax.tree.leaves(batch))
        if form not in self.sizes:
            call, found = self._call(step, batch), []

            def read(call: Arguments) -> None:
                pair = trace_pair(
                    self.state.rng_key, self.weights(), self.svi.model, self.svi.guide, *call
                )
                plate = find_data_plate(site_terms(pair).records, self.glance.data_plate)
                found.append(plate.full_size if plate else call.num_data)

            with ONE_AT_A_TIME:
                compiled(read)(call)
            self.sizes[form] = found[0]
        return self.sizes[form]


def state_params(svi: SVI, state: Any) -> Params:
    """The parameters of a state, and the mutable state of nets that have one."""
    return {**svi.get_params(state), **(state.mutable_state or {})}
