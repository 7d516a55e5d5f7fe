"""What all objectives of this package share: a pair in, a bound out, by the host's interface."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any
from warnings import warn

import jax
from jax import random
from jaxtyping import Array
from numpyro.infer import ELBO

from entropy_core.traces.sites import Pair
from entropy_core.traces.sums import elbo_terms
from numpyro_entropy.params import Params, check_params
from numpyro_entropy.traces.pairs import check_reparameterised, pair_shapes, trace_pair
from numpyro_entropy.traces.terms import site_terms


class TermsELBO(ELBO, ABC):
    """Base of the objectives that are sums of the terms of a pair.

    A subclass holds its formula, `bound`, and says in `no_claim` where the theorem makes none at
    its stationary points. All arguments are those of `numpyro.infer.ELBO`, and two more.

    Args:
        closed_form: `False` takes every term at the draws, as `numpyro.infer.Trace_ELBO` does.
        data_plate: The name of the plate over data points, for `terms`; needed only where two
            crossed plates both hold all data.
    """

    # Which fields of its terms a history has, as means over the steps of each epoch.
    history_terms: tuple[str, ...] = ()
    # Whether it has variances of its own in the place of the model's, which are not trained.
    replaces_variances = False

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
    def bound(self, pair: Pair) -> Array:
        """The objective to maximise, from one pair and its records; a scalar, in nats."""

    def bound_and_notes(self, pair: Pair) -> tuple[Array, tuple[Array, ...]]:
        """The objective, and the values of `history_terms` for the same draws."""
        return self.bound(pair), ()

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

        Beside them, which are the host's, are `notes`, the values of `history_terms`.

        Raises:
            ValueError: If the guide lacks a latent site of the model.
            NotImplementedError: If a site of the guide has no reparameterised draws.
        """
        return self._loss(self.bound_and_notes, rng_key, param_map, model, guide, args, kwargs)

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
        check_params(params, pair_shapes(model, guide, args, kwargs))

        def particle(key: Array) -> Any:
            pair = self._pair(key, params, model, guide, args, kwargs)
            return self._terms(self._read(pair, rng_key=key))

        if self.num_particles == 1:
            return particle(rng_key)
        return jax.tree.map(lambda leaf: leaf.mean(0), self._map(particle, rng_key))

    def _terms(self, pair: Pair) -> Any:
        return elbo_terms(pair.records, self.data_plate)

    def _loss(
        self,
        bound_and_notes: Callable[[Pair], tuple[Array, tuple[Array, ...]]],
        rng_key: Array,
        params: Params,
        model: Callable,
        guide: Callable,
        args: tuple,
        kwargs: dict[str, Any],
    ) -> dict[str, Any]:
        def particle(key: Array) -> tuple[Array, dict[str, Any] | None, tuple[Array, ...]]:
            pair = self._pair(key, params, model, guide, args, kwargs)
            bound, notes = bound_and_notes(self._read(pair))
            return -bound, dict(pair.state), notes

        if self.num_particles == 1:
            loss, state, notes = particle(rng_key)
            return {"loss": loss, "mutable_state": state or None, "notes": notes}
        losses, state, notes = self._map(particle, rng_key)
        return {
            "loss": losses.mean(),
            "mutable_state": one_state(state, self.num_particles),
            "notes": tuple(note.mean(0) for note in notes),
        }

    def _read(self, pair: Pair, *, rng_key: Array | None = None) -> Pair:
        return site_terms(
            pair, closed_form=self.closed_form, entropies=rng_key is not None, rng_key=rng_key
        )

    def _pair(
        self,
        rng_key: Array,
        params: Params,
        model: Callable,
        guide: Callable,
        args: tuple,
        kwargs: dict[str, Any],
    ) -> Pair:
        pair = trace_pair(rng_key, params, model, guide, args, kwargs)
        check_reparameterised(pair.guide)
        return pair

    def _map(self, particle: Callable[[Array], Any], rng_key: Array) -> Any:
        return self.vectorize_particles_fn(particle, random.split(rng_key, self.num_particles))


def one_state(state: dict[str, Any] | None, num_particles: int) -> dict[str, Any] | None:
    """The state of nets that the next step goes on with, from that of all particles, stacked.

    As in the host: several particles leave none, which is warned of in the host's words.
    """
    if not state:
        return None
    if num_particles == 1:
        return jax.tree.map(lambda leaf: leaf[0], state)
    warn("mutable state is currently ignored when num_particles > 1.", stacklevel=4)
    return None
