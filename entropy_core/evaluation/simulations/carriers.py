"""Which arguments of a model carry its observations, and the same arguments with others in place.

Positions and names of arguments say nothing of it: what a site has observed is found by its value.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from entropy_core.arguments import Arguments
from entropy_core.checks import expected

# Where an argument is: keys and places, from the outside in. (A number would not do: what JAX has
# traced has dictionaries in another order.)
Place = tuple[Any, ...]
# For each observed site the places of those arguments.
Carriers = Mapping[str, tuple[Place, ...]]


def carried_as_is(observed: Mapping[str, Any], call: Arguments) -> Carriers:
    """The arguments that are the very arrays which sites have observed."""
    leaves = _leaves(_tree(call))
    return {
        name: tuple(place for place, leaf in leaves if leaf is value)
        for name, value in observed.items()
    }


def find_carriers(
    observed: Mapping[str, Any],
    call: Arguments,
    to_numpy: Callable[[Any], np.ndarray],
    as_is: Carriers,
) -> Carriers:
    """The arguments that have the values which the observed sites have.

    An argument may have another shape or number type than the observation, as images that the model
    flattens, but has the same values in the same order. What is the very same array counts before
    what is equal, and an array that is handed over twice is in both places.

    Args:
        observed: The value of each observed site.
        call: The arguments that the model was run with.
        to_numpy: From an array of the host to one of NumPy.
        as_is: What `carried_as_is` has found.

    Raises:
        ValueError: If no argument has the values of a site, several that are not one array have, or
            one argument has those of two sites.

    Example:
        >>> x, y = np.eye(2), np.arange(2)
        >>> call, observed = Arguments((x,), {"y": y}), {"label": y, "pixels": x.ravel()}
        >>> find_carriers(observed, call, np.asarray, carried_as_is(observed, call))
        {'label': ((1, 'y'),), 'pixels': ((0, 0),)}
    """
    arrays = {p: leaf for p, leaf in _leaves(_tree(call)) if getattr(leaf, "shape", ())}
    found: dict[str, tuple[Place, ...]] = {}
    for name, value in observed.items():
        same = list(as_is.get(name, ()))
        if not same:
            same = [i for i, leaf in arrays.items() if _equal(to_numpy(leaf), to_numpy(value))]
            if len({id(arrays[i]) for i in same}) > 1:
                what = f"one argument with the values of '{name}'"
                raise ValueError(_ask(what, f"{len(same)} that are equal"))
        if not same:
            shapes = [tuple(leaf.shape) for leaf in arrays.values()]
            got = f"arrays of shapes {shapes}, none with its values, of shape {tuple(value.shape)}"
            raise ValueError(_ask(f"an argument that has the values of '{name}'", got))
        for other, places in found.items():
            if set(places) & set(same):
                got = f"one with those of '{other}' and of '{name}'"
                raise ValueError(_ask("one argument for each observed site", got))
        found[name] = tuple(same)
    return found


def with_values(
    values: Mapping[str, Any],
    carriers: Carriers,
    call: Arguments,
    like: Callable[[Any, Any], Any],
) -> Arguments:
    """The arguments with other values in the places of the observations.

    Args:
        values: The new value of each observed site.
        carriers: What `find_carriers` has found.
        call: The arguments.
        like: From a value and an argument to the value in the argument's shape and number type.
    """
    site_at = {place: name for name, places in carriers.items() for place in places}

    def put(place: Place, leaf: Any) -> Any:
        return like(values[site_at[place]], leaf) if place in site_at else leaf

    return Arguments(*_map(put, _tree(call)))


def check_carried(carried: Mapping[str, Any]) -> None:
    """Refuses arguments that do not lead the model to observe what was simulated.

    Args:
        carried: For each observed site whether the model has observed all of the new values.

    Raises:
        ValueError: If one site has not.
    """
    for name, fine in carried.items():
        if not bool(fine):
            what = f"arguments with which the model observes what was simulated for '{name}'"
            raise ValueError(expected(what, "arguments", "other observations"))


def _tree(call: Arguments) -> tuple[tuple, dict[str, Any]]:
    return call.args, dict(call.kwargs)


def _map(fn: Callable[[Place, Any], Any], tree: Any, place: Place = ()) -> Any:
    if isinstance(tree, Mapping):
        return {key: _map(fn, part, (*place, key)) for key, part in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)([_map(fn, part, (*place, i)) for i, part in enumerate(tree)])
    return fn(place, tree)


def _leaves(tree: Any) -> list[tuple[Place, Any]]:
    found: list[tuple[Place, Any]] = []
    _map(lambda place, leaf: found.append((place, leaf)), tree)
    return found


def _ask(what: str, got: str) -> str:
    hint = "; `arguments` can say how to hand simulated data over"
    return expected(what, "model` and `guide", got + hint)


def _equal(leaf: np.ndarray, value: np.ndarray) -> bool:
    if leaf.size != value.size or leaf.dtype.kind not in "fiub" or value.dtype.kind not in "fiub":
        return False
    # Types of floats may differ: the wider one is rounded as the model has rounded it.
    return np.array_equal(leaf.astype(value.dtype).ravel(), value.ravel())
