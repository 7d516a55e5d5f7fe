"""Evaluation mode for every net that a model or a guide calls.

A look changes nothing: the random generators can be left as they were, too.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import get_ident
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.util import get_rng_state, set_rng_state
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from entropy_core.traces.sites import ONE_AT_A_TIME


@contextmanager
def evaluating(*fns: Callable) -> Iterator[None]:
    """Every net that a model or guide calls in evaluation mode, and as it was afterwards.

    A look at running statistics must not move them. Which nets these are is seen where they are
    called: models are bound methods, closures and partials, and few are modules themselves.
    Meanwhile no other thread runs a pair.
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
        for module in modules_of(fn):
            switch(module)
    hook = register_module_forward_pre_hook(watch)
    try:
        yield
    finally:
        hook.remove()
        for part in switched:
            part.training = True


@contextmanager
def keeping_random_state() -> Iterator[None]:
    """Leaves the generators as they were, so that what follows draws as it would without a look."""
    put_back = random_state()
    try:
        yield
    finally:
        put_back()


def random_state() -> Callable[[], None]:
    """What puts the generators back to where they are now.

    Where a look has given `pyro.param` its first values, these may have been drawn, and what
    follows must not draw the same numbers. A module has its values before.
    """
    store = pyro.get_param_store()
    names, state = set(store.keys()), get_rng_state()
    on_devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def put_back() -> None:
        constrained: list[Any] = [store[name] for name in store.keys() - names]
        new = [parameter.unconstrained() for parameter in constrained]
        if all(isinstance(parameter, nn.Parameter) for parameter in new):
            set_rng_state(state)
            torch.cuda.set_rng_state_all(on_devices)

    return put_back


def modules_of(fn: Any) -> Iterator[nn.Module]:
    """The modules that a function is, is a method of, or has in its closure."""
    if isinstance(fn, nn.Module):
        yield fn
    elif isinstance(fn, functools.partial):
        for part in (fn.func, *fn.args):
            yield from modules_of(part)
    else:
        yield from (m for m in [getattr(fn, "__self__", None)] if isinstance(m, nn.Module))
        for cell in getattr(fn, "__closure__", None) or ():
            # What a handler has wrapped stands in the closure too; an empty cell has no contents.
            with suppress(ValueError):
                found = cell.cell_contents
                if isinstance(found, nn.Module | functools.partial):
                    yield from modules_of(found)
        wrapped = poutine.unwrap(fn)
        if wrapped is not fn:
            yield from modules_of(wrapped)
