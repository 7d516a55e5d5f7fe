"""Compiled functions that are compiled once: what has been compiled before is found again."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256
from threading import Lock
from typing import Any

import jax

# What JAX raises where a function asks for the values of what it compiles.
_NEEDS_VALUES = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
# The newest programs by their text, which says all that they compute, constants included.
_PROGRAMS: OrderedDict[tuple, Callable] = OrderedDict()
_LOCK, MOST_PROGRAMS = Lock(), 256


def compiled(function: Callable) -> Callable:
    """`jax.jit`, but what another function has compiled is not compiled again.

    Each look at a user's pair makes functions of its own, which `jax.jit` would compile anew, and
    to go by the pair's identity would miss what a model reads from outside. So functions are traced
    each time, which is fast, and are the same where their programs are.

    A model that looks at the values of its arguments, as one that counts the groups of its data, is
    run as it is: `SVI.run` of the host takes it, too.

    Args:
        function: A function of trees of arrays.

    Example:
        >>> import numpy as np
        >>> count = compiled(lambda groups: len(np.unique(groups)))
        >>> count(np.array([0, 1, 1]))
        2
    """
    programs: dict[Any, Callable] = {}
    latest: dict[Any, Callable] = {}

    def call(*args: Any) -> Any:
        if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
            return function(*args)
        leaves, structure = jax.tree.flatten(args)
        if structure in latest:
            try:
                return latest[structure](leaves)
            # A program looks at its arguments before it runs: faster than a look at them here.
            except (TypeError, ValueError):
                del latest[structure]
        form = structure, tuple(map(_form, leaves))
        if form not in programs:
            try:
                programs[form] = _program(function, structure, leaves)
            except _NEEDS_VALUES:
                programs[form] = _as_it_is(function, structure)
                return programs[form](leaves)
            latest[structure] = programs[form]
        return programs[form](leaves)

    return call


def _as_it_is(function: Callable, structure: Any) -> Callable:
    return lambda leaves: function(*jax.tree.unflatten(structure, leaves))


def _program(function: Callable, structure: Any, leaves: Sequence[Any]) -> Callable:
    found: list[Any] = []

    def flat(*leaves: Any) -> list[Any]:
        returned, tree = jax.tree.flatten(function(*jax.tree.unflatten(structure, leaves)))
        found.append(tree)
        return returned

    lowered = jax.jit(flat).lower(*leaves)
    text = lowered.as_text()
    key = (sha256(text.encode()).digest(), tuple(map(_form, leaves)))
    with _LOCK:
        program = _PROGRAMS.pop(key, None)
    if program is None:
        program = lowered.compile()
    # A call back to Python is one to a function of this very run.
    if "callback" not in text:
        with _LOCK:
            _PROGRAMS[key] = program
            while len(_PROGRAMS) > MOST_PROGRAMS:
                _PROGRAMS.popitem(last=False)
    (tree,) = found
    return lambda leaves: jax.tree.unflatten(tree, program(*leaves))


def _form(leaf: Any) -> tuple:
    return jax.typeof(leaf), getattr(leaf, "sharding", None)
