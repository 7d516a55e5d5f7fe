"""What a graph belongs to: the form of its arguments, and the plain values in reach."""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple

import torch
from pyro.poutine.runtime import am_i_wrapped
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from entropy_core.reach import plain_values
from pyro_entropy.capture.graphs import NotCaptured

# Values that are part of the form of a call.
PLAIN = (bool, int, float, complex, str, bytes, type(None), Enum, torch.dtype, torch.device)


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
    """Plain values that functions have in their reach: modes, numbers, texts.

    Args:
        fns: The functions.
    """

    def __init__(self, *fns: Any) -> None:
        self.seen = [found for fn in fns for found in plain_values(fn, PLAIN)]

    def changed(self) -> str | None:
        """The name of a value that is no longer what it was."""
        for get, name, value in self.seen:
            now = get(name)
            if now is not value and now != value:
                return str(name)
        return None


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
