"""Which family a Pyro distribution belongs to, by type along its base classes."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

import pyro.distributions as dist
import torch.distributions as td
from torch.distributions import Distribution

from entropy_core.theory import families

T = TypeVar("T")

ROOTS = (td.Distribution, dist.Distribution)


def family(fn: Distribution, table: Mapping[type, T]) -> T | None:
    """What a table says of the family of `fn`, or `None` where it is of no class of the table.

    A subclass belongs to the family of its base, unless it has a `log_prob`, `sample` or `rsample`
    of its own.

    Example:
        >>> class Error(dist.Normal): ...
        >>> family(Error(0.0, 1.0), {td.Normal: "normal"})
        'normal'
    """
    return next((table[base] for base in _lineage(fn) if base in table), None)


def belongs_to(fn: Distribution, *classes: type) -> bool:
    """Whether `fn` is of a class, with that class's density.

    Example:
        >>> belongs_to(dist.Normal(0.0, 1.0), td.Normal)
        True
    """
    return any(base in classes for base in _lineage(fn))


def has_own(fn: Distribution, name: str) -> bool:
    """Whether a method of `fn` was written for its density, not for one that it overrides.

    Example:
        >>> class Heavier(dist.Normal):
        ...     def log_prob(self, value): ...
        >>> has_own(Heavier(0.0, 1.0), "entropy")
        False
    """
    cls: Any = type(fn)
    return _has_own(cls, name)


def overrides_density(fn: Any) -> bool:
    """Whether `fn`, or what it is made from, has another density than the class it derives from.

    Example:
        >>> import torch
        >>> class Heavier(dist.Normal):
        ...     def log_prob(self, value): ...
        >>> overrides_density(Heavier(0.0, torch.ones(2)).to_event(1))
        True
    """
    while fn is not None:
        if len(_lineage(fn)) < len(type(fn).__mro__):
            return True
        fn = getattr(fn, "base_dist", None)
    return False


def is_users_own(fn: Any) -> bool:
    """Whether the class of `fn` is neither the host's nor ours, whose tests vouch for their own."""
    return families.is_users_own(type(fn), *ROOTS)


def _lineage(fn: Any) -> tuple[type, ...]:
    cls: Any = type(fn)
    return _lineage_of(cls)


@lru_cache
def _has_own(cls: Any, name: str) -> bool:
    return any(name in vars(base) for base in _lineage_of(cls))


@lru_cache
def _lineage_of(cls: Any) -> tuple[type, ...]:
    return tuple(families.lineage(cls, *ROOTS))
