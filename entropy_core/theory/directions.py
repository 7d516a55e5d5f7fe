"""Directions of the parameters that do what the theorem asks for, found by least squares."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lstsq
from scipy.sparse import coo_array, csc_array, hstack
from tqdm.auto import tqdm

Array = NDArray[np.float64]

# Beyond so many columns nothing is searched; of the entries of a distribution's parameters so many
# are looked at.
MAX_COLUMNS, MAX_ROWS = 1000, 4000
# So many products are taken at once, of so many numbers.
MAX_WIDTH, MAX_NUMBERS = 256, 2**22
# The longest vectors whose entries are searched first, and by how much each stage's are longer:
# biases and rows of small nets come in the first one, and few stages reach any width.
FIRST_LENGTH, GROWTH = 64, 4
# Columns below it, relative to the largest one, are combinations of others but for rounding.
RANK = 1e-12

# Seconds before a progress bar is shown.
DELAY = 5

# Places among the parameters, and what a direction adds there.
_Column = tuple[NDArray[np.integer], Array]


class Jacobian(NamedTuple):
    """The derivatives of `R` rows of distribution parameters by `P` parameters, as products.

    Args:
        jvp: From directions of the parameters, `(P, C)`, to the changes of the rows, `(R, C)`.
        vjp: From weights of the rows, `(R,)`, to a gradient, `(P,)`.
        second: From a direction of the parameters, `(P,)`, to the second derivative of the rows
            along it, `(R,)`.
        num_rows: `R`.
    """

    jvp: Callable[[Array], Array]
    vjp: Callable[[Array], Array]
    second: Callable[[Array], Array]
    num_rows: int


@dataclass
class Direction:
    """What a direction has to do, and the best one found.

    Args:
        sites: The sites whose residuals it explains.
        target: The change of the rows, `(R,)`.
        power: The divisor of the ELBO's derivative along it.
        beta: The direction, `(P,)`.
        misfit: What is left of the target, relative to it.
        is_complete: Whether there were rows enough for all that is searched.
        curvature: The second derivative along `beta` relative to the first: a scaling by a part `s`
            is one by `s + curvature s^2 / 2`.
    """

    sites: tuple[str, ...]
    target: Array
    power: float = 1.0
    beta: Array | None = None
    misfit: float = np.inf
    is_complete: bool = True
    curvature: float = 0.0


def search(
    jacobian: Jacobian, arrays: Mapping[str, Array], wanted: Sequence[Direction], solved: float
) -> None:
    """Looks for directions by least squares, in ever larger spaces, until each is found.

    Shifts and scalings of whole arrays come first, then entries of vectors such as biases and
    scalings of rows and columns of matrices, the short ones first, and all entries at last: a
    search over all weights is ill-conditioned. A space is left out where the rows are fewer than
    twice its dimensions, since any target could be reached there.

    Args:
        jacobian: The derivatives.
        arrays: The parameters, in the order of the directions.
        wanted: The directions; all fields but the first three are set.
        solved: The relative misfit below which a direction counts as found.
    """
    seen = np.abs(jacobian.vjp(np.random.default_rng(0).standard_normal(jacobian.num_rows))) > 0
    num_seen = int(seen.sum())
    basis: csc_array | None = None
    products = np.zeros((jacobian.num_rows, 0))
    for columns in _stages(arrays, seen):
        known = [set(w.sites) for w in wanted if w.misfit <= solved]
        # Sites that only have a direction together are not looked at alone any longer.
        open_ = [w for w in wanted if not any(sites >= set(w.sites) for sites in known)]
        if not open_:
            break
        columns = columns[:, _moves(columns, seen)]
        basis = columns if basis is None else csc_array(hstack([basis, columns]))
        too_few = 2 * min(basis.shape[1], num_seen) > jacobian.num_rows
        if too_few or basis.shape[1] > MAX_COLUMNS:
            for direction in open_:
                direction.is_complete = not too_few
            break
        products = np.column_stack([products, *_products(jacobian, columns)])
        _fit(basis, products, open_)
    for direction in wanted:
        if direction.beta is not None and direction.misfit <= solved:
            change = jacobian.second(direction.beta) @ direction.target
            direction.curvature = float(change / (direction.target @ direction.target))


def width_of(num_params: int, num_rows: int) -> int:
    """How many products are taken at once."""
    return min(MAX_WIDTH, max(1, MAX_NUMBERS // (num_params + num_rows)))


def _products(jacobian: Jacobian, columns: csc_array) -> Iterator[Array]:
    size, num_columns = columns.shape
    width = width_of(size, jacobian.num_rows)
    starts = range(0, num_columns, width)
    for start in tqdm(starts, desc="directions", delay=DELAY, leave=False):
        yield jacobian.jvp(columns[:, start : start + width].toarray())


def _fit(basis: csc_array, products: Array, wanted: Sequence[Direction]) -> None:
    """Takes the best directions of a space, where they are better than those before."""
    norms = np.linalg.norm(products, axis=0)
    used = norms > 0
    if not used.any():
        return
    targets = np.column_stack([w.target for w in wanted])
    scaled = products[:, used] / norms[used]
    solution = lstsq(scaled, targets, cond=RANK, lapack_driver="gelsd")[0]
    misfits = np.linalg.norm(scaled @ solution - targets, axis=0) / np.linalg.norm(targets, axis=0)
    for i, (direction, misfit) in enumerate(zip(wanted, misfits, strict=True)):
        if misfit < direction.misfit:
            coefficients = np.zeros(len(norms))
            coefficients[used] = solution[:, i] / norms[used]
            direction.beta, direction.misfit = basis @ coefficients, float(misfit)


def solved_misfit(eps: float) -> float:
    """The relative misfit below which a direction counts as found, `eps^0.4`.

    Least squares on columns that nearly repeat each other keep half of a float's digits; a few of
    these are left for the products of derivatives.

    Args:
        eps: The distance from one to the next number of the float type.
    """
    return float(eps) ** 0.4


def sampled_rows(size: int) -> NDArray[np.integer]:
    """Which of the entries of a distribution's parameters to look at: all, or some thousand."""
    if size <= MAX_ROWS:
        return np.arange(size)
    return np.sort(np.random.default_rng(0).choice(size, MAX_ROWS, replace=False))


