"""What a graph belongs to: the form of its arguments, and what is in reach."""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
import torch
from pyro.poutine.runtime import am_i_wrapped
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from entropy_core.reach import held_values
from pyro_entropy.capture.graphs import NotCaptured

# Values that are part of the form of a call.
PLAIN = (bool, int, float, complex, str, bytes, type(None), Enum, torch.dtype, torch.device)

# And those that a graph has to be made anew for, where others stand in their place.
WATCHED = (*PLAIN, Tensor, nn.Module, np.ndarray)


class Call(NamedTuple):
    """The arguments of a call, taken apart.

    Args:
        tensors: Those that are tensors, the inputs of a graph.
        rest: All of them, with the class `Tensor` in the place of a tensor.
        spec: How they are put together.
        form: What tells them from arguments of another form.
        text: The form in words, without what a restart changes.
    """

    tensors: list[Tensor]
    rest: list[Any]
    spec: TreeSpec
    form: tuple
    text: str

    def args_with(self, tensors: Iterable[Tensor]) -> tuple[tuple, dict[str, Any]]:
        """The arguments with other tensors."""
        following = iter(tensors)
        leaves = [next(following) if leaf is Tensor else leaf for leaf in self.rest]
        return tree_unflatten(leaves, self.spec)


def call_of(args: tuple, kwargs: Mapping[str, Any]) -> Call:
    """The arguments of a call, taken apart.

    Raises:
        NotCaptured: If handlers stand around the call, or an argument is none of a tensor, a plain
            value, a module or a function.
    """
    if am_i_wrapped():
        raise NotCaptured("handlers of Pyro stand around the step")
    leaves, spec = tree_flatten((args, dict(kwargs)))
    tensors, rest, forms, texts = [], [], [], []
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            if leaf.requires_grad:
                raise NotCaptured("an argument asks for gradients")
            tensors.append(leaf)
            form: Any = (leaf.shape, leaf.stride(), leaf.dtype, leaf.device)
            texts.append(form)
        elif isinstance(leaf, PLAIN):
            form = (type(leaf), leaf)
            texts.append(leaf)
        elif isinstance(leaf, nn.Module) or callable(leaf):
            form = (id(leaf),)
            texts.append(type(leaf).__qualname__)
        elif _is_plain_record(leaf):
            form = (type(leaf), *vars(leaf).items())
            texts.append(form)
        else:
            raise NotCaptured(f"an argument is a {type(leaf).__name__}, which may hold numbers")
        rest.append(Tensor if isinstance(leaf, Tensor) else leaf)
        forms.append(form)
    around = _surroundings()
    return Call(tensors, rest, spec, (spec, *forms, around), f"{texts} {around}")


class Watch:
    """What functions have in their reach: modes, numbers, texts, and which tensors and nets.

    Args:
        fns: The functions.
    """

    def __init__(self, *fns: Any) -> None:
        self.seen = [found for fn in fns for found in held_values(fn, WATCHED)]

    def changed(self) -> str | None:
        """The name of a value that is no longer what it was."""
        return next((str(entry[1]) for entry in self.seen if _has_changed(*entry)), None)

    def drop_results(self) -> None:
        """Leaves out tensors and nets that a call has just put in the place of others."""
        self.seen = [e for e in self.seen if isinstance(e[2], PLAIN) or not _has_changed(*e)]


def _has_changed(get: Callable[[Any], Any], name: Any, value: Any) -> bool:
    now = get(name)
    if now is value:
        return False
    # Arrays are looked at for which they are: what is in them is seen by a graph as it is.
    return not (isinstance(value, PLAIN) and type(now) is type(value) and now == value)


def _is_plain_record(leaf: Any) -> bool:
    """Whether an object holds nothing but plain values, as options of a command line do."""
    values = getattr(leaf, "__dict__", {}).values()
    return bool(values) and all(isinstance(value, PLAIN) for value in values)


def _surroundings() -> tuple:
    """What the host goes by beside the arguments."""
    autocast = [
        torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        for kind in ("cpu", "cuda")
    ]
    return (*autocast, torch.get_default_dtype())
