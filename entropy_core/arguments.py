"""A batch as the arguments of a model and a guide."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


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
