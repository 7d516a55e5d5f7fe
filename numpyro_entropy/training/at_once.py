"""Several trainings at once: each step is a step of all of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import random
from jaxtyping import Array
from numpy.typing import NDArray
from numpyro.infer import SVI
from tqdm.auto import tqdm

from entropy_core.arguments import Arguments
from entropy_core.checks import expected
from entropy_core.report.report import EntropyReport
from entropy_core.traces.sites import ONE_AT_A_TIME
from entropy_core.training.epochs import mean_notes
from entropy_core.training.history import VALIDATION, History, over_seeds
from entropy_core.training.interrupts import NotFiniteLoss
from entropy_core.training.parting import Watch
from numpyro_entropy.compiled import compiled
from numpyro_entropy.elbos.noted import update_with_notes
from numpyro_entropy.params import Params
from numpyro_entropy.training.data import Data
from numpyro_entropy.training.loops import Loop, Rows, options_of, split
from numpyro_entropy.training.steps import Steps, state_params


@dataclass(frozen=True)
class SeedsResult:
    """What a training with several seeds returns.

    Args:
        params: The parameters of model and guide, with a first dimension for the seeds.
        losses: The loss of each step, in nats per data point, `(S, steps)`.
        report: The groups of the reports, `history` among them, over the dimension `seed`.
        reports: The report of each seed.
    """

    params: Params
    losses: NDArray[np.float64]
    report: xr.DataTree
    reports: tuple[EntropyReport, ...]


def is_batch(rng_key: Array) -> bool:
    """Whether these are several keys.

    Raises:
        TypeError: If it is no key.
    """
    if not hasattr(rng_key, "dtype"):
        raise TypeError(expected("a key, such as jax.random.key(0)", "rng_key", repr(rng_key)))
    typed = jnp.issubdtype(rng_key.dtype, jax.dtypes.prng_key)
    return rng_key.ndim > (0 if typed else 1)


class Seeds:
    """Several trainings at once: their steps are one step with a dimension in front.

    Args:
        svi: The host's SVI.
        data: The data.
        first: The first batch.
        init_keys: The key of the initial values of each seed.
        init_params: Initial values, the same for all seeds.
        kl_weight: The weight of the KL divergence by step.
        steps: Makes the steps of one seed, from its place and its state.

    Raises:
        ValueError: If a transform is asked for, and the data have no rows on the device.
    """

    def __init__(
        self,
        svi: SVI,
        data: Data,
        first: Arguments,
        init_keys: Array,
        init_params: Params | None,
        kl_weight: Callable[[int], Any] | None,
        steps: Callable[[int, Any], Steps],
    ) -> None:
        if data.transform is not None and not data.on_device:
            what = "None, or data with rows in memory, for several keys at once,"
            raise ValueError(expected(what, "transform", "a function"))
        self.svi, self.data, self.kl_weight = svi, data, kl_weight

        def init(key: Array) -> Any:
            return svi.init(key, *first.args, init_params=init_params, **first.kwargs)

        with ONE_AT_A_TIME:
            # One after another in one program: of several at once it takes twice as long to make.
            self.states = compiled(lambda keys: jax.lax.map(init, keys))(init_keys)
        self.steps = [steps(i, self._state(i)) for i in range(len(init_keys))]
        self.order_keys = jnp.stack([s.order_key for s in self.steps])
        _, arrays = self.steps[0].given
        given = jnp.stack([s.transform_key for s in self.steps]), arrays

        def one(state: Any, key: Array, step: Any, rows: Any, arrays: Any, options: dict) -> Any:
            if data.on_device:
                # As the steps of one seed have it.
                rows = data.rows(random.fold_in(random.fold_in(key, 1), step), rows, arrays)
            return update_with_notes(svi, state, *rows.args, **rows.kwargs, **options)

        rows_axis = 0 if data.on_device else None
        all_of_them = jax.vmap(one, in_axes=(0, 0, None, rows_axis, None, None))

        def update(state: Any, step: Any, rows: Any, given: Any, options: dict) -> Any:
            keys, arrays = given
            return all_of_them(state, keys, step, rows, arrays, options)

        def orders(order_keys: Array, epoch: Any) -> list[Array]:
            keys = jax.vmap(lambda key: random.fold_in(key, epoch))(order_keys)
            return jax.vmap(data.orders, out_axes=1)(keys)

        self.note_terms = self.steps[0].note_terms
        self.loop, self.given = Loop(update, given, kl_weight, len(self.note_terms)), given
        # What the objective has noted of the steps of the present epoch, each `(S, k)`.
        self.notes: list[Any] = []
        self._update, self._orders = compiled(update), compiled(orders)

    def train(
        self, *, num_epochs: int, diagnose_every: int, progress_bar: bool
    ) -> tuple[NDArray[np.float64], list[History]]:
        """Runs the epochs: the losses, `(S, steps)`, and a history for each seed.

        Raises:
            NotFiniteLoss: If a loss is NaN or infinite; its `params` are those of the last epoch.
        """
        histories = [History() for _ in self.steps]
        self.watches = [Watch(s.error) for s in self.steps if s.is_comparable]
        losses: list[NDArray[np.float64]] = []
        shown: dict[str, Any] = {} if progress_bar else {"disable": True}
        with tqdm(range(1, num_epochs + 1), unit="epoch", **shown) as bar:
            for epoch in bar:
                good = self.states
                found = self._epoch(epoch, sum(len(part) for part in losses))
                if not np.isfinite(found).all():
                    step, seed = np.argwhere(~np.isfinite(found))[0]
                    error = NotFiniteLoss(
                        sum(len(part) for part in losses) + int(step) + 1, float(found[step, seed])
                    )
                    raise error.carrying(
                        epoch=epoch - 1,
                        losses=np.concatenate([np.zeros((0, len(self.steps))), *losses]).T,
                        history=[history.to_dataset() for history in histories],
                        params=jax.vmap(lambda s: state_params(self.svi, s))(good),
                    )
                losses.append(found)
                if epoch % diagnose_every == 0 or epoch == num_epochs:
                    self._look(epoch, found.mean(0), histories)
                bar.set_postfix({"loss": f"{found.mean():.2f}"})
        return np.concatenate(losses).T, histories

    @property
    def params(self) -> Params:
        """The parameters, with a first dimension for the seeds."""
        return jax.vmap(lambda state: state_params(self.svi, state))(self.states)

    def _epoch(self, epoch: int, step: int) -> NDArray[np.float64]:
        losses: list[Any] = []
        self.notes = []
        batches = self._batches(epoch)
        while found := self._several(batches, step):
            losses.extend(found)
            step += len(found)
        return np.asarray(jax.device_get(losses), float)

    def _several(self, batches: Iterator[Any], step: int) -> Sequence[Any]:
        """Takes steps with the next batches: their losses, `(steps, S)`; none at the end."""
        if isinstance(batches, Rows) and self.loop.fits(self.states, batches):
            rows, start = batches.ahead
            self.states, losses, notes, _ = self.loop.take(self.states, batches, step)
            if notes is not None:
                self.notes.extend(notes)
            return list(losses / self.steps[0].size_of(rows[start, 0], step))
        for batch in batches:
            options = options_of(self.kl_weight, step)
            with ONE_AT_A_TIME:
                self.states, values = self._update(
                    self.states, jnp.asarray(step), batch, self.given, options
                )
            loss, notes = split(values, len(self.note_terms))
            if notes is not None:
                self.notes.append(notes)
            one = batch[0] if self.data.on_device else batch
            return [loss / self.steps[0].size_of(one, step)]
        return []

    def _batches(self, epoch: int) -> Iterator[Any]:
        if not self.data.on_device:
            return map(Arguments.of, self.data.epoch(self.order_keys[0], epoch))
        return Rows(self._orders(self.order_keys, epoch))

    def _look(self, epoch: int, losses: NDArray[np.float64], histories: list[History]) -> None:
        notes = np.asarray(jax.device_get(self.notes), float)
        for i, (steps, history) in enumerate(zip(self.steps, histories, strict=True)):
            steps.state = self._state(i)
            look, report = steps.look(epoch)
            also = {} if np.isnan(look.validation) else {VALIDATION: look.validation}
            also |= mean_notes(self.note_terms, [notes[:, i]]) if self.note_terms else {}
            history.add(epoch, losses[i], report, also=also)
            if self.watches:
                self.watches[i].look(history)

    def _state(self, i: int) -> Any:
        return jax.tree.map(lambda leaf: leaf[i], self.states)


def seeds_result(
    seeds: Seeds, losses: NDArray[np.float64], reports: list[EntropyReport]
) -> SeedsResult:
    """The result of several trainings, from their reports."""
    report = over_seeds(reports, range(len(reports)), "at once")
    return SeedsResult(seeds.params, losses, report, tuple(reports))
