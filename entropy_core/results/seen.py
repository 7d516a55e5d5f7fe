"""What a pass over the data has seen of its sites and plates, apart from their numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar

import numpy as np

from entropy_core.traces.records import Plate, Role, SiteTerms

T = TypeVar("T")

# What a product of scales may be off in float32.
ROUNDING = 1e-6


@dataclass
class SiteSeen:
    """A site, in all batches that have it: what may differ between them is a set.

    Args:
        role: The role.
        name: The name.
        in_data_plate: Whether it is in the plate over data points, in some batch.
        masked: Whether a mask stands around it, in some batch.
        shown: How many of its numbers no mask hides, a mean over particles.
        elements: How many it has in all.
        term_methods: How its term was got.
        entropy_methods: How its entropy was got.
        plates: The names of the plates around it.
        handler_scales: The scales of handlers around it.
        num_dims: The number of dimensions of a data point.
        families: The names of its families of distributions.
        scales: The least and the largest scale, where it has one.
    """

    role: Role
    name: str
    in_data_plate: bool = False
    masked: bool = False
    shown: float = 0.0
    elements: float = 0.0
    term_methods: set[str] = field(default_factory=set)
    entropy_methods: set[str] = field(default_factory=set)
    plates: set[str] = field(default_factory=set)
    handler_scales: set[str] = field(default_factory=set)
    num_dims: set[int] = field(default_factory=set)
    families: set[str] = field(default_factory=set)
    scales: set[float] = field(default_factory=set)

    @classmethod
    def of(cls, site: SiteTerms, data_plate: Plate | None, num_particles: int) -> "SiteSeen":
        """What one draw of `num_particles` says of a site."""
        masked = site.num_observed is not None
        scale = site.handler_scale
        # NumPy takes a while over one number.
        apart = scale - 1.0 if isinstance(scale, float) else np.max(np.abs(np.asarray(scale) - 1.0))
        scaled = bool(abs(apart) > ROUNDING)
        shown = float(site.num_observed) if masked else float(site.num_elements)
        inside = data_plate is not None and data_plate in site.plates
        return cls(
            site.role,
            site.name,
            in_data_plate=inside,
            masked=masked,
            shown=shown / num_particles,
            elements=site.num_elements / num_particles,
            term_methods={site.term_method},
            entropy_methods={site.entropy_method},
            plates={", ".join(plate.name for plate in site.plates)},
            handler_scales={str(np.asarray(site.handler_scale)) if scaled else "1.0"},
            num_dims={site.num_elements // data_plate.size} if data_plate and inside else set(),
            families={site.family} - {""},
            scales=set() if site.scale is None else set(map(float, site.scale)),
        )

    def merge(self, other: "SiteSeen") -> None:
        """Adds what other draws, batches or passes have seen."""
        for name in _MERGED:
            mine, theirs = getattr(self, name), getattr(other, name)
            # Not in place: a set may be that of another pass.
            setattr(self, name, mine + theirs if isinstance(mine, float) else mine | theirs)
        # Two of them tell as much as all.
        self.scales = {min(self.scales), max(self.scales)} if self.scales else set()

    @property
    def scaled(self) -> bool:
        """Whether a handler scales it, in some batch."""
        return self.handler_scales != {"1.0"}

    @property
    def observed(self) -> float:
        """The fraction of its numbers that no mask hides."""
        return self.shown / self.elements if self.masked and self.elements else 1.0

    @property
    def scale(self) -> float:
        """The scale of all its elements, NaN where there is no such one."""
        found = sorted(self.scales)
        alike = found and found[-1] - found[0] <= ROUNDING * found[-1]
        return found[0] if alike else np.nan

    @property
    def dims(self) -> int:
        """The number of dimensions of a data point, 0 where there is no one such number.

        Where a mask hides some of them, they are not the same for all data points.
        """
        return next(iter(self.num_dims)) if len(self.num_dims) == 1 and not self.masked else 0


_MERGED = [entry.name for entry in fields(SiteSeen) if entry.name not in ("role", "name")]


@dataclass
class PlateSeen:
    """A plate over data points: how many were seen, and how many there are if it subsamples."""

    seen: int = 0
    full_size: int | None = None

    def merge(self, other: "PlateSeen") -> None:
        """Adds what other batches or passes have seen."""
        self.seen += other.seen
        known = [size for size in (self.full_size, other.full_size) if size is not None]
        self.full_size = max(known, default=None)

    @property
    def size(self) -> int:
        """A plate larger than its batches says how large the data set is; else what was seen."""
        return self.full_size or self.seen


def plates_of(plate: Plate | None) -> dict[str, PlateSeen]:
    """What one batch says of the plate over data points, by its name."""
    if plate is None:
        return {}
    full_size = plate.full_size if plate.full_size != plate.size else None
    return {plate.name: PlateSeen(plate.size, full_size)}


def data_set_size(plates: Mapping[str, PlateSeen]) -> int:
    """The number of data points in all, 1 where no plate says what one is."""
    return sum(plate.size for plate in plates.values()) or 1


def woven(known: Sequence[T], new: Sequence[T]) -> list[T]:
    """Both sequences as one, in which each keeps its order where it can.

    Example:
        >>> woven(["z_0", "x_0"], ["z_0", "z_1", "x_0", "x_1"])
        ['z_0', 'z_1', 'x_0', 'x_1']
    """
    if not known or known == new:
        return list(new)
    merged, place = list(known), 0
    for entry in new:
        if entry in merged:
            place = merged.index(entry) + 1
        else:
            merged.insert(place, entry)
            place += 1
    return merged
