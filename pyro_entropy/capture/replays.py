"""A graph with what it belongs to, and what a run of a model moves."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from pyro import get_param_store
from torch import Tensor

from pyro_entropy.capture.calls import Call, Watch
from pyro_entropy.capture.graphs import Traced
from pyro_entropy.capture.losses import Run
from pyro_entropy.traces.modes import RandomState, buffers_of

# A graph that stands for less than half of its calls is of no use; after so many it is known.
MOST_MISSED = 10


class Outputs(NamedTuple):
    """What a graph gives: the values of a loss, and the gradients of what is trained."""

    values: list[Tensor]
    grads: list[Tensor]


@dataclass
class Replay:
    """A graph with what it belongs to.

    Args:
        traced: The graph: the values and the gradients, from the tensors of a call.
        untraced: What it was traced from, for a comparison.
        num_values: The number of values.
        params: The parameters that were read, by name.
        trained: Those that have a gradient, each once, in the graph's order.
        watch: What is in reach.
        fns: The model and the guide.
    """

    traced: Traced
    untraced: Run
    num_values: int
    params: dict[str, Tensor]
    trained: list[Tensor]
    watch: Watch
    fns: tuple[Callable, ...]
    num_calls: int = 0
    num_missed: int = 0
    where: list[tuple] = field(init=False)
    untrained: list[Tensor] = field(init=False)
    # Which gradients have memory that is not theirs alone; known after the first call.
    shared: list[int] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Notes where the parameters are, and which have no gradient."""
        trained = set(map(id, self.trained))
        self.untrained = [t for t in self.params.values() if id(t) not in trained]
        self.where = self._where()

    def __call__(self, call: Call) -> Outputs | None:
        """What the graph gives.

        Returns:
            `None` where numbers that Python takes are others; nothing has changed then.
        """
        before = (Buffers(*self.fns), RandomState()) if self.traced.taken else ()
        with torch.no_grad():
            found = self.traced.run(*call.tensors)
        end = self.num_values + len(self.trained)
        values, grads, taken = found[: self.num_values], found[self.num_values : end], found[end:]
        if [tensor.item() for tensor in taken] != self.traced.taken:
            for part in before:
                part.put_back()
            self.num_missed += 1
            return None
        if self.shared is None:
            self.shared = _shared(grads, [*values, *call.tensors, *self.params.values()])
        for i in self.shared:
            grads[i] = grads[i].clone(memory_format=torch.contiguous_format)
        return Outputs(values, grads)

    def leave(self, grads: Sequence[Tensor]) -> None:
        """Adds gradients to those of the parameters, as `backward` does."""
        for tensor, grad in zip(self.trained, grads, strict=True):
            tensor.grad = grad if tensor.grad is None else tensor.grad + grad

    def is_missed(self) -> bool:
        """Whether most calls take other numbers than the graph was made with."""
        return self.num_missed >= MOST_MISSED and 2 * self.num_missed > self.num_calls

    def why_stale(self) -> str | None:
        """What is no longer as it was when the graph was made; `None` where all is."""
        held = dict(get_param_store().named_parameters())
        if any(held.get(name) is not tensor for name, tensor in self.params.items()):
            return "a parameter of the store"
        if self.where != self._where():
            return "the type or the place of a parameter"
        changed = self.watch.changed()
        return None if changed is None else f"`{changed}`"

    def _where(self) -> list[tuple]:
        tensors = self.params.values()
        return [(t.shape, t.dtype, t.device, t.requires_grad) for t in tensors]


class Grads:
    """Gradients that are taken away after a step, where the host makes them zero.

    That saves a pass over the parameters. Where the host's zeros matter, as an optimiser with
    momentum moves by them, they are put back.
    """

    def __init__(self) -> None:
        self.taken: dict[int, Tensor] = {}

    def take(self, params: Iterable[Tensor]) -> None:
        """Takes the gradients of a step away."""
        for param in params:
            if param.grad is not None:
                self.taken[id(param)] = param
                param.grad = None

    def put_back(self, params: Iterable[Tensor] | None = None) -> None:
        """Puts zeros where the host has them: for all parameters, or for some."""
        if not self.taken:
            return
        for param in self.taken.values() if params is None else params:
            if param.grad is None and id(param) in self.taken:
                param.grad = torch.zeros_like(param)


class Buffers:
    """The buffers of nets in reach, which a run may move, as they were."""

    def __init__(self, *fns: Callable) -> None:
        self.tensors = buffers_of(*fns)
        self.before = [buffer.clone() for buffer in self.tensors]

    @torch.no_grad()
    def put_back(self) -> list[Tensor]:
        """Makes them what they were; returns what they had become."""
        moved = [buffer.clone() for buffer in self.tensors]
        for buffer, before in zip(self.tensors, self.before, strict=True):
            buffer.copy_(before)
        return moved


@contextmanager
def without_grads() -> Iterator[None]:
    """Runs with no gradients in Pyro's store, and puts back those that were there."""
    held = [(tensor, tensor.grad) for _, tensor in get_param_store().named_parameters()]
    for tensor, _ in held:
        tensor.grad = None
    try:
        yield
    finally:
        for tensor, grad in held:
            tensor.grad = grad


def _shared(grads: Sequence[Tensor], others: Iterable[Tensor]) -> list[int]:
    """Which gradients are no memory of their own, so that nothing may be written into them."""
    known = {tensor.untyped_storage().data_ptr() for tensor in others}
    found = []
    for i, grad in enumerate(grads):
        place = grad.untyped_storage().data_ptr()
        repeats = any(s == 0 and n > 1 for s, n in zip(grad.stride(), grad.shape, strict=True))
        if place in known or repeats:
            found.append(i)
        known.add(place)
    return found


def equal(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether all bits agree but for those of NaN and of the sign of zero."""
    if one is None or other is None:
        return one is other
    same = one.shape == other.shape and one.dtype == other.dtype
    return same and bool(((one == other) | ((one != one) & (other != other))).all())
