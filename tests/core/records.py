"""Made-up records of a latent `z` and data `x`, for tests that need no host."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from entropy_core.report import EntropyReport
from entropy_core.results.accumulate import Accumulator
from entropy_core.results.groups import CollapseThresholds
from entropy_core.traces.plates import find_data_plate
from entropy_core.traces.records import (
    PARTICLES,
    LatentTerms,
    Plate,
    Role,
    SiteTerms,
    TraceTerms,
    summed,
)

ENCODER, PRIOR, DECODER = range(3)
DEFAULT_THRESHOLDS = CollapseThresholds()


class Draws(NamedTuple):
    """What each draw says of each data point.

    `terms` and `entropies` have the shape `(particle, site, data point)`, and `latents` has
    `(particle, quantity, data point, dimension)` with the quantities in the order of `LatentTerms`.
    """

    terms: np.ndarray
    entropies: np.ndarray
    latents: np.ndarray


def draw(seed: int = 0, num_particles: int = 4, num_data: int = 20) -> Draws:
    rng = np.random.default_rng(seed)
    terms, entropies = rng.normal(size=(2, num_particles, 3, num_data))
    # To the ELBO a guide's site adds its entropy.
    terms[:, ENCODER] = entropies[:, ENCODER]
    # Far from zero, where a variance by differences of squares would lose its digits.
    latents = 1e4 + rng.random((num_particles, 4, num_data, 2))
    return Draws(terms, entropies, latents)


def site(
    name: str,
    role: Role,
    term: np.ndarray,
    entropy: np.ndarray,
    plates: Iterable[Plate] = (),
    handler_scale: object = 1.0,
) -> SiteTerms:
    return SiteTerms(
        name, role, term - 1, term, entropy, "sampled", "closed form", tuple(plates), handler_scale
    )


def in_plates(
    name: str,
    role: Role,
    *plates: Plate,
    rng: np.random.Generator | None = None,
    handler_scale: float = 1.0,
) -> SiteTerms:
    """A record with random values, of the shape that the plates give it."""
    sizes = {plate.dim: plate.size for plate in plates}
    shape = [sizes.get(dim, 1) for dim in range(min([0, *filter(None, sizes)]), 0)]
    term, entropy = (rng or np.random.default_rng(0)).normal(size=(2, *shape))
    if role == "encoder":
        term = entropy
    if "factor" in role:
        entropy = np.zeros_like(term)
    return site(name, role, term, entropy, plates, handler_scale)


def over_all_data(record: SiteTerms, values: np.ndarray) -> float:
    """Copies the elements until a subsample is the whole, and averages over particles."""
    for plate in record.plates:
        if plate.name == PARTICLES:
            values = values.mean(plate.dim, keepdims=True)
        else:
            values = np.repeat(values, plate.full_size // plate.size, plate.dim)
    return values.sum()


def trace(
    sites: Sequence[SiteTerms],
    latents: Sequence[LatentTerms] = (),
    untreated: Sequence[tuple[str, str]] = (),
) -> TraceTerms:
    """What a diagnostic of either host makes of the records of one pair of traces."""
    plate = find_data_plate(sites)
    return TraceTerms(
        tuple(summed(s, plate) for s in sites),
        tuple(latents),
        tuple(untreated),
        plate,
    )


def traces(
    draws: Draws,
    rows: slice = slice(None),
    *,
    in_plate: bool = True,
    untreated: Sequence[tuple[str, str]] = (),
) -> list[TraceTerms]:
    """The batch `rows` as each particle sees it; without a plate no latent comes apart."""
    size = draws.terms[0, 0, rows].size
    plates = [Plate("data", -1, size, size)] if in_plate else []
    return [
        trace(
            [
                site(name, role, term[rows], entropy[rows], plates)
                for name, role, term, entropy in zip(
                    "zzx", ("encoder", "prior", "decoder"), terms, entropies, strict=True
                )
            ],
            [LatentTerms("z", *latents[:, rows])] if in_plate else [],
            untreated,
        )
        for terms, entropies, latents in zip(*draws, strict=True)
    ]


def accumulated(*batches: list[TraceTerms], kl_epsilon: float = 0.01) -> Accumulator:
    sums = Accumulator(kl_epsilon)
    for batch in batches:
        sums.add(batch)
    return sums


def report_of(
    *batches: list[TraceTerms], thresholds: CollapseThresholds = DEFAULT_THRESHOLDS
) -> EntropyReport:
    # Any library has a name and a version.
    sums = accumulated(*batches, kl_epsilon=thresholds.kl_epsilon)
    return EntropyReport.from_accumulator(sums, thresholds, library=np)
