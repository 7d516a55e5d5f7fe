"""What is collected batch by batch, and from which claims are made."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tqdm.auto import tqdm

from entropy_core.arguments import Arguments
from entropy_core.checks import check_number, check_positive_int, expected
from entropy_core.results.evidence import BatchEvidence, MeanEvidence
from entropy_core.theory.claims import Found, SiteClaim, explain, find_directions
from entropy_core.theory.directions import DELAY, MAX_COLUMNS, solved_misfit
from entropy_core.theory.linearised import Linearised, stacked
from entropy_core.theory.verdicts import draws_to_take

# What a user does not give: a verdict may take so many times the draws asked for.
BUDGET = 5
# Rows of each site in the data plate, for each parameter that may be searched: then one batch or
# many make no difference.
ROWS_PER_COLUMN = 4
# A part of a data set is looked at in pieces, so that the first one may do.
PIECE = 128


class BaseExplanation:
    """The evidence of all batches and the directions at some of them.

    Args:
        num_particles: The number of draws from the guide for each data point.
        max_particles: How many there may be where verdicts need more; `None` for five times as
            many.

    Raises:
        ValueError: If a number is no positive integer, or there may be fewer draws than asked for.
    """

    def __init__(self, num_particles: int, max_particles: int | None) -> None:
        check_positive_int(num_particles, "num_particles")
        most = BUDGET * num_particles if max_particles is None else max_particles
        check_positive_int(most, "max_particles")
        if most < num_particles:
            what = f"at least num_particles, {num_particles},"
            raise ValueError(expected(what, "max_particles", most))
        self.num_particles, self.max_particles = num_particles, most
        self._at: list[Linearised] = []
        self._known: set[str] = set()
        self._rows: dict[str, int] = {}
        self._num_params = 0
        self._eps = 0.0
        self._passes = [MeanEvidence()]
        self._found: tuple[Linearised, Found] | None = None

    def more_draws(self, tolerance: float) -> int:
        """How many draws more may decide what is open; another pass over the data takes them."""
        num_draws = sum(one.num_draws for one in self._passes)
        judgements = [claim.judgement for claim in self.claims(tolerance)]
        self.num_particles = draws_to_take(judgements, num_draws, self.max_particles)
        if self.num_particles:
            self._passes.append(MeanEvidence())
        return self.num_particles

    def claims(self, tolerance: float) -> list[SiteClaim]:
        """The claims, from all batches and draws together.

        Args:
            tolerance: What counts as zero, in nats per data point.

        Raises:
            ValueError: If `tolerance` is not positive, or there has been no batch.
        """
        check_number(tolerance, "tolerance")
        if not self._at:
            raise ValueError(expected("at least one batch", "batches", "none"))
        if self._found is None:
            at = stacked(self._at)
            self._found = at, find_directions(at, solved=solved_misfit(self._eps))
        at, found = self._found
        draws = [draw for one in self._passes for draw in one.draws(at.arrays)]
        return explain(at, found, draws, tolerance=tolerance)

    def _take(self, draws: Sequence[BatchEvidence]) -> None:
        """Takes in the draws for a batch."""
        self._passes[-1].add(draws)

    def _wants_rows(self, draws: Sequence[BatchEvidence]) -> bool:
        """Whether directions are to be looked for at this batch too.

        The first ones decide, until no site needs more rows, and each one with sites or parameters
        that none before has had.
        """
        names = {name for draw in draws for name in (*draw.params, *draw.residuals)}
        is_new, self._known = not names <= self._known, self._known | names
        return len(self._passes) == 1 and (is_new or self._needs_rows(draws))

    def _needs_rows(self, draws: Sequence[BatchEvidence]) -> bool:
        inside = [n for n, parts in draws[0].residuals.items() if draws[0].plate and parts[0] != 0]
        needed = ROWS_PER_COLUMN * min(self._num_params, MAX_COLUMNS)
        return any(self._rows.get(name, 0) < needed for name in inside)

    def _take_rows(self, at: Linearised, eps: float) -> None:
        """Takes in where directions are looked for, with the spacing of its floats."""
        self._at.append(at)
        self._eps = max(self._eps, eps)
        self._num_params = max(self._num_params, sum(a.size for a in at.arrays.values()))
        for name, num in at.num_rows.items():
            self._rows[name] = self._rows.get(name, 0) + num


def shown(calls: Iterable[Arguments]) -> Iterator[Arguments]:
    """The batches, with a progress bar where they take long."""
    yield from tqdm(calls, desc="explain", unit="batch", delay=DELAY, leave=False)


def pieces(call: Arguments, is_part: bool) -> Iterator[Arguments]:
    """The parts of a batch that is a part of a larger array, else the batch.

    Example:
        >>> import numpy as np
        >>> [len(piece.args[0]) for piece in pieces(Arguments.of(np.zeros(300)), True)]
        [128, 128, 44]
    """
    if not is_part:
        yield call
        return
    (array,) = call.args
    for start in range(0, len(array), PIECE):
        yield Arguments((array[start : start + PIECE],))


def is_part(batches: Any, batch_size: int) -> bool:
    """Whether batches are parts of one array: then they may as well be smaller."""
    return hasattr(batches, "shape") and len(batches) > batch_size
