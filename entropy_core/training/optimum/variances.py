"""Variances of normal sites in closed form, from one pass over a data set."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from entropy_core.checks import expected
from entropy_core.traces.plates import SEVERAL_DATA_SETS
from entropy_core.traces.records import Plate, SiteTerms

Array = NDArray[np.float64]

# The library's parts call the logarithm of a variance so, behind the name of the part.
NAME = "log_variance"
# By how much the derivative of a scale may differ from half the scale, in units of rounding.
ROUNDING = 100.0


class ClosedForm(NamedTuple):
    """Variances that were set in closed form.

    Args:
        params: The parameters with their new values, by name: logarithms of variances.
        sites: The sites whose variance each one is.
    """

    params: Mapping[str, Any]
    sites: Mapping[str, tuple[str, ...]]


class Response(NamedTuple):
    """What a site does where a log-variance is raised, all entries of it alike.

    Args:
        scale: The scale of a normal distribution; `None` of any other.
        change: That of the scale.
        others: The largest change of what else there is: its location, or its log-density where it
            is no normal distribution.
    """

    scale: Array | None
    change: Array
    others: float


def sites_of(
    responses: Mapping[str, Response], param: Any, eps: float, *, model: Iterable[str]
) -> tuple[str, ...]:
    """The sites whose variance a parameter is; none, where it does anything besides.

    A normal site of scale `exp(l / 2)` has `d scale / d l = scale / 2`, and a location that stays.

    Args:
        responses: What each site does, the guide's under a name that is none of the model's.
        param: The log-variance.
        eps: The distance from one to the next number of the float type.
        model: The names of the model's sites in the plate over data points.
    """
    found, names, wanted = [], set(model), np.exp(np.asarray(param, float) / 2)
    for name, response in responses.items():
        moved = response.others > 0 or bool(np.abs(response.change).max(initial=0.0) > 0)
        if not moved:
            continue
        if name not in names or response.scale is None or response.others > 0:
            return ()
        off = np.maximum(
            np.abs(response.scale - wanted), np.abs(response.change - response.scale / 2)
        )
        # A shape that does not fit has a derivative that is infinite.
        if not (off <= ROUNDING * eps * wanted).all():
            return ()
        found.append(name)
    return tuple(found)


class VarianceSums:
    """The squares and counts of all batches, by parameter.

    `sigma^2 = sum w E_q (v - loc)^2 / sum w` over the sites and observed elements that share it,
    with the weight `w` that an element has in the loss (Damm et al. 2023, Eq. 76).
    """

    def __init__(self) -> None:
        self._sums: dict[str, Array] = {}
        self._counts: dict[str, Array] = {}
        self._plates = [True]

    def check(self, plate: Plate | None) -> None:
        """Takes note of a batch.

        Raises:
            ValueError: If no plate holds all data, and there has been a batch before.
        """
        if len(self._plates) > 1 and not (plate and all(self._plates)):
            raise ValueError(SEVERAL_DATA_SETS)
        self._plates.append(plate is not None)

    def add(self, name: str, sums: Any, counts: Any) -> None:
        """Adds what a site of a batch has, of the shape of the parameter."""
        self._sums[name] = self._sums.get(name, 0.0) + np.asarray(sums, float)
        self._counts[name] = self._counts.get(name, 0.0) + np.asarray(counts, float)

    def log_variances(self, before: Mapping[str, Any]) -> dict[str, Array]:
        """The logarithms of the variances.

        Args:
            before: The ones so far: an entry that no observation tells of stays as it was.

        Raises:
            ValueError: If there is no variance to set, or one is not finite, or zero.
        """
        if not self._sums:
            what = "a log-variance of a normal site, such as NormalDecoder and NormalPrior have,"
            raise ValueError(expected(what, "model", "none"))
        found = {}
        for name, sums in self._sums.items():
            counts, old = self._counts[name], np.asarray(before[name], float)
            seen = counts > 0
            mean = np.where(seen, sums, 1.0) / np.where(seen, counts, 1.0)
            if not (np.isfinite(mean).all() and (mean > 0).all()):
                got = mean[~(np.isfinite(mean) & (mean > 0))][:1].tolist()
                raise ValueError(expected("positive variances", name, got))
            found[name] = np.where(seen, np.log(mean), old)
        return found


def weight_of(record: SiteTerms, plate: Plate | None) -> Any:
    """What an element of a site counts in the loss of all data, each data point once."""
    scale = record.handler_scale
    for other in record.plates:
        if other != plate:
            scale = scale * (other.full_size / other.size)
    return scale


def in_plate(records: Sequence[SiteTerms], plate: Plate | None) -> dict[str, SiteTerms]:
    """The records of the model's sites in the plate over data points, by name."""
    return {
        record.name: record
        for record in records
        if record.role in ("prior", "decoder") and (plate is None or plate in record.plates)
    }
