"""Families of distributions by type: whose distribution it is that an object has.

A subclass has the distribution of its base, and with it the entropy and the natural parameters,
until it brings a density or draws of its own: then it is another distribution.
"""

from collections.abc import Iterator

# What says which distribution it is: its density and its draws, in torch's and in NumPyro's names.
DENSITY = frozenset({"log_prob", "sample", "rsample", "sample_with_intermediates"})


def lineage(cls: type, *roots: type) -> Iterator[type]:
    """The classes whose distribution `cls` has, itself first.

    They end where a user's class overrides the density or the draws of a distribution that has
    them. The host's own classes override them too, for speed or for other draws of the same
    distribution: its tests vouch for these.

    Args:
        cls: A class of distributions.
        roots: The host's abstract base classes; their packages are those of the host.

    Example:
        >>> class Distribution:
        ...     def log_prob(self, value): ...
        >>> class Normal(Distribution):
        ...     def log_prob(self, value): ...
        >>> Normal.__module__ = Distribution.__module__ = "host.distributions"
        >>> class Renamed(Normal): ...
        >>> class Heavier(Normal):
        ...     def log_prob(self, value): ...
        >>> [base.__name__ for base in lineage(Renamed, Distribution)]
        ['Renamed', 'Normal', 'Distribution', 'object']
        >>> [base.__name__ for base in lineage(Heavier, Distribution)]
        ['Heavier']
    """
    hosts = {_package(root) for root in roots}
    # A class without a density to override, as a mixin or an abstract base, ends nothing.
    none = [None, *(getattr(root, "log_prob", None) for root in roots)]
    overridden = False
    for base in cls.__mro__:
        if overridden and getattr(base, "log_prob", None) not in none:
            return
        yield base
        overridden |= _package(base) not in hosts and not DENSITY.isdisjoint(vars(base))


def is_users_own(cls: type, *roots: type) -> bool:
    """Whether a class is neither the host's nor this library's, whose tests vouch for their own.

    The arguments are those of `lineage`.
    """
    own = {"entropy_core", "pyro_entropy", "numpyro_entropy", *(_package(root) for root in roots)}
    return _package(cls) not in own


def _package(cls: type) -> str:
    return cls.__module__.partition(".")[0]
