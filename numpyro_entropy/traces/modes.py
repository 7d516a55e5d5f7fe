"""Evaluation mode for every net that a model or a guide calls."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from flax import nnx

from entropy_core.traces.sites import ONE_AT_A_TIME
from numpyro_entropy.nets.mlp import evaluating_nets


@contextmanager
def evaluating(*fns: Callable) -> Iterator[None]:
    """Every net that a model or guide calls in evaluation mode, and as it was afterwards.

    A look at a data point must not depend on the others of its batch. Nets of NNX and Equinox that
    our own parts call are seen where they are called; NNX's that a model calls by itself are found
    if the model is a method of them, or has them in its closure or in the object that it is a
    method of. A module of Linen says itself what it does. Meanwhile no other thread runs a pair.
    """
    with ONE_AT_A_TIME:
        yield from _evaluating(*fns)


def _evaluating(*fns: Callable) -> Iterator[None]:
    switched = []
    nets = [net for fn in fns for net in _nets_of(fn)]
    for module in (module for net in nets for _, module in nnx.iter_modules(net)):
        for flag in ("deterministic", "use_running_average"):
            if getattr(module, flag, None) is False:
                switched.append((module, flag))
                setattr(module, flag, True)
    try:
        with evaluating_nets():
            yield
    finally:
        for module, flag in switched:
            setattr(module, flag, False)


def _nets_of(fn: Any) -> Iterator[nnx.Module]:
    """The NNX modules that a function is a method of, or that it has in its reach."""
    if isinstance(fn, functools.partial):
        yield from _nets_of(fn.func)
        return
    cells = getattr(fn, "__closure__", None) or ()
    owner = getattr(fn, "__self__", None)
    found = [owner, *getattr(owner, "__dict__", {}).values()]
    for cell in cells:
        # An empty cell has no contents.
        with suppress(ValueError):
            found.append(cell.cell_contents)
    yield from (net for net in found if isinstance(net, nnx.Module))
