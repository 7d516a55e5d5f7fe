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


def compiled(function: Callable, *, without: Sequence[str] = ()) -> "Compiled":
    """`jax.jit`, but what another function has compiled is not compiled again.

    Each look at a user's pair makes functions of its own, which `jax.jit` would compile anew, and
    to go by the pair's identity would miss what a model reads from outside. So functions are traced
    each time, which is fast, and are the same where their programs are.

    A model that looks at the values of its arguments, as one that counts the groups of its data, is
    run as it is: `SVI.run` of the host takes it, too.

    Args:
        function: A function of trees of arrays.
        without: Names of JAX's primitives that `fits` refuses.

    Example:
        >>> import numpy as np
        >>> count = compiled(lambda groups: len(np.unique(groups)))
        >>> count(np.array([0, 1, 1]))
        2
    """
    return Compiled(function, without)


class Compiled:
    """What `compiled` returns; the arguments are the same."""

    def __init__(self, function: Callable, without: Sequence[str]) -> None:
        self._function, self._without = function, without
        self._programs: dict[Any, Callable] = {}
        self._latest: dict[Any, Callable] = {}

    def __call__(self, *args: Any) -> Any:
        """What the function returns."""
        if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
            return self._function(*args)
        leaves, structure = jax.tree.flatten(args)
        if structure in self._latest:
            try:
                return self._latest[structure](leaves)
            # A program looks at its arguments before it runs: faster than a look at them here.
            except (TypeError, ValueError):
                del self._latest[structure]
        form = structure, tuple(map(_form, leaves))
        if form not in self._programs:
            try:
                self._programs[form] = _program(self._function, structure, leaves)
            except _NEEDS_VALUES:
                self._programs[form] = _as_it_is(self._function, structure)
                return self._programs[form](leaves)
        self._latest[structure] = self._programs[form]
        return self._programs[form](leaves)

    def fits(self, *args: Any) -> bool:
        """Compiles for such arguments; whether that works, and without what must not be in it."""
        if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
            return False
        leaves, structure = jax.tree.flatten(args)
        form = structure, tuple(map(_form, leaves))
        if form not in self._programs:
            try:
                self._programs[form] = _program(self._function, structure, leaves, self._without)
            # Whatever it is: who asks has another way, which has the error of a bad model, too.
            except Exception:
                return False
        return True


def _as_it_is(function: Callable, structure: Any) -> Callable:
    return lambda leaves: function(*jax.tree.unflatten(structure, leaves))


def _program(
    function: Callable, structure: Any, leaves: Sequence[Any], without: Sequence[str] = ()
) -> Callable:
    found: list[Any] = []

    def flat(*leaves: Any) -> list[Any]:
        returned, tree = jax.tree.flatten(function(*jax.tree.unflatten(structure, leaves)))
        found.append(tree)
        return returned

    traced = jax.jit(flat).trace(*leaves)
    # With those of loops and branches in it.
    inside = str(traced.jaxpr) if without else ""
    if any(name in inside for name in without):
        raise NotImplementedError(f"a program without {without}")
    lowered = traced.lower()
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
