"""What all objectives of this package share: traces in, terms out, in the host's own interface."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from pyro.infer import ELBO
from pyro.infer.enum import get_importance_trace
from pyro.poutine import Trace
from pyro.util import warn_if_nan
from torch import Tensor

from entropy_core.checks import expected
from entropy_core.traces.records import SiteTerms
from entropy_core.traces.sums import average, elbo_terms
from pyro_entropy.traces.sites import sample_sites
from pyro_entropy.traces.terms import site_terms

# Those of the model and of the guide come first.
Traces = tuple[Trace, ...]


class TermsELBO(ELBO):
    """Base of the objectives that are sums of the terms of `pyro_entropy.traces.terms`.

    A subclass holds its formula, `bound`, and says in `no_claim` where the theorem makes none at
    its stationary points. All arguments are those of `pyro.infer.ELBO`, and two more.

    Args:
        closed_form: `False` takes every term at the draws, as `pyro.infer.Trace_ELBO` does.
        data_plate: The name of the plate over data points, for `terms`; needed only where two
            crossed plates both hold all data.
    """

    # Keyword arguments of a loss that are its own, and neither the model's nor the guide's.
    call_options: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        num_particles: int = 1,
        *,
        closed_form: bool = True,
        data_plate: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_particles, **kwargs)
        self.closed_form = closed_form
        self.data_plate = data_plate

    @abstractmethod
    def bound(self, sites: Sequence[SiteTerms], traces: Traces, **options: Any) -> Tensor:
        """The objective to maximise, from one pair of traces and its records; a scalar, in nats."""

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
        return torch.stack(list(self._particle_losses(model, guide, args, kwargs))).sum()

    @torch.no_grad()
    def loss(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """The value of `differentiable_loss`."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        warn_if_nan(loss, "loss")
        self._check(loss.item())
        return loss.item()

    def loss_and_grads(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """The value of `differentiable_loss`; its gradients are left in the parameters."""
        loss: Any = 0.0
        # One particle at a time, so that only one graph is held.
        for particle in self._particle_losses(model, guide, args, kwargs):
            value = particle.item()
            self._check(value)
            if particle.requires_grad:
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
        kwargs, _ = self._split(kwargs)
        terms = [
            self._terms(self._sites(traces, entropies=True), traces)
            for traces in self._get_traces(model, guide, args, kwargs)
        ]
        return average(terms)

    def _terms(self, sites: Sequence[SiteTerms], traces: Traces) -> Any:
        return elbo_terms(sites, self.data_plate)

    def _check(self, loss: float) -> None:
        """Refuses the loss of a particle that no step may be taken with."""

    def _particle_losses(
        self, model: Callable, guide: Callable, args: tuple, kwargs: dict
    ) -> Iterator[Tensor]:
        kwargs, options = self._split(kwargs)
        num_traces = 1 if self.vectorize_particles else self.num_particles
        for traces in self._get_traces(model, guide, args, kwargs):
            yield -self.bound(self._sites(traces), traces, **options) / num_traces

    def _split(self, kwargs: dict) -> tuple[dict, dict]:
        options = {name: kwargs[name] for name in self.call_options if name in kwargs}
        return {name: kwargs[name] for name in kwargs if name not in options}, options

    def _sites(self, traces: Traces, *, entropies: bool = False) -> list[SiteTerms]:
        return site_terms(*traces[:2], closed_form=self.closed_form, entropies=entropies)

    def _get_trace(self, model: Callable, guide: Callable, args: tuple, kwargs: dict) -> Traces:
        traces = get_importance_trace("flat", self.max_plate_nesting, model, guide, args, kwargs)
        check_reparameterised(traces[1])
        return traces


def check_reparameterised(guide_trace: Trace) -> None:
    """Refuses a guide whose draws have no gradient.

    Raises:
        NotImplementedError: If a site that is not enumerated has no reparameterised draws.
    """
    for name, site in sample_sites(guide_trace).items():
        drawn = not site["is_observed"] and site["infer"].get("_enumerate_dim") is None
        if drawn and not site["fn"].has_rsample:
            raise NotImplementedError(
                expected("reparameterised draws", "guide", f"site '{name}', {site['fn']}")
            )
