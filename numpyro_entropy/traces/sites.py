"""The sample sites of a NumPyro trace: which there are, and what is read off one of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from numpyro.distributions import Delta, FoldedDistribution, Unit

from entropy_core.traces.records import Plate
from entropy_core.traces.sites import BaseSite
from numpyro_entropy.entropies.wrappers import (
    elementwise,
    is_masked,
    masks_of,
    unwrapped,
    without_masks,
)

Trace = dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Site(BaseSite):
    """A sample site of a NumPyro trace.

    Args:
        message: The host's own record of the site.
        intermediates: The path that the draw of a transformed distribution has taken.
        density: The log-probability, where it is not the host's own.
    """

    message: Mapping[str, Any] = field(repr=False)
    intermediates: Any = ()
    density: Array | None = None

    @cached_property
    def log_prob(self) -> Array:
        """The unscaled log-probability at the draw, zero where a mask hides it."""
        if self.density is not None:
            return self.density
        # A flow's log-determinant is exact only along the path that the draw has taken. A folded
        # distribution hands intermediates out and does not take them.
        if self.intermediates and not isinstance(elementwise(self.fn), FoldedDistribution):
            return self.fn.log_prob(self.value, self.intermediates)
        return self.fn.log_prob(self.value)

    @property
    def is_factor(self) -> bool:
        """Whether it is what `numpyro.factor` leaves in a trace, which is no distribution."""
        return isinstance(unwrapped(self.fn), Unit)

    @property
    def is_masked(self) -> bool:
        """Whether a mask stands around it, a handler's or one of its distribution."""
        return is_masked(self.fn)

    @property
    def is_point(self) -> bool:
        """Whether it is drawn from a `Delta`, as the sites of `AutoDelta` are."""
        return isinstance(elementwise(self.fn), Delta)

    def unmasked(self) -> "Site":
        """The site without the masks of handlers around it."""
        return replace(self, fn=without_masks(self.fn), density=None)

    def spread(self, values: Array) -> Array:
        """Values in the shape of the log-probability, zero where a handler's mask hides them."""
        # The host's masks are those of the distribution.
        return jnp.broadcast_to(values, self.log_prob.shape)

    def shown(self, shape: tuple[int, ...]) -> Array | None:
        """Which elements of the site no mask hides; see `BaseSite.shown`."""
        masks, inside = masks_of(self.fn)
        if not masks:
            return None
        shown = jnp.ones((*shape, *inside), bool)
        for mask, depth in masks:
            mask = jnp.asarray(mask, bool)
            shown = shown & mask.reshape(mask.shape + (1,) * (len(inside) - depth))
        return shown

    def holding(self, value: Array) -> "Site":
        """The site with another value in its draw's place."""
        message = {**self.message, "value": value, "intermediates": []}
        return replace(self, value=value, message=message, intermediates=(), density=None)


def sample_sites(trace: Trace) -> dict[str, Site]:
    """The sample sites of a trace."""
    sizes = {name: msg["args"][0] for name, msg in trace.items() if msg["type"] == "plate"}
    params = [msg["value"] for msg in trace.values() if msg["type"] == "param"]
    return {
        name: _site(msg, sizes, params) for name, msg in trace.items() if msg["type"] == "sample"
    }


def deterministic_sites(trace: Trace) -> list[str]:
    """The names of what is computed and not drawn."""
    return [name for name, message in trace.items() if message["type"] == "deterministic"]


def subsamples(trace: Trace) -> dict[str, Array]:
    """The indices that plates have drawn, for another run over the same rows."""
    return {name: msg["value"] for name, msg in trace.items() if msg["type"] == "plate"}


def draws_rows(message: Mapping[str, Any]) -> bool:
    """Whether a plate draws the rows of its subsample, which are no values of a `substitute`."""
    return message["type"] == "plate" and message["kwargs"]["rng_key"] is not None


def _site(message: Mapping[str, Any], full_sizes: Mapping[str, int], params: Sequence[Any]) -> Site:
    # What NumPyro keeps under private names, or we do in its place, is read here alone.
    infer, point = message["infer"] or {}, elementwise(message["fn"])
    return Site(
        name=message["name"],
        fn=message["fn"],
        value=message["value"],
        is_observed=message["is_observed"],
        # From the outside in, as in Pyro.
        plates=tuple(
            Plate(frame.name, frame.dim, frame.size, full_sizes.get(frame.name, frame.size))
            for frame in reversed(message["cond_indep_stack"])
        ),
        scale=1.0 if message["scale"] is None else message["scale"],
        is_auxiliary=bool(infer.get("is_auxiliary")),
        at_param=isinstance(point, Delta) and any(point.v is param for param in params),
        wants_enumeration=infer.get("enumerate") == "parallel",
        enumerate_dim=infer.get("_enumerate_dim"),
        places=infer.get("_enumerated_places", {}),
        message=message,
        intermediates=message["intermediates"],
    )
