"""Directions of the parameters that do what the theorem asks for, found by least squares."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, hstack
from scipy.sparse.linalg import LinearOperator, lsmr

Array = NDArray[np.float64]

# Beyond them a stage's Jacobian is not written down: it is then 64 MB.
MAX_COLUMNS, MAX_ROWS = 2000, 4000
# The longest vectors whose entries are searched first, and by how much each stage's are longer:
# biases and rows of small nets come in the first one, and few stages reach any width.
FIRST_LENGTH, GROWTH = 64, 4
# Columns below it, relative to the largest one, are combinations of others but for rounding.
RANK = 1e-12
# For a search over all parameters; each product costs two passes over the net.
MAX_PRODUCTS = 1000

# Places among the parameters, and what a direction adds there.
_Column = tuple[NDArray[np.integer], Array]


class Jacobian(NamedTuple):
    """The derivatives of `R` rows of distribution parameters by `P` parameters, as products.

    Args:
        jvp: From a direction of the parameters, `(P,)`, to the change of the rows, `(R,)`.
        vjp: From weights of the rows, `(R,)`, to a gradient, `(P,)`.
        num_rows: `R`.
    """

    jvp: Callable[[Array], Array]
    vjp: Callable[[Array], Array]
    num_rows: int


@dataclass
class Direction:
    """What a direction has to do, and the best one found.

    Args:
        sites: The sites whose residuals it explains.
        target: The change of the rows, `(R,)`.
        power: The divisor of the ELBO's derivative along it.
    """

    sites: tuple[str, ...]
    target: Array
    power: float = 1.0
    beta: Array | None = None
    misfit: float = np.inf


def search(
    jacobian: Jacobian, arrays: Mapping[str, Array], wanted: Sequence[Direction], solved: float
) -> None:
    """Looks for directions by least squares, in ever larger spaces, until each is found.

    Shifts and scalings of whole arrays come first, then entries of vectors such as biases and
    scalings of rows and columns of matrices, the short ones first, and all parameters at last: a
    search over all weights is ill-conditioned. A space is left out where the rows are fewer than
    twice its dimensions, since any target could be reached there.

    Args:
        jacobian: The derivatives.
        arrays: The parameters, in the order of the directions.
        wanted: The directions; `beta` and `misfit` are set.
        solved: The relative misfit below which a direction counts as found.
    """
    seen = np.abs(jacobian.vjp(np.random.default_rng(0).standard_normal(jacobian.num_rows))) > 0
    basis: csc_array | None = None
    products = np.zeros((jacobian.num_rows, 0))
    for columns in _stages(arrays):
        open_ = [w for w in wanted if w.misfit > solved]
        if not open_:
            return
        columns = columns[:, _moves(columns, seen)]
        known = products.shape[1]
        basis = columns if basis is None else csc_array(hstack([basis, columns]))
        if basis.shape[1] > min(MAX_COLUMNS, jacobian.num_rows // 2):
            break
        found = [jacobian.jvp(basis[:, [j]].toarray()[:, 0]) for j in range(known, basis.shape[1])]
        products = np.column_stack([products, *found])
        norms = np.linalg.norm(products, axis=0)
        used = norms > 0
        targets = np.column_stack([w.target for w in open_])
        solution, *_ = np.linalg.lstsq(products[:, used] / norms[used], targets, rcond=RANK)
        fitted = (products[:, used] / norms[used]) @ solution
        for i, direction in enumerate(open_):
            misfit = np.linalg.norm(fitted[:, i] - targets[:, i]) / np.linalg.norm(targets[:, i])
            if misfit < direction.misfit:
                coefficients = np.zeros(len(norms))
                coefficients[used] = solution[:, i] / norms[used]
                direction.beta, direction.misfit = basis @ coefficients, float(misfit)
    num_seen = int(seen.sum())
    if 2 * num_seen <= jacobian.num_rows:
        for direction in (w for w in wanted if w.misfit > solved):
            _search_all(jacobian, len(seen), direction)


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


def _stages(arrays: Mapping[str, Array]) -> Iterator[csc_array]:
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


def _sparse(columns: list[_Column], size: int) -> csc_array:
    rows = np.concatenate([entries for entries, _ in columns] or [np.zeros(0, int)])
    numbers = np.repeat(np.arange(len(columns)), [len(entries) for entries, _ in columns])
    values = np.concatenate([values for _, values in columns] or [np.zeros(0)])
    return csc_array(coo_array((values, (rows, numbers)), shape=(size, len(columns))))


def _moves(columns: csc_array, seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return (abs(columns).T @ seen.astype(float)) > 0


def _search_all(jacobian: Jacobian, num_params: int, direction: Direction) -> None:
    shape = (jacobian.num_rows, num_params)
    operator = LinearOperator(shape, matvec=jacobian.jvp, rmatvec=jacobian.vjp, dtype=np.float64)
    beta = lsmr(operator, direction.target, atol=RANK, btol=RANK, maxiter=MAX_PRODUCTS)[0]
    misfit = np.linalg.norm(jacobian.jvp(beta) - direction.target) / np.linalg.norm(
        direction.target
    )
    if misfit < direction.misfit:
        direction.beta, direction.misfit = beta, float(misfit)
