"""Data as whole numbers, and the discrete distributions that a code knows."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import DTypeLike, NDArray
from scipy import special

from entropy_core.checks import check_finite, check_inside, expected

FAMILIES = ("bernoulli", "categorical", "poisson", "logistic", "normal")
# The same in words, for who hands over another one.
CODED = (
    "a Bernoulli, categorical, Poisson, discretised logistic or discretised normal distribution "
    "of independent variables"
)
# Counts, and what is left of them above the cut, fit into 32 bits.
MOST_COUNTS = 2.0**31
LARGEST_RATE = 2.0**30
CHUNK = 1000


class Likelihood(NamedTuple):
    """Independent discrete variables of B data points.

    Args:
        family: One of `FAMILIES`; "logistic" and "normal" are densities over bins.
        arrays: The parameters: logits, `(B, D)`; logits, `(B, D, K)`; rates, `(B, D)`; locations
            and scales, `(B, D)` each.
        num_levels: The number of values of one variable, 0 for counts.
    """

    family: str
    arrays: tuple[Any, ...]
    num_levels: int

    def rows(self, num: int) -> "Likelihood":
        """Of the first data points."""
        return self._replace(arrays=tuple(array[:num] for array in self.arrays))

    @property
    def shape(self) -> tuple[int, ...]:
        """`(B, D)`."""
        return self.arrays[0].shape[:2]

    def check(self) -> None:
        """Refuses parameters that are no numbers, and rates that no count of 32 bits has.

        Raises:
            ValueError: If one is NaN or infinite, a scale is not positive, or a rate above `2^30`.
        """
        for array in self.arrays:
            check_finite(array, "decoder")
        if self.family == "poisson":
            rate = self.arrays[0]
            check_inside(rate <= LARGEST_RATE, rate, "decoder", "rates up to 2^30")
        if self.family in ("logistic", "normal"):
            scale = self.arrays[1]
            check_inside(scale > 0, scale, "decoder", "positive scales")

    def to_levels(self, x: NDArray[np.floating]) -> Int[np.ndarray, "N D"]:
        """The numbers of data, `(N, *data_shape)`.

        Raises:
            ValueError: If `values` of these numbers would be other data, or data points have
                another number of variables.
        """
        check_finite(x, "data")
        values = x[0].size // (self.num_levels if self.family == "categorical" else 1)
        if values != self.shape[1]:
            what = f"data points of the decoder's {self.shape[1]} variables"
            raise ValueError(expected(what, "data", f"shape {x.shape}"))
        numbers = np.empty((len(x), self.shape[1]), self.number_type)
        same = np.empty(x.shape, bool)
        # The data as float64, all at once, would be several times their size.
        for i in range(0, len(x), CHUNK):
            rows = slice(i, i + CHUNK)
            numbers[rows] = self._nearest(x[rows])
            same[rows] = self.values(numbers[rows], x.shape[1:], x.dtype) == x[rows]
        where = {
            "bernoulli": "0 and 1",
            "categorical": f"one-hot vectors of {self.num_levels} classes",
            "poisson": "whole numbers from 0 to 2^31",
        }.get(self.family, f"the levels k / {self.num_levels - 1}, rounded to {x.dtype}")
        check_inside(same, x, "data", where)
        return numbers

    def _nearest(self, x: NDArray[np.floating]) -> NDArray[Any]:
        if self.family == "categorical":
            return x.reshape(len(x), -1, self.num_levels).argmax(-1)
        steps = self.num_levels - 1 if self.family in ("logistic", "normal") else 1
        highest = MOST_COUNTS if self.family == "poisson" else self.num_levels - 1
        return np.rint(x.reshape(len(x), -1).astype(np.float64) * steps).clip(0, highest)

    @property
    def number_type(self) -> type[np.signedinteger]:
        """The type of the numbers of data."""
        return np.int64 if self.family == "poisson" else np.int32

    def values(
        self, numbers: Int[np.ndarray, "N D"], data_shape: tuple[int, ...], dtype: DTypeLike
    ) -> NDArray[np.floating]:
        """The data of numbers, `(N, *data_shape)`."""
        if self.family == "categorical":
            x = np.eye(self.num_levels, dtype=dtype)[numbers]
        elif self.family in ("logistic", "normal"):
            x = (numbers / (self.num_levels - 1)).astype(dtype)
        else:
            x = numbers.astype(dtype)
        return x.reshape(len(numbers), *data_shape)

    def log_prob(self, numbers: Int[np.ndarray, "B D"]) -> Float[np.ndarray, "B D"]:
        """The logarithms of the probabilities, in nats: not by way of the coder's tables."""
        if self.family == "bernoulli":
            return special.log_expit(np.where(numbers == 1, self.arrays[0], -self.arrays[0]))
        if self.family == "categorical":
            log_p = special.log_softmax(self.arrays[0], axis=-1)
            return np.take_along_axis(log_p, numbers[..., None], -1)[..., 0]
        if self.family == "poisson":
            rate = self.arrays[0]
            return special.xlogy(numbers, rate) - rate - special.gammaln(numbers + 1.0)
        return self._log_bin(numbers)

    def _log_bin(self, numbers: Int[np.ndarray, "B D"]) -> Float[np.ndarray, "B D"]:
        (loc, scale), steps = self.arrays, self.num_levels - 1
        log_cdf = special.log_expit if self.family == "logistic" else special.log_ndtr
        lower = ((numbers - 0.5) / steps - loc) / scale
        upper = ((numbers + 0.5) / steps - loc) / scale
        lower = np.where(numbers == 0, -np.inf, lower)
        upper = np.where(numbers == steps, np.inf, upper)
        # By symmetry in the lower tail, where the distribution function holds its digits.
        flip = lower + upper > 0
        low, high = np.where(flip, -upper, lower), np.where(flip, -lower, upper)
        log_low, log_high = log_cdf(low), log_cdf(high)
        with np.errstate(divide="ignore"):
            return log_high + np.log(-np.expm1(log_low - log_high))