def _stages(arrays: Mapping[str, Array], seen: NDArray[np.bool_]) -> Iterator[csc_array]:
    """Directions to search along, ever more of them; each yields those that are new."""
    offsets = np.cumsum([0, *(array.size for array in arrays.values())])
    whole: list[_Column] = []
    units: list[list[_Column]] = []
    for array, start in zip(arrays.values(), offsets[:-1], strict=True):
        entries = start + np.arange(array.size).reshape(array.shape)
        if array.ndim <= 1:
            flat = entries.ravel()
            # Shifts of all, and of either half, where a net's output is cut in two.
            parts = [flat] if flat.size % 2 else [flat[: flat.size // 2], flat[flat.size // 2 :]]
            whole += [(part, np.ones(part.size)) for part in parts]
            units.append([(flat[[i]], np.ones(1)) for i in range(flat.size)])
        if array.size > 1:
            whole.append((entries.ravel(), array.ravel()))
        if array.ndim > 1:
            for axis, length in enumerate(array.shape):
                lines = [(entries.take(i, axis), array.take(i, axis)) for i in range(length)]
                units.append([(e.ravel(), values.ravel()) for e, values in lines])
    size = int(offsets[-1])
    yield _sparse(whole, size)
    units.sort(key=len)
    largest = FIRST_LENGTH
    while units:
        stage = [column for unit in units if len(unit) <= largest for column in unit]
        units = [unit for unit in units if len(unit) > largest]
        largest *= GROWTH
        if stage:
            yield _sparse(stage, size)
    # Where they are many, nobody searches them.
    places = np.flatnonzero(seen)[: MAX_COLUMNS + 1]
    yield _sparse([(places[[i]], np.ones(1)) for i in range(len(places))], size)


def _sparse(columns: list[_Column], size: int) -> csc_array:
    rows = np.concatenate([entries for entries, _ in columns] or [np.zeros(0, int)])
    numbers = np.repeat(np.arange(len(columns)), [len(entries) for entries, _ in columns])
    values = np.concatenate([values for _, values in columns] or [np.zeros(0)])
    return csc_array(coo_array((values, (rows, numbers)), shape=(size, len(columns))))


def _moves(columns: csc_array, seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return (abs(columns).T @ seen.astype(float)) > 0
