"""Evaluation mode for every net that a model or a guide calls.

A look changes nothing: the random generators can be left as they were, too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import torch
from pyro.util import get_rng_state, set_rng_state
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from entropy_core.reach import reachable
from entropy_core.traces.sites import ONE_AT_A_TIME


@contextmanager
def evaluating(*fns: Callable) -> Iterator[None]:
    """Every net that a model or guide calls in evaluation mode, and as it was afterwards.

    A look at running statistics must not move them. Which nets these are is seen where they are
    called: models are bound methods, closures and partials, and few are modules themselves. A net
    of which only methods of another name are called is found where a model or guide has it in its
    reach. Meanwhile no other thread runs a pair.
    """
    with ONE_AT_A_TIME:
        yield from _evaluating(*fns)


def _evaluating(*fns: Callable) -> Iterator[None]:
    thread, switched = get_ident(), dict[nn.Module, None]()

    def switch(module: nn.Module) -> None:
        for part in module.modules():
            if part.training:
                switched[part] = None
                part.training = False

    def watch(module: nn.Module, args: Any) -> None:
        # The hook is one of all modules, and another thread may be training its own.
        if module.training and get_ident() == thread:
            switch(module)

    for fn in fns:
        for module in reachable(fn, nn.Module):
            switch(module)
    hook = register_module_forward_pre_hook(watch)
    try:
        yield
    finally:
        hook.remove()
        for part in switched:
            part.training = True


class RandomState:
    """The generators as they are."""

    def __init__(self) -> None:
        self.state = get_rng_state()
        self.on_devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def put_back(self) -> None:
        """Makes the generators what they were."""
        set_rng_state(self.state)
        torch.cuda.set_rng_state_all(self.on_devices)


@contextmanager
def keeping_random_state() -> Iterator[None]:
    """Leaves the generators as they were, so that what follows draws as it would without a look."""
    state = RandomState()
    try:
        yield
    finally:
        state.put_back()


def buffers_of(*fns: Callable) -> list[Tensor]:
    """The buffers of nets that a model or guide has in its reach, each once."""
    modules = (module for fn in fns for module in reachable(fn, nn.Module))
    return list({id(b): b for module in modules for b in module.buffers()}.values())
