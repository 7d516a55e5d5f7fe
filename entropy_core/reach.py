"""What a model or a guide has in its reach, however it is written: nets, values, other parts."""

from collections.abc import Callable, Iterator
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
    for found in _walk(fn, kind):
        if isinstance(found, kind):
            yield found


def held_values(
    fn: Any, kinds: tuple[type, ...]
) -> Iterator[tuple[Callable[[Any], Any], Any, Any]]:
    """Values in the reach of a callable, and how to look again at what is in their place.

    Args:
        fn: See `reachable`.
        kinds: The types of the values.

    Yields:
        A function, what to call it with to get the value that is there now, and the value.

    Example:
        >>> options = {"beta": 0.5}
        >>> ((get, name, value),) = list(held_values(lambda x: options["beta"] * x, (float,)))
        >>> options["beta"] = 1.0
        >>> name, value, get(name)
        ('beta', 0.5, 1.0)
    """
    for found in _walk(fn):
        for get, name, value in _places(found):
            if isinstance(value, kinds):
                yield get, name, value


def _walk(fn: Any, leaves: type | tuple[type, ...] = ()) -> Iterator[Any]:
    """All objects in reach; what is of one of these types is not looked into."""
    level, seen = [fn], {id(fn): fn}
    for _ in range(MAX_DEPTH):
        if len(seen) > MAX_OBJECTS:
            return
        following: dict[int, Any] = {}
        for found in level:
            yield found
            if not isinstance(found, leaves):
                following.update((id(part), part) for part in _parts(found))
        level = [part for key, part in following.items() if key not in seen]
        # An object that is kept has an address of its own.
        seen |= following


def _places(found: Any) -> Iterator[tuple[Callable[[Any], Any], Any, Any]]:
    """Where an object holds others that may be put in place of one another."""
    if isinstance(found, dict) and len(found) <= MAX_LENGTH:
        yield from ((found.get, key, value) for key, value in list(found.items()))
    elif isinstance(found, list) and len(found) <= MAX_LENGTH:
        yield from ((partial(_entry, found), i, value) for i, value in enumerate(found))
    elif isinstance(found, FunctionType):
        for name, cell in zip(found.__code__.co_freevars, found.__closure__ or (), strict=True):
            get = partial(_contents, cell)
            yield get, name, get(name)
        held = found.__globals__
        yield from ((held.get, name, held[name]) for name in _names(found.__code__) if name in held)
    elif not isinstance(found, type | ModuleType | CodeType | MethodType | partial):
        held = getattr(found, "__dict__", {})
        yield from ((held.get, name, value) for name, value in list(held.items()))


def _entry(found: list, index: int) -> Any:
    return found[index] if index < len(found) else None


def _contents(cell: Any, name: str) -> Any:
    # An empty cell has no contents.
    try:
        return cell.cell_contents
    except ValueError:
        return None


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
    parts += [_contents(cell, "") for cell in fn.__closure__ or ()]
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
