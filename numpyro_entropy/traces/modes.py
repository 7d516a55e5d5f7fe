"""Evaluation mode for every net that a model or a guide calls."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flax import nnx

from entropy_core.reach import reachable
from entropy_core.traces.sites import ONE_AT_A_TIME
from numpyro_entropy.nets.mlp import evaluating_nets


@contextmanager
def evaluating(*fns: Callable) -> Iterator[None]:
    """Every net that a model or guide calls in evaluation mode, and as it was afterwards.

    A look at a data point must not depend on the others of its batch. Nets of NNX and Equinox that
    our own parts call are seen where they are called; NNX's that a model calls by itself are found
    where the model has them in its reach. A module of Linen says itself what it does. Meanwhile no
    other thread runs a pair.
    """
    with ONE_AT_A_TIME:
        yield from _evaluating(*fns)


def _evaluating(*fns: Callable) -> Iterator[None]:
    switched = []
    nets = [net for fn in fns for net in reachable(fn, nnx.Module)]
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
