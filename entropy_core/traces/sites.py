"""A sample site of a trace, and a pair of traces: what either side makes and all else takes.

The arrays and distributions are those of whichever host has run the model. What a host keeps in a
place of its own (masks, enumeration, what lies under a private name) is read once, into named
fields.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import Any

from entropy_core.checks import expected
from entropy_core.traces.enumeration import Enumeration
from entropy_core.traces.records import Plate, SiteTerms

# The hosts keep their handlers in one stack for all threads: of two that run a pair at once, each
# would see the sites of the other.
ONE_AT_A_TIME = RLock()


def not_reparameterised(name: str, family: str) -> str:
    """The error for a site of the guide whose draws have no gradient.

    Example:
        >>> not_reparameterised("y", "Categorical")
        "expected reparameterised draws for `guide`; got site 'y', Categorical: ..."
    """
    hosts = "the host's `TraceGraph_ELBO` takes it, and its `TraceEnum_ELBO` if it is enumerated"
    return expected("reparameterised draws", "guide", f"site '{name}', {family}: {hosts}")


@dataclass(frozen=True, kw_only=True)
class BaseSite(ABC):
    """A sample site; each host has its own subclass, `traces.sites.Site`.

    Args:
        name: The name.
        fn: The distribution.
        value: The draw, or the observation.
        is_observed: Whether the value was given.
        plates: The plates around the site, from the outside in.
        scale: The scale of plates and handlers together.
        is_auxiliary: Whether a guide draws it for the sake of other sites.
        at_param: Whether it is drawn from a `Delta` at a parameter as it is: it depends on no draw.
        wants_enumeration: Whether it asks for all its values at once.
        num_samples: The number of draws that it asks for at once.
        enumerate_dim: Where its values lie, if it has all of them.
        places: The places of its dimensions that are those of enumerated sites, and their names.
    """

    name: str
    fn: Any
    value: Any
    is_observed: bool
    plates: tuple[Plate, ...]
    scale: Any
    is_auxiliary: bool = False
    at_param: bool = False
    wants_enumeration: bool = False
    num_samples: int | None = None
    enumerate_dim: int | None = None
    places: Mapping[int, str] = field(default_factory=dict)

    @property
    @abstractmethod
    def log_prob(self) -> Any:
        """The unscaled log-probability at the draw, zero where a mask hides it."""

    @property
    @abstractmethod
    def is_factor(self) -> bool:
        """Whether it is what the host's `factor` leaves in a trace, which is no distribution."""

    @property
    @abstractmethod
    def is_masked(self) -> bool:
        """Whether a mask stands around it, a handler's or one of its distribution."""

    @property
    @abstractmethod
    def is_point(self) -> bool:
        """Whether it is drawn from a `Delta`, as the sites of `AutoDelta` are."""

    @abstractmethod
    def unmasked(self) -> Any:
        """The site without the masks of handlers around it."""

    @abstractmethod
    def spread(self, values: Any) -> Any:
        """Values in the shape of the log-probability, zero where a handler's mask hides them."""

    @abstractmethod
    def shown(self, shape: Any) -> Any:
        """Which elements of the site no mask hides.

        Args:
            shape: That of its log-probabilities.

        Returns:
            For each plate element, or for the entries of each where a mask tells them apart,
            whether it is shown; `None` where there is no mask.
        """

    def count_elements(self, shape: Any) -> tuple[int, Any]:
        """The number of elements of the site, and how many of them no mask hides.

        Args:
            shape: That of its log-probabilities.

        Returns:
            Counts over all plates and dimensions; `None` for the second where there is no mask.
        """
        shown, num_elements = self.shown(shape), math.prod((*shape, *self.fn.event_shape))
        if shown is None:
            return num_elements, None
        # Where no mask tells the dimensions of a draw apart, they are hidden together.
        return num_elements, shown.sum() * (num_elements // max(math.prod(shown.shape), 1))


@dataclass(frozen=True)
class Pair:
    """One look at a model and a guide: the sites of both, and what was read off them.

    A host's `traces.pairs` makes it, and everything after takes it: objectives, the diagnostic,
    claims, likelihoods.

    Args:
        model: The sample sites of the model, run at the guide's draws.
        guide: Those of the guide.
        deterministic: The names of what the model computes and does not draw.
        rows: The indices of subsampling plates, for another run over the same rows.
        drawing_rows: The names of the plates that have drawn them; to others they were given.
        positive: The sites of the guide on other views of the data, for InfoNCE.
        state: The state of nets that have one, where the host keeps it apart.
        records: The terms of each site, guide first.
        untreated: Pairs of a site and the reason why it has no record or no entropy.
        enumeration: The weights of enumerated sites, where they were asked for.
    """

    model: Mapping[str, Any]
    guide: Mapping[str, Any]
    deterministic: Sequence[str] = ()
    rows: Mapping[str, Any] = field(default_factory=dict)
    drawing_rows: frozenset[str] = frozenset()
    positive: Mapping[str, Any] | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    records: Sequence[SiteTerms] = ()
    untreated: tuple[tuple[str, str], ...] = ()
    enumeration: Enumeration | None = None

    def with_records(self, records: Sequence[SiteTerms], **fields: Any) -> "Pair":
        """The same look with the terms of its sites."""
        return replace(self, records=records, **fields)

    @property
    def latents(self) -> list[str]:
        """The names of the sites that the guide draws."""
        return [name for name, site in self.guide.items() if not site.is_observed]
