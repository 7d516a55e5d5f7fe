"""Families along base classes: where a density of its own makes another distribution."""

import pytest

from entropy_core.theory.families import lineage


class Root:
    def log_prob(self, value):
        raise NotImplementedError


class Normal(Root):
    def log_prob(self, value): ...

    def sample(self): ...


class Faster(Normal):
    """The host's own, with the same density by another way."""

    def log_prob(self, value): ...


for cls in (Root, Normal, Faster):
    cls.__module__ = "host.distributions"


class Renamed(Normal):
    pass


class Expandable(Normal):
    def expand(self, shape): ...

    def entropy(self): ...


class Density:
    """A density that is mixed in."""

    def log_prob(self, value): ...


class Heavier(Normal):
    def log_prob(self, value): ...


class HeavierStill(Heavier):
    def log_prob(self, value): ...


class Mixed(Density, Normal):
    pass


class Drawn(Normal):
    def sample(self): ...


class Abstract(Root):
    def entropy(self): ...


class Own(Abstract):
    def log_prob(self, value): ...


class OwnRenamed(Own):
    pass


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (Faster, "Faster Normal Root object"),
        (Renamed, "Renamed Normal Root object"),
        (Expandable, "Expandable Normal Root object"),
        (Heavier, "Heavier"),
        (HeavierStill, "HeavierStill"),
        (Drawn, "Drawn"),
        (Mixed, "Mixed Density"),
        # What has no density to override is not overridden.
        (Own, "Own Abstract Root object"),
        (OwnRenamed, "OwnRenamed Own Abstract Root object"),
    ],
)
def test_lineage(cls, names):
    assert [base.__name__ for base in lineage(cls, Root)] == names.split()


def test_two_hosts():
    """A base class of one of the host's packages, and a wrapper of the other."""
    wrapper = type("Wrapper", (Normal,), {"log_prob": lambda self, value: None})
    wrapper.__module__ = "wrapping.distributions"
    root = type("WrappingRoot", (), {"__module__": "wrapping.base"})
    assert list(lineage(wrapper, Root)) == [wrapper]
    assert list(lineage(wrapper, Root, root)) == list(wrapper.__mro__)
