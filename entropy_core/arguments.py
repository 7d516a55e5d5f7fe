"""A batch as the arguments of a model and a guide."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from entropy_core.checks import expected


@dataclass(frozen=True)
class Arguments:
    """The arguments of one call of a model and of a guide.

    Args:
        args: The positional ones.
        kwargs: Those by name.
    """

    args: tuple = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, batch: Any) -> "Arguments":
        """What a batch says: a dictionary names its arguments, a tuple or list orders them.

        A tuple of a tuple and a dictionary has both; anything else is the one argument.

        Example:
            >>> Arguments.of({"x": 1}), Arguments.of(((1,), {"y": 2})), Arguments.of([1, 2]).args
            (Arguments(args=(), kwargs={'x': 1}), Arguments(args=(1,), kwargs={'y': 2}), (1, 2))
        """
        if isinstance(batch, Mapping):
            return cls((), dict(batch))
        if not isinstance(batch, tuple | list):
            return cls((batch,))
        both = len(batch) == 2 and isinstance(batch[0], tuple) and isinstance(batch[1], Mapping)
        return cls(batch[0], dict(batch[1])) if both else cls(tuple(batch))

    def __iter__(self) -> Iterator[Any]:
        """Both, for a call by `*arguments`."""
        return iter((self.args, self.kwargs))

    @property
    def values(self) -> tuple:
        """All of them, without their names."""
        return (*self.args, *self.kwargs.values())

    @property
    def num_data(self) -> int:
        """The length of the first array, or 1 where there is none."""
        sizes = (value.shape for value in self.values if hasattr(value, "shape"))
        return next((shape[0] for shape in sizes if len(shape)), 1)


def map_leaves(fn: Callable[[Any], Any], batch: Any) -> Any:
    """A batch of the same form, with `fn` of what is in its tuples, lists and dictionaries.

    Example:
        >>> map_leaves(len, ("ab", {"y": "c"}))
        (2, {'y': 1})
    """
    if isinstance(batch, Mapping):
        return {name: map_leaves(fn, value) for name, value in batch.items()}
    if isinstance(batch, tuple | list):
        return type(batch)([map_leaves(fn, value) for value in batch])
    return fn(batch)


def takes(fn: Callable, name: str) -> bool:
    """Whether a model or guide takes an argument of this name, however it is wrapped.

    Example:
        >>> takes(lambda x, total=None: None, "total"), takes(lambda x: None, "total")
        (True, False)
    """
    seen: set[int] = set()
    while id(fn) not in seen:
        seen.add(id(fn))
        # Handlers of the hosts keep what they wrap in one of these.
        wrapped = getattr(fn, "__wrapped__", None) or getattr(fn, "fn", None)
        if wrapped is not None:
            fn = wrapped
        elif isinstance(fn, partial):
            if name in fn.keywords:
                return False
            fn = fn.func
    # The call of a module of torch's takes anything, and hands it on.
    fn = getattr(fn, "forward", fn)
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return False
    named = [p for p in parameters if p.kind is not inspect.Parameter.POSITIONAL_ONLY]
    return any(p.name == name or p.kind is inspect.Parameter.VAR_KEYWORD for p in named)


def check_call(fn: Callable, name: str, args: tuple, kwargs: Mapping[str, Any]) -> None:
    """Refuses batches that a model or guide does not take, such as labels beside data.

    Raises:
        TypeError: If they do not go into its arguments.
    """
    try:
        # What a decorator hides, it may give by itself.
        parameters = inspect.signature(fn, follow_wrapped=False)
    except (TypeError, ValueError):
        return
    try:
        parameters.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(expected(f"what `{name}` takes", "data", str(error))) from error


def leaves_of_batch(batch: Any) -> list[Any]:
    """What is in the tuples, lists and dictionaries of a batch."""
    found: list[Any] = []
    map_leaves(found.append, batch)
    return found


def even_sizes(num_data: int, batch_size: int) -> list[int]:
    """The sizes of the fewest batches of at most `batch_size`, which differ by one at most.

    So that no batch is small beside the others, where each is scaled to the whole data set.

    Example:
        >>> even_sizes(129, 128), even_sizes(7, 2)
        ([65, 64], [2, 2, 2, 1])
    """
    num = -(-num_data // batch_size)
    return [num_data // num + (i < num_data % num) for i in range(num)]
