"""What Pyro does in a training: steps, looks, and the state that both leave."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from copy import copy
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyro.infer import SVI
from pyro.optim import PyroLRScheduler
from torch import Tensor

from entropy_core.arguments import Arguments, takes
from entropy_core.checks import check_weight
from entropy_core.report.report import EntropyReport
from entropy_core.theory.claims import SiteClaim
from entropy_core.traces.plates import find_data_plate
from entropy_core.traces.sites import ONE_AT_A_TIME
from entropy_core.training.annealing import is_comparable
from entropy_core.training.epochs import ERROR_DRAWS, BaseSteps, error_of_look
from entropy_core.training.interrupts import NotFiniteLoss
from entropy_core.training.stopping import Look, claims_of
from pyro_entropy.capture.captured import CapturedLoss
from pyro_entropy.capture.optimiser import OneOptimiser
from pyro_entropy.diagnostic.diagnostic import EntropySumDiagnostic
from pyro_entropy.operations import to_numpy
from pyro_entropy.traces.modes import evaluating, keeping_random_state
from pyro_entropy.traces.pairs import reading_params, run_pair, trace_pair
from pyro_entropy.traces.terms import site_terms
from pyro_entropy.training.checkpoints import (
    from_bytes,
    load_optimiser,
    optimiser_state,
    random_state,
    set_random_state,
    tensors_of,
    to_bytes,
    write_into,
)
from pyro_entropy.training.data import Data
from pyro_entropy.training.variances import ClosedFormVariances, clear_state

# Parameters of up to so many numbers are kept at each step, and others within so many steps.
COPIED_AT_ONCE, KEPT_WITHIN = 50_000, 16


class Steps(BaseSteps):
    """What Pyro does in a training: steps, looks, and the state that both leave.

    Args:
        svi: The host's SVI.
        loss: Its loss with gradients.
        data: The data.
        num_data: The number of data points.
        kl_weight: The weight of the KL divergence by step.
        schedule_by: When a scheduler takes a step: at each `"epoch"` or `"step"`.
        glance: What looks on the way.
        validation: Held-out data.
        claims: Makes what a stop by the theorem looks at; `None` for no such stop.

    `each_epoch` are called at the end of each epoch, before its look; sites whose variances they
    set in closed form go into `closed`, and are no part of a stop by the theorem.
    """

    def __init__(
        self,
        svi: SVI,
        loss: CapturedLoss,
        data: Data,
        num_data: int,
        *,
        kl_weight: Callable[[int], Any] | None,
        schedule_by: str,
        glance: EntropySumDiagnostic,
        validation: Data | None,
        claims: Callable[[], list[SiteClaim]] | None,
    ) -> None:
        self.svi, self.data, self.num_data = svi, data, num_data
        self.kl_weight, self.schedule_by = kl_weight, schedule_by
        self.glance, self.validation, self.claims = glance, validation, claims
        self.loss, self.optimiser = loss, OneOptimiser(svi.optim)
        # What the objective notes of each step that is not asked for yet.
        self.notes: list[Tensor] = []
        self.note_terms = getattr(loss.loss, "history_terms", ())
        self.is_comparable = is_comparable(loss.loss, annealed=kl_weight is not None)
        self.each_epoch: list[Callable[[], None]] = []
        self.closed: set[str] = set()
        self.total = {"total": num_data} if takes(svi.model, "total") else {}
        self.sizes: dict[Any, int] = {}
        # The parameters with a finite loss, before a step of the optimiser; and how long ago.
        self.good: dict[str, Tensor] = {}
        self.since_kept = 0
        self.trained: dict[str, Tensor] = {}
        self.best: dict[str, Tensor] = {}
        self.epoch_start: dict[str, Any] | None = None
        self.now: dict[str, Any] | None = None

    def batches(self, epoch: int, skip: int) -> Iterator[Arguments]:
        """The batches of an epoch, counted from 1, without the first ones."""
        if self.now is not None:
            set_random_state(self.epoch_start if skip else self.now)
        self.epoch_start = random_state()
        rest: Iterator[Arguments] = islice(map(Arguments.of, self.data.epoch(epoch)), skip, None)
        if self.now is not None and skip:
            # The first batch after them is read with the state that it had.
            rest = self._after(rest, self.now)
        self.now = None
        return rest

    def _after(self, rest: Iterator[Arguments], state: dict[str, Any]) -> Iterator[Arguments]:
        # Where batches come from an iterable, those left out are read here.
        first = next(rest, None)
        set_random_state(state)
        if first is not None:
            yield first
            yield from rest

    def step(self, batch: Arguments, step: int) -> float:
        """Takes a step, counted from 0; the loss in nats per data point."""
        options: dict[str, Any] = {}
        if self.kl_weight is not None:
            # A tensor, so that one graph holds for all weights.
            weight = check_weight(self.kl_weight(step), "kl_weight")
            options["kl_weight"] = torch.as_tensor(weight, dtype=torch.float64)
        args, kwargs = batch.args, {**batch.kwargs, **self.total, **options}
        svi = self.svi
        with ONE_AT_A_TIME:
            try:
                loss, params = self.loss(*args, **kwargs)
            except ValueError:
                # The host's validation refuses numbers that have overflown before there is a loss.
                if self._bad_site(batch) is None:
                    raise
                loss, params = math.nan, self.trained
            if self.note_terms:
                self.notes.extend(self.loss.notes)
            tensors = list(params.values())
            if not math.isfinite(loss):
                self.loss.drop_grads(tensors)
                site = self._bad_site(batch)
                self._put_good_back()
                raise NotFiniteLoss(step + 1, loss, site)
            self._keep_good(params)
            self.optimiser(tensors)
            self.loss.drop_grads(tensors)
            if self.schedule_by == "step" and isinstance(svi.optim, PyroLRScheduler):
                svi.optim.step(*self._metrics(loss))
        return loss / self._size(batch)

    def noted(self) -> NDArray[np.float64]:
        """What the objective has noted of the steps since the last call, `(steps, k)`."""
        notes = [to_numpy(note) for note in self.notes]
        self.notes = []
        return np.array(notes, float).reshape(len(notes), len(self.note_terms))

    def error(self) -> float:
        """The Monte-Carlo standard error of a look's ELBO at the present weights."""
        several = copy(self.glance)
        several.num_particles = ERROR_DRAWS
        together = {"distributed": self.data.ranks is not None}
        with keeping_random_state():
            report = several.run(self.data.in_order(), **together)
        return error_of_look(report, self.glance.num_particles)

    def set_variances(self, variances: ClosedFormVariances) -> None:
        """Sets variances in closed form at the end of each epoch."""

        def action() -> None:
            with keeping_random_state():
                found = variances.run(self.data.in_order())
            clear_state(self.svi.optim, found)
            self.closed.update(site for sites in found.sites.values() for site in sites)

        self.each_epoch.append(action)

    def look(self, epoch: int) -> tuple[Look, EntropyReport]:
        """Looks at the present weights; training goes on as without it."""
        with keeping_random_state():
            together = {"distributed": self.data.ranks is not None}
            report = self.glance.run(self.data.in_order(), **together)
            elbo, error = map(float, report.summary().loc["ELBO"])
            validation = np.nan
            if self.validation is not None:
                validation = self.glance.run(self.validation.in_order(), **together)["elbo"]
            claims = {}
            if self.claims is not None:
                found = self.claims()
                claims = claims_of(found, self.glance.num_particles, self.closed)
        return Look(epoch, elbo, error, validation, **claims), report

    def end_epoch(self, epoch: int, metric: float) -> None:
        """Takes a step of the schedule."""
        if self.schedule_by == "epoch" and isinstance(self.svi.optim, PyroLRScheduler):
            self.svi.optim.step(*self._metrics(metric))

    def adjust(self, epoch: int) -> None:
        """What is done to the weights at the end of an epoch, before a look."""
        for action in self.each_epoch:
            action()

    def weights(self) -> dict[str, Tensor]:
        """The parameters by name."""
        return {name: tensor.detach() for name, tensor in self.trained.items()}

    def keep_best(self) -> None:
        """Keeps a copy of the present weights, in place of an older one."""
        self.best = {name: t.detach().clone() for name, t in self._tensors().items()}

    def restore_best(self) -> None:
        """Puts the kept weights back."""
        write_into(self._tensors(), self.best)

    def describe(self) -> dict[str, Any]:
        """What tells this training from others, of what JSON has."""
        return {
            "library": "pyro",
            "num_data": self.num_data,
            "batch_size": self.data.batch_size if self.data.num_rows else None,
        }

    def save(self, course: str, losses: NDArray[np.float64]) -> bytes:
        """All that a training goes on from."""
        state = {
            "tensors": {name: t.detach() for name, t in self._tensors().items()},
            "best": self.best,
            "optimiser": optimiser_state(self.svi.optim, self.trained),
            "epoch_start": self.epoch_start,
            "now": random_state(),
            "num_calls": self.loss.num_calls,
        }
        return to_bytes(course, losses, state)

    def read(self, content: bytes) -> tuple[str, NDArray[np.float64], Any]:
        """What `save` wrote, with its state still apart."""
        return from_bytes(content)

    def go_on(self, state: Any) -> None:
        """Takes a state that `read` has read.

        Raises:
            ValueError: If it is not of this training; then nothing has changed.
        """
        write_into(self._tensors(), state["tensors"])
        load_optimiser(self.svi.optim, self.trained, state["optimiser"])
        # What the optimiser did to them when it was made.
        write_into(self._tensors(), state["tensors"])
        self.best = state["best"]
        # From the same step on as in a training that was not stopped.
        self.loss.num_calls = state["num_calls"]
        self.epoch_start, self.now = state["epoch_start"], state["now"]

    def undisturbed(self) -> AbstractContextManager:
        """Leaves random generators as they were."""
        return keeping_random_state()

    def register(self, call: Arguments) -> None:
        """Reads the parameters that a batch asks for."""
        model, guide = self.svi.model, self.svi.guide
        with keeping_random_state(), evaluating(model, guide), reading_params() as params:
            run_pair(model, guide, *call)
        self.trained = dict(params)

    def _tensors(self) -> dict[str, Tensor]:
        return tensors_of(self.svi.model, self.svi.guide, self.trained)

    def _metrics(self, metric: float) -> tuple[float, ...]:
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau
        schedulers = self.svi.optim.optim_objs.values()
        return (metric,) if any(isinstance(s, plateau) for s in schedulers) else ()

    @torch.no_grad()
    def _keep_good(self, params: dict[str, Tensor]) -> None:
        new = params.keys() - self.good.keys()
        size = sum(tensor.numel() for tensor in params.values())
        self.since_kept += 1
        # A copy of a large net takes as long as a good part of a step.
        if not new and self.since_kept < min(KEPT_WITHIN, size // COPIED_AT_ONCE):
            return
        self.since_kept = 0
        for name in new:
            self.good[name], self.trained[name] = params[name].detach().clone(), params[name]
        for name, tensor in params.items():
            self.good[name].copy_(tensor)

    def _bad_site(self, batch: Arguments) -> str | None:
        """The first site that is not finite, at fresh draws."""
        svi = self.svi
        with torch.no_grad(), keeping_random_state():
            with evaluating(svi.model, svi.guide):
                pair = run_pair(svi.model, svi.guide, *batch)
            sites = [*pair.guide.values(), *pair.model.values()]
            bad = (site.name for site in sites if not _is_finite(site.value, site.log_prob))
            return next(bad, None)

    @torch.no_grad()
    def _put_good_back(self) -> None:
        for name, kept in self.good.items():
            self.trained[name].copy_(kept)

    def _size(self, batch: Arguments) -> int:
        """The number of data points that a loss of this batch stands for."""
        if self.total:
            return self.num_data
        form = tuple(getattr(value, "shape", None) for value in batch.values)
        if form not in self.sizes:
            svi = self.svi
            with torch.no_grad(), keeping_random_state(), evaluating(svi.model, svi.guide):
                records = site_terms(trace_pair(svi.model, svi.guide, *batch)).records
            plate = find_data_plate(records, self.glance.data_plate)
            self.sizes[form] = plate.full_size if plate else batch.num_data
        size, ranks = self.sizes[form], self.data.ranks
        return size if ranks is None else sum(ranks.gather(size))


def _is_finite(*values: Any) -> bool:
    return all(bool(torch.isfinite(v).all()) for v in values if isinstance(v, Tensor))
