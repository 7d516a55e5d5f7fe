"""Sums over simulations, in float64: what is held does not grow with their number."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import numpy as np

from entropy_core.checks import check_positive_int, expected
from entropy_core.evaluation.simulations.guide_error import Estimate, GuideError
from entropy_core.evaluation.simulations.ranks import NUM_RANKS, count_ranks, ranks_of
from entropy_core.evaluation.simulations.scores import Scores

T = TypeVar("T")

TOTAL, ELBO, ROUNDING = "total", "elbo", "rounding"


class GuideErrorSums:
    """Adds batches of simulations up, until there are as many as were asked for.

    Args:
        num_simulations: Their number; what a last batch has more is left out.

    Raises:
        ValueError: If it is no integer from 2.

    Example:
        >>> sums, below = GuideErrorSums(3), {"z": np.full((2, 1), 0.5)}
        >>> while not sums.is_complete:
        ...     ratios = {"z": np.array([0.1, 0.3])}
        ...     sums.add(Scores(ratios, np.zeros(2), np.ones(2), below), {})
        >>> sums.guide_error().num_simulations
        3
    """

    def __init__(self, num_simulations: int) -> None:
        check_positive_int(num_simulations, "num_simulations")
        if num_simulations < 2:
            raise ValueError(expected("at least 2", "num_simulations", num_simulations))
        self.num_simulations = num_simulations
        self._count, self._infinite = 0, 0
        self._names: list[str] = []
        self._latents: dict[str, np.ndarray] = {}
        self._untreated: dict[str, str] = {}

    @property
    def is_complete(self) -> bool:
        """Whether there are as many simulations as were asked for."""
        return self._count >= self.num_simulations

    def until_complete(self, one_pass: Callable[[], Iterable[T]]) -> Iterator[T]:
        """Goes over batches again and again, until there are enough simulations.

        Args:
            one_pass: Begins a pass over the batches.

        Raises:
            ValueError: If a pass has none.
        """
        while not self.is_complete:
            before = self._count
            for batch in one_pass():
                yield batch
                if self.is_complete:
                    return
            if self._count == before:
                raise ValueError(expected("at least one batch", "batches", "none"))

    def add(self, scores: Scores, untreated: Mapping[str, str]) -> None:
        """Adds a batch of simulations.

        Args:
            scores: What was read off it, as NumPy arrays.
            untreated: The latent sites without ranks, and why.

        Raises:
            ValueError: If a density is NaN, or batches have other sites.
        """
        rows = slice(0, self.num_simulations - self._count)
        parts = {name: np.asarray(v, np.float64)[rows] for name, v in scores.sites.items()}
        # JAX has sorted them by name.
        parts = dict(
            sorted(parts.items(), key=lambda item: item[0] not in {*scores.parts, *untreated})
        )
        names = [*parts, TOTAL, ELBO, ROUNDING]
        if self._names and names != self._names:
            what = f"the sites {self._names[:-3]} in every batch"
            raise ValueError(expected(what, "batches", names[:-3]))
        with np.errstate(invalid="ignore"):
            total = np.asarray(sum(parts.values()))
        elbo = np.asarray(scores.elbo, np.float64)[rows]
        if np.isnan(total).any():
            bad = [name for name, values in parts.items() if np.isnan(values).any()]
            what = "densities that are numbers at the latents of model and guide"
            raise ValueError(expected(what, "model` and `guide", f"NaN at {bad or list(parts)}"))
        columns = [*parts.values(), total, elbo, np.asarray(scores.rounding, np.float64)[rows]]
        self._infinite += int(np.isinf(total).sum())
        self._untreated |= untreated
        self._add(names, np.stack(columns, -1))
        for name, below in scores.parts.items():
            counts = count_ranks(ranks_of(np.asarray(below)[rows]))
            self._latents[name] = self._latents.get(name, 0) + counts

    def _add(self, names: list[str], values: np.ndarray) -> None:
        # Chan et al. 1983: means and sums of squares of parts, without a difference of large sums.
        if not self._names:
            self._names = names
            self._mean, self._squares, self._endless = np.zeros((3, len(names)))
        # Where there is no density, a mean is infinite, and what else is in it does not matter.
        endless = np.isinf(values)
        self._endless += np.where(endless, values, 0.0).sum(0)
        values = np.where(endless, 0.0, values)
        mean, num = values.mean(0), len(values)
        total, shift = self._count + num, mean - self._mean
        self._squares += ((values - mean) ** 2).sum(0) + shift**2 * self._count * num / total
        self._mean += shift * num / total
        self._count = total

    def guide_error(self) -> GuideError:
        """The result of all simulations."""
        means = self._mean + self._endless
        errors = np.sqrt(self._squares / (self._count - 1) / self._count)
        errors[np.isinf(means)] = np.nan
        estimates = {
            name: Estimate(float(mean), float(error))
            for name, mean, error in zip(self._names, means, errors, strict=True)
        }
        labels = {n: [f"{n}[{h}]" for h in range(len(c))] for n, c in self._latents.items()}
        counts = list(self._latents.values())
        total, elbo, rounding = (estimates.pop(name) for name in (TOTAL, ELBO, ROUNDING))
        return GuideError(
            divergence=total.mean,
            std_error=total.error,
            elbo=elbo,
            sites=estimates,
            latents=tuple(label for names in labels.values() for label in names),
            rank_counts=np.concatenate(counts) if counts else np.zeros((0, NUM_RANKS), np.intp),
            num_simulations=self._count,
            num_infinite=self._infinite,
            rounding=rounding.mean,
            untreated=tuple(self._untreated.items()),
        )
