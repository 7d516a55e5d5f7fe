"""Exact entropies and base measures of counts, in terms of `E[log Gamma(k + a)]`.

What is left of an entropy are remainders of Stirling's formula, `S(x) = log x! - x log x + x`, and
gaps `g_a = E[log Gamma(k + a)] - log Gamma(mu + a)`, without large numbers that cancel: the results
hold in float32 and for every rate, and for negative binomials from `r = 1e-4`.
"""

import math
from typing import Any, NamedTuple, Protocol, runtime_checkable

from entropy_core.entropies.discrete import categorical_entropy, entropy_without_zero
from entropy_core.entropies.malmsten import FAR, FINE, LONG, SHORT, Count
from entropy_core.entropies.remainders import log_excess, log_rising, stirling
from entropy_core.operations import Operations

Array = Any


@runtime_checkable
class Counts(Protocol):
    """A distribution over counts; all in nats, and of its batch shape."""

    def entropy(self) -> Array:
        """`H[p]`, exact."""

    def log_base_measure(self, value: Array) -> Array:
        """`log h(v)` of `p(v) = h(v) exp(eta v - A)`."""

    def mean_log_base_measure(self) -> Array:
        """`E_p[log h(v)]`, exact."""


class Poisson(NamedTuple):
    """`H = S(mu) + g_1`, `log h(v) = -log v!`.

    Args:
        ops: The operations of the arrays.
        rate: The mean, `mu`, of any shape.
    """

    ops: Operations
    rate: Array

    def entropy(self) -> Array:
        """`H[p]`, exact."""
        return stirling(self.ops, self.rate) + self._count().gap()

    def entropy_without_zero(self) -> Array:
        """`H[p]` given that the count is not zero."""
        far = entropy_without_zero(self.ops, self.entropy(), -self.rate)
        return _few_or_many(self, self.rate, self.ops.log(self.rate), far)

    def log_base_measure(self, value: Array) -> Array:
        """`log h(v)`."""
        return -self.ops.lgamma(value + 1)

    def mean_log_base_measure(self) -> Array:
        """`E_p[log h(v)]`, exact."""
        return -self._count().log_gamma()

    def _count(self) -> Count:
        rate, rules = self.rate, (SHORT, SHORT)
        return Count(self.ops, rate, lambda v: -rate * v, self.ops.zeros_like, FAR / rate, rules)


class Binomial(NamedTuple):
    """`H = S(n p) + S(n q) - S(n) + g_1[k] + g_1[n - k]`, `log h(v) = log C(n, v)`.

    Args:
        ops: The operations of the arrays.
        n: The number of trials, of the shape of `p` or one that broadcasts to it.
        p: The probability of success.
        q: `1 - p`, with all its digits where `p` is near one.
    """

    ops: Operations
    n: Array
    p: Array
    q: Array

    def entropy(self) -> Array:
        """`H[p]`, exact."""
        ops, n = self.ops, self.ops.cast(self.n, self.p)
        gaps = _binomial(ops, n, self.p).gap() + _binomial(ops, n, self.q).gap()
        remainders = stirling(ops, n * self.p) + stirling(ops, n * self.q) - stirling(ops, n)
        return remainders + gaps

    def entropy_without_zero(self) -> Array:
        """`H[p]` given that the count is not zero."""
        ops, n = self.ops, self.ops.cast(self.n, self.p)
        # Beside one a probability has no digits left for its logarithm.
        log_q = ops.where(self.p < 0.5, ops.log1p(-ops.at_most(self.p, 0.5)), ops.log(self.q))
        log_odds = ops.log(self.p) - log_q
        far = entropy_without_zero(ops, self.entropy(), n * log_q)
        return _few_or_many(self, n * self.p, log_odds, far, n)

    def log_base_measure(self, value: Array) -> Array:
        """`log h(v)`."""
        return _log_choose(self.ops, value, self.ops.cast(self.n, value) - value)

    def mean_log_base_measure(self) -> Array:
        """`E_p[log h(v)]`, exact."""
        ops, n = self.ops, self.ops.cast(self.n, self.p)
        successes, failures = _binomial(ops, n, self.p), _binomial(ops, n, self.q)
        choices = _log_choose(ops, successes.mean, failures.mean)
        return choices - successes.gap() - failures.gap()


class Multinomial(NamedTuple):
    """`H = sum_k (S(n p_k) + g_1[k]) - S(n)`, `log h(v) = log n! - sum_k log v_k!`.

    Args:
        ops: The operations of the arrays.
        n: The number of trials, of the batch shape or one that broadcasts to it.
        p: The probabilities, of shape `(..., K)`.
    """

    ops: Operations
    n: Array
    p: Array

    def entropy(self) -> Array:
        """`H[p]`, exact."""
        ops, n = self.ops, self.ops.cast(self.n, self.p)
        mean, gaps = n[..., None] * self.p, _binomial(ops, n[..., None], self.p).gap()
        return (stirling(ops, mean) + gaps).sum(-1) - stirling(ops, n)

    def log_base_measure(self, value: Array) -> Array:
        """`log h(v)`."""
        return _log_arrangements(self.ops, value)

    def mean_log_base_measure(self) -> Array:
        """`E_p[log h(v)]`, exact."""
        ops, n = self.ops, self.ops.cast(self.n, self.p)
        counts = _binomial(ops, n[..., None], self.p)
        return _log_arrangements(ops, counts.mean) - counts.gap().sum(-1)


