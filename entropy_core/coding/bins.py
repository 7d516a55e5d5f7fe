"""Bins of a prior, one latent variable after another where one depends on those before it."""

from collections.abc import Iterable
from math import ceil, log, log2, pi
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy import special

from entropy_core.checks import check_finite, check_positive
from entropy_core.coding.bits.search import Edge
from entropy_core.coding.symbols import both_sides

# `q` has 3e-12 of its mass further from its mean, in units of tau.
REACH = 7.0
FEWEST_BITS, DEFAULT_MOST_BITS, MOST_BITS = 8, 14, 20
# In the middle of the prior this many bins are as wide as 2.5 of the smallest tau.
BINS_OF_TAU = 64

# What a prior's components and an encoder's distributions are, for who hands over another one.
NORMALS = "a normal distribution, diagonal or with a full covariance"

Floats = NDArray[np.float64]


class Normals(NamedTuple):
    """Normal distributions of H variables.

    Args:
        loc: The means, `(B, H)`.
        scale: The standard deviations, `(B, H)`, or Cholesky factors, `(B, H, H)`.
    """

    loc: Any
    scale: Any

    @property
    def is_full(self) -> bool:
        """Whether variables depend on those before them."""
        return self.scale.ndim > self.loc.ndim

    @property
    def diagonal(self) -> Floats:
        """The standard deviation of each variable given those before it, `(B, H)`."""
        return self.scale.diagonal(0, -2, -1) if self.is_full else self.scale

    def check(self, name: str) -> None:
        """Refuses parameters that are no numbers, and scales that are not positive.

        Raises:
            ValueError: If there is one.
        """
        check_finite(self.loc, name)
        check_finite(self.scale, name)
        check_positive(self.diagonal, name)


class Mixture(NamedTuple):
    """A prior: K normal distributions and their weights; with one, no mixture.

    Args:
        log_weights: The logarithms of the weights, `(K,)`.
        components: The components, of batch size K.
    """

    log_weights: Any
    components: Normals


class Grid:
    """The bins of a prior.

    Each variable, given those before it, is cut into `2^num_bits` bins of equal mass: under a
    normal prior itself; with a mixture, under the normal distribution of its mean and variance.

    Args:
        prior: The prior.
        num_bits: The bits of a bin's number.
    """

    def __init__(self, prior: Mixture, num_bits: int) -> None:
        self.prior, self.num_bits = prior, num_bits
        self.num_bins, self.num_dims = 1 << num_bits, prior.components.loc.shape[1]
        self.is_mixture = len(prior.log_weights) > 1
        places = np.arange(self.num_bins + 1) / self.num_bins
        self.edges = special.ndtri(places)
        self.middles = special.ndtri(places[:-1] + 0.5 / self.num_bins)
        if self.is_mixture:
            self.loc, self.scale = _moments(prior)


