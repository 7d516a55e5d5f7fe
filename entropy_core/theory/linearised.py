"""A model and guide about their parameters: what the search for directions looks at."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from entropy_core.theory.directions import Array, Jacobian


class Linearised(NamedTuple):
    """A model and guide about their parameters, at draws of the latents; rows are scaled alike.

    Args:
        sites: The sites of the model.
        arrays: The parameters by name, in the order of the directions.
        jacobian: The derivatives of all rows.
        natural: For each model site of an exponential family its natural parameters in its own
            rows, zero in all others, `(R,)`.
        rescaling: For each latent site whose prior is normal or Laplace the change of all rows when
            the guide's draws are scaled about the prior's mean and the site's children undo it,
            and the divisor of the ELBO's derivative along it.
        reasons: Why there is nothing to look for, by site.
        num_rows: The number of rows of each site.
    """

    sites: Sequence[str]
    arrays: Mapping[str, Array]
    jacobian: Jacobian
    natural: Mapping[str, Array]
    rescaling: Mapping[str, tuple[Array, float]]
    reasons: Mapping[str, str]
    num_rows: Mapping[str, int]


def stacked(parts: Sequence[Linearised]) -> Linearised:
    """The rows of batches with other sites, or other parameters, one below the other.

    A direction has to do in each batch that has its site what the theorem asks for, and may move
    nothing else in any of them.

    Args:
        parts: One or more.
    """
    if len(parts) == 1:
        return parts[0]
    arrays = {name: array for part in parts for name, array in part.arrays.items()}
    sizes = {name: array.size for name, array in arrays.items()}
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]), strict=False))
    # The places of each part's parameters among all of them.
    places = [
        np.concatenate([starts[name] + np.arange(sizes[name]) for name in part.arrays])
        for part in parts
    ]
    lengths = [part.jacobian.num_rows for part in parts]
    ends = np.cumsum(lengths)

    def jvp(directions: Array) -> Array:
        changes = [p.jacobian.jvp(directions[w]) for p, w in zip(parts, places, strict=True)]
        return np.concatenate(changes)

    def second(direction: Array) -> Array:
        changes = [p.jacobian.second(direction[w]) for p, w in zip(parts, places, strict=True)]
        return np.concatenate(changes)

    def vjp(weights: Array) -> Array:
        gradient = np.zeros(sum(sizes.values()))
        for part, where, rows in zip(parts, places, np.split(weights, ends[:-1]), strict=True):
            gradient[where] += part.jacobian.vjp(rows)
        return gradient

    def rows_of(found: Sequence[Array | None]) -> Array:
        # A batch without the site has nothing of it to move.
        pairs = zip(found, lengths, strict=True)
        return np.concatenate([np.zeros(num) if rows is None else rows for rows, num in pairs])

    sites = list(dict.fromkeys(name for part in parts for name in part.sites))
    reasons = {name: why for part in parts for name, why in part.reasons.items()}
    natural, rescaling = {}, {}
    for name in sites:
        having = [part for part in parts if name in part.sites]
        if all(name in part.natural for part in having):
            natural[name] = rows_of([part.natural.get(name) for part in parts])
        powers = {part.rescaling[name][1] for part in having if name in part.rescaling}
        if all(name in part.rescaling for part in having) and len(powers) == 1:
            changes = [part.rescaling.get(name, (None,))[0] for part in parts]
            rescaling[name] = rows_of(changes), powers.pop()
    jacobian = Jacobian(jvp, vjp, second, int(ends[-1]))
    num_rows: dict[str, int] = {}
    for part in parts:
        for name, num in part.num_rows.items():
            num_rows[name] = num_rows.get(name, 0) + num
    return Linearised(sites, arrays, jacobian, natural, rescaling, reasons, num_rows)