class NegativeBinomial(NamedTuple):
    """`H = S(mu) + S(r) - log r - S(mu + r) + log(mu + r) + g_1 - g_r` for `r >= 1`.

    Below that `H = mu log(1 + r / mu) + r log(1 + mu / r) - E[log h]`. Its base measure is
    `log h(v) = log C(v + r - 1, v)`, with `r` no natural parameter.

    Args:
        ops: The operations of the arrays.
        r: The number of failures, or the shape of the gamma distribution of the rate.
        odds: `mu / r`.
    """

    ops: Operations
    r: Array
    odds: Array

    def entropy(self) -> Array:
        """`H[p]`, exact."""
        ops, r, odds = self.ops, self.r, self.odds
        few, small, large = self._split()
        tail = odds * ops.log1p(1 / odds) + ops.log1p(odds)
        near = r * tail - small._count().mean_log_choose(small.r)
        count = large._count()
        rest = ops.log1p(odds) - stirling(ops, count.mean + large.r) + stirling(ops, large.r)
        far = stirling(ops, count.mean) + rest + count.gap_difference(large.r)
        return ops.where(few, near, far)

    def entropy_without_zero(self) -> Array:
        """`H[p]` given that the count is not zero."""
        ops, (few, small, large) = self.ops, self._split()
        log_zero, log_q = -small.r * ops.log1p(self.odds), -ops.log1p(1 / self.odds)
        rest = -ops.expm1(log_zero)
        # Of small r the base measure alone has parts of one sign, and it is zero at zero.
        weighted = small._count().mean_log_choose(small.r) + small.r * self.odds * log_q
        near = ops.log(rest) - log_zero - weighted / rest
        far = entropy_without_zero(ops, large.entropy(), -large.r * ops.log1p(self.odds))
        far = _few_or_many(large, large.r * self.odds, log_q, far)
        return ops.where(few, near, far)

    def log_base_measure(self, value: Array) -> Array:
        """`log h(v)`."""
        return log_rising(self.ops, self.r, value) - self.ops.lgamma(value + 1)

    def mean_log_base_measure(self) -> Array:
        """`E_p[log h(v)]`, exact."""
        few, small, large = self._split()
        count = large._count()
        far = _log_choose(self.ops, count.mean, large.r - 1) - count.gap_difference(large.r)
        return self.ops.where(few, small._count().mean_log_choose(small.r), far)

    def _split(self) -> tuple[Array, "NegativeBinomial", "NegativeBinomial"]:
        # Either formula has parts of one sign on its own side of r = 1.
        few = self.r < 1
        small, large = (self.ops.where(few, *pair) for pair in ((self.r, 0.5), (2.0, self.r)))
        return few, self._replace(r=small), self._replace(r=large)

    def _count(self) -> Count:
        ops, r, odds = self
        return Count(
            ops,
            r * odds,
            lambda v: -r * ops.log1p(odds * v),
            lambda v: r * log_excess(ops, -odds * v),
            # Its generating function falls slowly where r is small.
            ops.expm1(ops.at_most(FAR / r, FAR)) / odds,
            (FINE, LONG),
        )


def _few_or_many(
    counts: Any, mean: Array, eta: Array, far: Array, most: Array | float = math.inf
) -> Array:
    # Of a small mean the values beyond zero are few: those that count are one by one.
    ops, near = counts.ops, mean < 0.1
    eta = ops.where(near, eta, -3.0)
    log_weights = []
    for k in range(1, 17):
        value = ops.zeros_like(mean) + float(k)
        possible = value <= most
        log_weight = counts.log_base_measure(ops.where(possible, value, 1.0)) + k * eta
        log_weights.append(ops.where(possible, log_weight, -math.inf))
    return ops.where(near, categorical_entropy(ops, ops.stack(log_weights)), far)


def _log_choose(ops: Operations, one: Array, other: Array) -> Array:
    # log Gamma(n + 1) - log Gamma(k + 1) - log Gamma(n - k + 1), with k the smaller of the two.
    swap = one > other
    small, large = ops.where(swap, other, one), ops.where(swap, one, other)
    return log_rising(ops, large + 1, small) - ops.lgamma(small + 1)


def _log_arrangements(ops: Operations, counts: Array) -> Array:
    # One kind after another is put among those that are there.
    return _log_choose(ops, counts, counts.cumsum(-1) - counts).sum(-1)


def _binomial(ops: Operations, n: Array, p: Array) -> Count:
    top = 1 - ops.eps(p)
    return Count(
        ops,
        n * p,
        lambda v: n * ops.log1p(-ops.at_most(p * v, top)),
        lambda v: -n * log_excess(ops, p * v),
        FAR / (n * p),
        (SHORT, SHORT),
    )
