"""What all objectives of this package share: a pair in, a bound out, by the host's interface."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from typing import Any

import torch
from pyro.infer import ELBO
from pyro.infer.util import torch_item
from pyro.util import warn_if_nan
from torch import Tensor

from entropy_core.traces.sites import Pair
from entropy_core.traces.sums import average, elbo_terms
from pyro_entropy.traces.normals import lean_pair
from pyro_entropy.traces.pairs import check_reparameterised, trace_pair
from pyro_entropy.traces.terms import site_terms


class Capturable(ELBO, ABC):
    """An objective that can be captured as a graph, with densities in few passes over the data."""

    is_lean = False
    # What puts the rows of several processes together.
    ranks: Any = None
    # Which fields of its terms a history has, as means over the steps of each epoch.
    history_terms: tuple[str, ...] = ()
    # Whether it has variances of its own in the place of the model's, which are not trained.
    replaces_variances = False
    _notes: list[Tensor] | None = None

    def noting(self) -> AbstractContextManager[list[Tensor]]:
        """Collects the values of `history_terms`, of shape `(k,)`, of each draw of a call."""
        return self._noting()

    @contextmanager
    def _noting(self) -> Iterator[list[Tensor]]:
        notes: list[Tensor] = []
        self._notes = notes
        try:
            yield notes
        finally:
            self._notes = None

    def lean(self) -> "Capturable | str":
        """The objective in the form that is captured, or why it is not to be captured."""
        found = copy(self)
        found.is_lean = True
        return found

    def check_loss(self, loss: float) -> None:
        """Refuses a loss that no step may be taken with."""

    @abstractmethod
    def differentiable_loss(self, *args: Any, **kwargs: Any) -> Tensor:
        """The loss; no value of a tensor is looked at."""

    def read(self, pair: Pair) -> Pair:
        """A pair with the densities that this form has."""
        return lean_pair(pair) if self.is_lean else pair

    def share(self, pair: Pair, data_plate: str | None) -> Pair:
        """A pair whose records have the sums of the whole batch, where several processes do."""
        if self.ranks is None:
            return pair
        return pair.with_records(self.ranks.whole_batch(pair.records, data_plate))


class TermsELBO(Capturable):
    """Base of the objectives that are sums of the terms of a pair.

    A subclass holds its formula, `bound`, and says in `no_claim` where the theorem makes none at
    its stationary points. All arguments are those of `pyro.infer.ELBO`, and two more.

    Args:
        closed_form: `False` takes every term at the draws, as `pyro.infer.Trace_ELBO` does.
        data_plate: The name of the plate over data points, for `terms`; needed only where two
            crossed plates both hold all data.
    """

    def __init__(
        self,
        num_particles: int = 1,
        *args: Any,
        closed_form: bool = True,
        data_plate: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_particles, *args, **kwargs)
        self.closed_form = closed_form
        self.data_plate = data_plate

    @abstractmethod
    def bound(self, pair: Pair) -> Tensor:
        """The objective to maximise, from one pair and its records; a scalar, in nats."""

    def bound_and_notes(self, pair: Pair) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The objective, and the values of `history_terms` for the same draws."""
        return self.bound(pair), ()

    @property
    def no_claim(self) -> str | None:
        """Why its stationary points are not those of the ELBO; `None` where they are."""
        return None

    def differentiable_loss(
        self, model: Callable, guide: Callable, *args: Any, **kwargs: Any
    ) -> Tensor:
        """The loss: the negative bound, summed over the plates and scaled as the host does.

        Raises:
            ValueError: If the guide lacks a latent site of the model.
            NotImplementedError: If a site of the guide has no reparameterised draws.
        """
        # No look at values here, so that the loss can be captured as a graph.
        losses = self._particle_losses(model, guide, args, kwargs)
        # The sum of no site is a number of Python's.
        return torch.stack([torch.as_tensor(loss) for loss in losses]).sum()

    @torch.no_grad()
    def loss(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """The value of `differentiable_loss`."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        warn_if_nan(loss, "loss")
        self.check_loss(loss.item())
        return loss.item()

    def loss_and_grads(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """The value of `differentiable_loss`; its gradients are left in the parameters."""
        loss: Any = 0.0
        # One particle at a time, so that only one graph is held.
        for particle in self._particle_losses(model, guide, args, kwargs):
            value = torch_item(particle)
            self.check_loss(value)
            if isinstance(particle, Tensor) and particle.requires_grad:
                particle.backward(retain_graph=self.retain_graph)
            loss += value
        warn_if_nan(loss, "loss")
        return loss

    def terms(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> Any:
        """The bound and its named parts, from the same draws.

        Returns:
            `ELBOTerms`, or the record of the objective's own: scalars that carry gradients, in nats
            per data point; no `scale` handler enters.

        Raises:
            ValueError: If the guide lacks a latent site of the model.
            NotImplementedError: If a site of the guide has no reparameterised draws.
        """
        pairs = self._get_traces(model, guide, args, kwargs)
        return average([self._terms(self._read(pair, entropies=True)) for pair in pairs])

    def _terms(self, pair: Pair) -> Any:
        return elbo_terms(pair.records, self.data_plate)

    def _particle_losses(
        self, model: Callable, guide: Callable, args: tuple, kwargs: dict
    ) -> Iterator[Tensor]:
        for pair in self._get_traces(model, guide, args, kwargs):
            bound, notes = self.bound_and_notes(self._read(pair))
            if self._notes is not None and notes:
                self._notes.append(torch.stack([note.detach() for note in notes]))
            yield -bound / self._num_traces

    @property
    def _num_traces(self) -> int:
        return 1 if self.vectorize_particles else self.num_particles

    def _read(self, pair: Pair, *, entropies: bool = False) -> Pair:
        return self.share(
            site_terms(pair, closed_form=self.closed_form, entropies=entropies), self.data_plate
        )

    # The host's name for what runs a pair; its own objectives return the traces.
    def _get_trace(self, model: Callable, guide: Callable, args: tuple, kwargs: dict) -> Pair:
        pair = trace_pair(model, guide, args, kwargs, max_plate_nesting=self.max_plate_nesting)
        check_reparameterised(pair.guide)
        return self.read(pair)
