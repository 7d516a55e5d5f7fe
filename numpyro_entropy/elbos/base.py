"""What all objectives of this package share: traces in, terms out, in the host's own interface."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
from jax import random
from jaxtyping import Array
from numpyro.infer import ELBO

from entropy_core.checks import expected
from entropy_core.traces.records import SiteTerms
from entropy_core.traces.sums import elbo_terms
from numpyro_entropy.params import Params, check_params
from numpyro_entropy.traces.pairs import get_traces, pair_shapes
from numpyro_entropy.traces.sites import Trace, sample_sites
from numpyro_entropy.traces.terms import site_terms

# Those of the model and of the guide come first.
Traces = tuple[Trace, ...]


class TermsELBO(ELBO, ABC):
    """Base of the objectives that are sums of the terms of `numpyro_entropy.traces.terms`.

    A subclass holds its formula, `bound`, and says in `no_claim` where the theorem makes none at
    its stationary points. All arguments are those of `numpyro.infer.ELBO`, and two more.

    Args:
        closed_form: `False` takes every term at the draws, as `numpyro.infer.Trace_ELBO` does.
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
    def bound(self, sites: Sequence[SiteTerms], traces: Traces, **options: Any) -> Array:
        """The objective to maximise, from one pair of traces and its records; a scalar, in nats."""

    @property
    def no_claim(self) -> str | None:
        """Why its stationary points are not those of the ELBO; `None` where they are."""
        return None

    def loss_with_mutable_state(
        self,
        rng_key: Array,
        param_map: Params,
        model: Callable,
        guide: Callable,
        *args: Any,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The loss, summed over plates and scaled as the host does, and the nets' mutable state.

        Raises:
            ValueError: If the guide lacks a latent site of the model.
            NotImplementedError: If a site of the guide has no reparameterised draws.
        """
        kwargs, options = self._split(kwargs)

        def particle(key: Array) -> tuple[Array, dict[str, Any] | None]:
            traces, state = self._get_traces(key, param_map, model, guide, args, kwargs)
            return -self.bound(self._sites(traces), traces, **options), state

        if self.num_particles == 1:
            loss, state = particle(rng_key)
            return {"loss": loss, "mutable_state": state or None}
        losses, _ = self._map(particle, rng_key)
        # As in the host: with several particles there is no one state that the next step could use.
        return {"loss": losses.mean(), "mutable_state": None}

    def terms(
        self,
        rng_key: Array,
        params: Params,
        model: Callable,
        guide: Callable,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """The bound and its named parts, from the same draws.

        Returns:
            `ELBOTerms`, or the record of the objective's own: scalars that carry gradients, in nats
            per data point; no `scale` handler enters.

        Raises:
            ValueError: If `params` are not complete, or if the guide lacks a latent site of the
                model.
            NotImplementedError: If a site of the guide has no reparameterised draws.
        """
        kwargs, _ = self._split(kwargs)
        check_params(params, pair_shapes(model, guide, args, kwargs))

        def particle(key: Array) -> Any:
            traces, _ = self._get_traces(key, params, model, guide, args, kwargs)
            return self._terms(self._sites(traces, rng_key=key), traces)

        if self.num_particles == 1:
            return particle(rng_key)
        return jax.tree.map(lambda leaf: leaf.mean(0), self._map(particle, rng_key))

    def _terms(self, sites: Sequence[SiteTerms], traces: Traces) -> Any:
        return elbo_terms(sites, self.data_plate)

    def _split(self, kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        options = {name: kwargs[name] for name in self.call_options if name in kwargs}
        return {name: kwargs[name] for name in kwargs if name not in options}, options

    def _sites(self, traces: Traces, *, rng_key: Array | None = None) -> list[SiteTerms]:
        return site_terms(
            *traces[:2],
            closed_form=self.closed_form,
            entropies=rng_key is not None,
            rng_key=rng_key,
        )

    def _get_traces(
        self,
        rng_key: Array,
        params: Params,
        model: Callable,
        guide: Callable,
        args: tuple,
        kwargs: dict[str, Any],
    ) -> tuple[Traces, dict[str, Any]]:
        traces, state = get_traces(rng_key, params, model, guide, args, kwargs)
        check_reparameterised(traces[1])
        return traces, state

    def _map(self, particle: Callable[[Array], Any], rng_key: Array) -> Any:
        return self.vectorize_particles_fn(particle, random.split(rng_key, self.num_particles))


def check_reparameterised(guide_trace: Trace) -> None:
    """Refuses a guide whose draws have no gradient.

    Raises:
        NotImplementedError: If a site that is not enumerated has no reparameterised draws.
    """
    for name, site in sample_sites(guide_trace).items():
        drawn = not site["is_observed"] and "_enumerate_dim" not in site["infer"]
        if drawn and not site["fn"].has_rsample:
            raise NotImplementedError(
                expected("reparameterised draws", "guide", f"site '{name}', {site['fn']}")
            )
