"""The sample sites of a Pyro trace: which there are, and what is read off one of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Optional

import torch
from pyro.distributions import Delta, Unit
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from entropy_core.traces.records import PARTICLES, Plate
from entropy_core.traces.sites import BaseSite
from pyro_entropy.entropies.wrappers import (
    elementwise,
    is_hidden,
    is_masked,
    masks_of,
    unwrapped,
)


@dataclass(frozen=True, kw_only=True)
class Site(BaseSite):
    """A sample site of a Pyro trace.

    Args:
        message: The host's own record of the site.
        mask: That of the `mask` handlers around it.
        auxiliary: The site of an automatic guide that was put into this one.
    """

    message: Mapping[str, Any] = field(repr=False)
    mask: Tensor | bool | None = None
    auxiliary: Optional["Site"] = None

    @cached_property
    def log_prob(self) -> Tensor:
        """The unscaled log-probability at the draw, zero where a mask hides it."""
        # Pyro's own objectives have computed it already; a user's bare trace may not.
        log_prob = self.message.get("unscaled_log_prob")
        if log_prob is None:
            args, kwargs = self.message["args"], self.message["kwargs"]
            log_prob = self.fn.log_prob(self.value, *args, **kwargs)
        return scale_and_mask(log_prob, mask=self.mask)

    @property
    def is_factor(self) -> bool:
        """Whether it is what `pyro.factor` leaves in a trace, which is no distribution."""
        return isinstance(unwrapped(self.fn), Unit)

    @property
    def is_masked(self) -> bool:
        """Whether a mask stands around it, a handler's or one of its distribution."""
        return self.mask is not None or is_masked(self.fn)

    @property
    def is_point(self) -> bool:
        """Whether it is drawn from a `Delta`, as the sites of `AutoDelta` are."""
        return isinstance(elementwise(self.fn), Delta)

    def unmasked(self) -> "Site":
        """The site without the masks of handlers around it."""
        return replace(self, mask=None)

    def spread(self, values: Tensor) -> Tensor:
        """Values in the shape of the log-probability, zero where a handler's mask hides them."""
        return scale_and_mask(values.expand(self.log_prob.shape), mask=self.mask)

    def shown(self, shape: tuple[int, ...]) -> Tensor | None:
        """Which elements of the site no mask hides; see `BaseSite.shown`."""
        inner, inside = masks_of(self.fn)
        masks = (*(((self.mask, 0),) if self.mask is not None else ()), *inner)
        if not masks:
            return None
        shown = torch.ones((*shape, *inside), dtype=torch.bool)
        for mask, depth in masks:
            mask = torch.as_tensor(mask, dtype=torch.bool).cpu()
            shown = shown & mask.reshape(mask.shape + (1,) * (len(inside) - depth))
        return shown

    def holding(self, value: Tensor) -> "Site":
        """The site with another value in its draw's place."""
        message = {**self.message, "value": value, "unscaled_log_prob": None}
        return replace(self, value=value, message=message)


def sample_sites(trace: Trace) -> dict[str, Site]:
    """The sample sites of a trace, without the host's own bookkeeping.

    Left out are the indices of a subsampling plate, and what `pyro.deterministic` and the
    reparameterisers leave behind: an observed site under the mask `False`.
    """
    nodes: dict[str, Any] = trace.nodes
    params = [message["value"] for message in nodes.values() if message["type"] == "param"]
    return {
        name: _site(message, params)
        for name, message in _sampled(trace).items()
        if not _is_deterministic(message)
    }


def deterministic_sites(trace: Trace) -> list[str]:
    """The names of what is computed and not drawn."""
    return [name for name, message in _sampled(trace).items() if _is_deterministic(message)]


def subsamples(trace: Trace) -> dict[str, Tensor]:
    """The indices that subsampling plates have drawn, for another run over the same rows."""
    nodes: dict[str, Any] = trace.nodes
    return {name: message["value"] for name, message in nodes.items() if site_is_subsample(message)}


def draws_rows(message: Mapping[str, Any]) -> bool:
    """Whether a plate draws the rows of its subsample, which is no `subsample=` of the user's."""
    drawn = message["fn"]
    return drawn.subsample_size is not None and drawn.subsample_size < drawn.size


def _sampled(trace: Trace) -> dict[str, Any]:
    nodes: dict[str, Any] = trace.nodes
    return {
        name: message
        for name, message in nodes.items()
        if message["type"] == "sample" and not site_is_subsample(message)
    }


def _is_deterministic(message: Mapping[str, Any]) -> bool:
    return message["is_observed"] and is_hidden(message["fn"])


def _site(message: Mapping[str, Any], params: Sequence[Tensor]) -> Site:
    # What Pyro keeps under private names is read here alone.
    infer, fn = message["infer"] or {}, message["fn"]
    return Site(
        name=message["name"],
        fn=fn,
        value=message["value"],
        is_observed=message["is_observed"],
        plates=tuple(_plate_of(frame, message) for frame in message["cond_indep_stack"]),
        scale=message["scale"],
        mask=message["mask"],
        is_auxiliary=bool(infer.get("is_auxiliary")),
        at_param=_is_at(fn, params),
        wants_enumeration=infer.get("enumerate") == "parallel",
        num_samples=infer.get("num_samples"),
        enumerate_dim=infer.get("_enumerate_dim"),
        # A place may be another site's further down a Markov chain: the numbers are not.
        places={place: str(number) for place, number in infer.get("_dim_to_id", {}).items()},
        message=message,
    )


def _is_at(fn: Any, params: Sequence[Tensor]) -> bool:
    point = elementwise(fn)
    if not isinstance(point, Delta):
        return False
    # A plate makes a view of it.
    own = point.v if point.v._base is None else point.v._base
    return any(own is param for param in params)


def _plate_of(frame: Any, message: Mapping[str, Any]) -> Plate:
    size = frame.size
    if size < 0:
        # A plate may be made without a size, as an EasyGuide's is: it has that of its sites'
        # densities, of which the value may be wider than the distribution.
        fn, value = message["fn"], message["value"]
        batch_shape = value.shape[: value.dim() - len(fn.event_shape)]
        shape = (1,) * -frame.dim + torch.broadcast_shapes(fn.batch_shape, batch_shape)
        size = shape[frame.dim]
    full_size = frame.full_size if frame.full_size and frame.full_size > 0 else size
    # A plate of full size 1 averages over its elements, as is done with particles.
    return Plate(frame.name, frame.dim, size, 1 if frame.name == PARTICLES else full_size)