class Walk:
    """The bins of some data points, block by block of variables that do not depend on each other.

    Args:
        grid: The bins.
        num_rows: The number of data points.
        posterior: `q` of these data points, where it is asked for.

    Attributes:
        blocks: The blocks, to go through in this order: for each one the bins are found, then put.
        z: The values in the middles of the bins that have been put, `(A, H)`.
    """

    def __init__(self, grid: Grid, num_rows: int, posterior: Normals | None = None) -> None:
        self.grid = grid
        one_by_one = grid.is_mixture or grid.prior.components.is_full
        one_by_one |= posterior is not None and posterior.is_full
        h = grid.num_dims
        self.blocks = [slice(i, i + 1) for i in range(h)] if one_by_one else [slice(0, h)]
        self.z = np.zeros((num_rows, h))
        self._prior = _Conditionals(grid.prior.components, batch=True)
        self._posterior = None if posterior is None else _Conditionals(posterior)
        self._log_weights = grid.prior.log_weights[None]

    def window(self, dims: slice) -> tuple[Int[np.ndarray, "A n"], Int[np.ndarray, "A n"]]:
        """The bins within `REACH` of the mean of `q`, at least one: from the first to before."""
        loc, scale = self._reference(dims)
        mean, tau = self._of_posterior(dims)
        ends = [
            special.ndtr((mean + side * REACH * tau - loc) / scale) * self.grid.num_bins
            for side in (-1, 1)
        ]
        first = np.floor(ends[0]).astype(np.int64).clip(0, self.grid.num_bins - 1)
        return first, np.maximum(np.ceil(ends[1]).astype(np.int64), first + 1)

    def posterior_edge(self, dims: slice) -> Edge:
        """The distribution of bins under `q`."""
        loc, scale = self._reference(dims)
        mean, tau = self._of_posterior(dims)

        def edge(i: Int[np.ndarray, "A n"]) -> tuple[Floats, Floats]:
            return both_sides((loc + scale * self.grid.edges[i] - mean) / tau, special.ndtr)

        return edge

    def prior_edge(self, dims: slice) -> Edge:
        """The distribution of bins under a mixture, given the variables before."""
        loc, scale = self._reference(dims)
        means, scales = self._prior.of(dims)
        weights = np.exp(self._log_weights)[..., None]

        def edge(i: Int[np.ndarray, "A n"]) -> tuple[Floats, Floats]:
            at = (loc + scale * self.grid.edges[i])[:, None]
            below, above = both_sides((at - means) / scales, special.ndtr)
            return (weights * below).sum(1), (weights * above).sum(1)

        return edge

    def put(self, dims: slice, bins: Int[np.ndarray, "A n"]) -> None:
        """Goes on to the next block."""
        loc, scale = self._reference(dims)
        z = self.z[:, dims] = loc + scale * self.grid.middles[bins]
        if self.grid.is_mixture:
            means, scales = self._prior.of(dims)
            log_p = self._log_weights + _log_normal(z[:, None], means, scales).sum(-1)
            self._log_weights = log_p - _log_sum_exp(log_p)[:, None]
        self._prior.put(z[:, None])
        if self._posterior is not None:
            self._posterior.put(z)

    def _reference(self, dims: slice) -> tuple[Floats, Floats]:
        if self.grid.is_mixture:
            return self.grid.loc[None, dims], self.grid.scale[None, dims]
        loc, scale = self._prior.of(dims)
        return loc[:, 0], scale[:, 0]

    def _of_posterior(self, dims: slice) -> tuple[Floats, Floats]:
        assert self._posterior is not None
        return self._posterior.of(dims)


class _Conditionals:
    # Normal distributions of each variable given those before it: `m_h + sum_j L_hj e_j, L_hh`.

    def __init__(self, normals: Normals, *, batch: bool = False) -> None:
        self._loc, self._scale = (a[None] if batch else a for a in normals)
        self._is_full = normals.is_full
        self._noise: list[Floats] = []

    def of(self, dims: slice) -> tuple[Floats, Floats]:
        if not self._is_full:
            return self._loc[..., dims], self._scale[..., dims]
        h = dims.start
        loc = self._loc[..., h]
        for j, noise in enumerate(self._noise):
            loc = loc + self._scale[..., h, j] * noise
        return loc[..., None], self._scale[..., h, h][..., None]

    def put(self, z: Floats) -> None:
        if self._is_full:
            h = len(self._noise)
            loc, scale = self.of(slice(h, h + 1))
            self._noise.append(((z - loc) / scale)[..., 0])


def choose_bits(posteriors: Iterable[Normals], prior: Mixture) -> int:
    """The bits of a bin's number, from the smallest tau of `q` beside the prior's scale."""
    is_mixture = len(prior.log_weights) > 1
    scale = _moments(prior)[1] if is_mixture else prior.components.diagonal[0]
    smallest = min(float((q.diagonal / scale).min()) for q in posteriors)
    return min(max(ceil(log2(BINS_OF_TAU / smallest)), FEWEST_BITS), DEFAULT_MOST_BITS)


def _moments(prior: Mixture) -> tuple[Float[np.ndarray, " H"], Float[np.ndarray, " H"]]:
    weights = np.exp(prior.log_weights)[:, None]
    loc, scale = prior.components
    variance = (scale**2).sum(-1) if prior.components.is_full else scale**2
    mean = (weights * loc).sum(0)
    return mean, np.sqrt((weights * (variance + (loc - mean) ** 2)).sum(0))


def _log_normal(z: Floats, loc: Floats, scale: Floats) -> Floats:
    return -0.5 * ((z - loc) / scale) ** 2 - np.log(scale) - 0.5 * log(2 * pi)


def _log_sum_exp(log_p: Floats) -> Floats:
    # Over the second axis; SciPy's takes ten times as long on small arrays.
    largest = log_p.max(1)
    return largest + np.log(np.exp(log_p - largest[:, None]).sum(1))
