"""What the draws of all batches say of a model and guide, for the claims of the theorem."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from entropy_core.checks import expected
from entropy_core.results.seen import PlateSeen, data_set_size, plates_of
from entropy_core.theory.claims import Evidence
from entropy_core.theory.directions import Array
from entropy_core.traces.plates import SEVERAL_DATA_SETS
from entropy_core.traces.records import FACTORS, Plate, SiteTerms


@dataclass(frozen=True)
class BatchEvidence:
    """What one draw for a batch says, each quantity in two parts.

    The first one is per data point, from the sites in the data plate; the second one is for the
    whole data set, from the others, and counts once however many batches there are. The arrays are
    those of either host.

    Args:
        gradient: That of the ELBO by parameter, `(2, P)`.
        residuals: The residual of each model site, `(2,)`.
        base_measures: `E_q[log h] - E_q E_p[log h]` of sites whose base measure is not constant,
            `(2,)`.
        untreated: Pairs of a site and why it has no residual, or one without an entropy in it.
        params: The names of the parameters that the draw has read.
        plate: The plate over data points.
    """

    gradient: Mapping[str, Any]
    residuals: Mapping[str, Any]
    base_measures: Mapping[str, Any]
    untreated: tuple[tuple[str, str], ...]
    params: tuple[str, ...]
    plate: Plate | None


class MeanEvidence:
    """The evidence of all batches, draw by draw, in constant memory."""

    def __init__(self) -> None:
        self._sums: list[dict[tuple[str, str], Array]] = []
        self._untreated: dict[str, str] = {}
        self._plates: dict[str, PlateSeen] = {}
        self.num_data = 0

    @property
    def num_draws(self) -> int:
        """The number of draws for each data point."""
        return len(self._sums)

    def add(self, draws: Sequence[BatchEvidence]) -> None:
        """Takes in the draws for a batch.

        Raises:
            ValueError: If no plate holds all data, and there has been a batch before.
        """
        plate = draws[0].plate
        if self.num_data and not (plate and self._plates):
            raise ValueError(SEVERAL_DATA_SETS)
        num_data = plate.size if plate else 1
        for name, seen in plates_of(plate).items():
            self._plates.setdefault(name, PlateSeen()).merge(seen)
        self.num_data += num_data
        self._sums = self._sums or [{} for _ in draws]
        for sums, draw in zip(self._sums, draws, strict=True):
            self._untreated.update(draw.untreated)
            for kind in ("gradient", "residuals", "base_measures"):
                for name, parts in getattr(draw, kind).items():
                    # A batch without the site, or the parameter, adds nothing.
                    sums[kind, name] = sums.get((kind, name), 0.0) + num_data * np.asarray(
                        parts, float
                    )

    def draws(self, arrays: Mapping[str, Array]) -> list[Evidence]:
        """The mean over all data points of each draw.

        Args:
            arrays: The parameters, in the order in which gradients are wanted.

        Raises:
            ValueError: If there has been no batch.
        """
        if not self._sums:
            raise ValueError(expected("at least one batch", "batches", "none"))
        factors = np.array([1.0, 1.0 / data_set_size(self._plates)]) / self.num_data
        means = [{key: factors @ parts for key, parts in sums.items()} for sums in self._sums]
        names = {kind: _names(means, kind) for kind in ("residuals", "base_measures")}

        def numbers(mean: Mapping[tuple[str, str], Any], kind: str) -> dict[str, float]:
            return {name: float(mean.get((kind, name), 0.0)) for name in names[kind]}

        return [
            Evidence(
                np.concatenate(
                    [mean.get(("gradient", n), np.zeros(a.size)) for n, a in arrays.items()]
                ),
                numbers(mean, "residuals"),
                numbers(mean, "base_measures"),
                self._untreated,
            )
            for mean in means
        ]


def without_claim(records: Iterable[SiteTerms]) -> list[tuple[str, str]]:
    """The factors, with the reason why the theorem claims nothing of them."""
    why = "a factor has no distribution, and so no entropy"
    return [(record.name, why) for record in records if record.role in FACTORS]


def _names(means: Iterable[Mapping[tuple[str, str], Any]], kind: str) -> list[str]:
    return list(dict.fromkeys(name for mean in means for k, name in mean if k == kind))
