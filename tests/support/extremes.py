"""Parameters far out, at which closed forms of every distribution must hold in float32."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from tests.support.helpers import last_digits

SHAPE = (1e-3, 0.4, 1.0, 2.5, 3.5, 12.0, 1e3, 1e5, 1e7)
SCALE = (1e-20, 1e-3, 1.0, 40.0, 1e15)
LOC = (-1e6, 0.0, 7.0)
LOGITS = (-100.0, -16.0, -5.0, 0.0, 1.0, 12.0, 60.0)
PROBS = (1e-30, 1e-7, 0.02, 0.5, 0.999, 1.0)
RATES = (1e-6, 0.05, 1.0, 9.0, 11.0, 300.0, 1e5, 1e7)
# The number of failures of a negative binomial distribution, and the odds.
FAILURES = (1e-3, 0.3, 0.999, 1.001, 8.0, 1e4, 1e7)
DF = (1e-2, 0.5, 3.0, 30.0, 1e4, 1e7)

SIZE = 256


class Extreme(NamedTuple):
    """A class far out.

    Args:
        make: Makes the distribution from arrays, one a parameter.
        columns: The parameters' values, of which all combinations are tried.
        alone: Whether each combination is a distribution of its own, of a class without a batch.
    """

    make: Callable[..., Any]
    columns: Sequence[Sequence[float]]
    alone: bool = False


def errors(
    extreme: Extreme,
    entropy: Callable[[Any], Any],
    cast: Callable[[Any], Any],
    precision: Callable[[type], AbstractContextManager[Any]] = nullcontext,
) -> np.ndarray:
    """How far float32's closed forms are off, in units of its last digit.

    Against float64 of the same parameters, which float32 has rounded.

    Args:
        extreme: The class.
        entropy: The host's `closed_entropy`.
        cast: Makes the host's array from NumPy's.
        precision: A context in which the host has a float type.
    """
    rows = np.array(list(product(*extreme.columns)), np.float32)
    # Of one shape for all classes, so that JAX compiles each function once.
    parts = np.split(rows, len(rows)) if extreme.alone else [np.resize(rows, (SIZE, rows.shape[1]))]

    def entropies(dtype: type) -> np.ndarray:
        with precision(dtype):
            columns = ([cast(column.astype(dtype)) for column in part.T] for part in parts)
            found = [np.asarray(entropy(extreme.make(*c))) for c in columns]
        assert {a.dtype for a in found} == {np.dtype(dtype)}
        return np.concatenate([np.atleast_1d(a) for a in found])[: len(rows)]

    assert len(rows) <= SIZE
    return last_digits(entropies(np.float32), entropies(np.float64))
