"""What a model or a guide has in its reach: the nets that it may call, however it is written."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, TypeVar

T = TypeVar("T")

# Handlers wrap handlers; longer lists hold data rather than nets; and a method's object may hold a
# whole application, of which a net of the pair is not far from it.
MAX_DEPTH, MAX_LENGTH, MAX_OBJECTS = 10, 1000, 20_000


def reachable(fn: Any, kind: type[T]) -> Iterator[T]:
    """All objects of a type that a callable is, is a method of, or has in its reach.

    That is what stands in its closure, among the arguments of a partial, under what a handler has
    wrapped, in attributes, in lists and dictionaries, and by a global name that its code has; and
    what functions of the same file that it names have in theirs. What is found is not looked into.

    Args:
        fn: A function, a method, a partial, or an object that is called.
        kind: The type.

    Example:
        >>> nets = {"encoder": 1.5}
        >>> list(reachable(lambda x: nets["encoder"] * x, float))
        [1.5]
    """
    level, seen = [fn], {id(fn): fn}
    for _ in range(MAX_DEPTH):
        if len(seen) > MAX_OBJECTS:
            return
        following: dict[int, Any] = {}
        for found in level:
            if isinstance(found, kind):
                yield found
                continue
            following.update((id(part), part) for part in _parts(found))
        level = [part for key, part in following.items() if key not in seen]
        # An object that is kept has an address of its own.
        seen |= following


def _parts(found: Any) -> list[Any]:
    # An array holds no nets.
    if isinstance(found, type | ModuleType | CodeType) or hasattr(type(found), "dtype"):
        return []
    if isinstance(found, partial):
        return [found.func, *found.args, *found.keywords.values()]
    if isinstance(found, MethodType):
        return [found.__self__, found.__func__]
    if isinstance(found, FunctionType):
        return _parts_of_function(found)
    if isinstance(found, dict | list | tuple | set | frozenset):
        entries = found.values() if isinstance(found, dict) else found
        return list(entries) if len(found) <= MAX_LENGTH else []
    # A dataclass with slots has no dictionary.
    names = [field.name for field in fields(found)] if is_dataclass(found) else []
    values = [getattr(found, name, None) for name in names]
    return [*getattr(found, "__dict__", {}).values(), *values]


def _parts_of_function(fn: FunctionType) -> list[Any]:
    parts = [*(fn.__defaults__ or ()), *(fn.__kwdefaults__ or {}).values(), *vars(fn).values()]
    for cell in fn.__closure__ or ():
        # An empty cell has no contents.
        try:
            parts.append(cell.cell_contents)
        except ValueError:
            continue
    named = [fn.__globals__[name] for name in _names(fn.__code__) if name in fn.__globals__]
    return parts + [
        part
        for part in named
        if not isinstance(part, FunctionType) or part.__globals__ is fn.__globals__
    ]


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        # Functions and comprehensions inside.
        if isinstance(constant, CodeType):
            yield from _names(constant)
