"""Exact entropies and base measures of counts, in terms of `E[log Gamma(k + a)]`.

What is left of an entropy are remainders of Stirling's formula, `S(x) = log x! - x log x + x`, and
gaps `g_a = E[log Gamma(k + a)] - log Gamma(mu + a)`, without large numbers that cancel: the results
hold in float32 and for every rate, and for negative binomials from `r = 1e-4`.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from entropy_core.operations import Operations
from entropy_core.theory.malmsten import FAR, FINE, LONG, SHORT, Count, log_excess, stirling

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

    def log_base_measure(self, value: Array) -> Array:
        """`log h(v)`."""
        lgamma, n = self.ops.lgamma, self.ops.cast(self.n, value)
        return lgamma(n + 1) - lgamma(value + 1) - lgamma(n - value + 1)

    def mean_log_base_measure(self) -> Array:
        """`E_p[log h(v)]`, exact."""
        ops, n = self.ops, self.ops.cast(self.n, self.p)
        successes, failures = _binomial(ops, n, self.p), _binomial(ops, n, self.q)
        return ops.lgamma(n + 1) - successes.log_gamma() - failures.log_gamma()


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
        lgamma, n = self.ops.lgamma, self.ops.cast(self.n, value)
        return lgamma(n + 1) - lgamma(value + 1).sum(-1)

    def mean_log_base_measure(self) -> Array:
        """`E_p[log h(v)]`, exact."""
        ops, n = self.ops, self.ops.cast(self.n, self.p)
        return ops.lgamma(n + 1) - _binomial(ops, n[..., None], self.p).log_gamma().sum(-1)


class NegativeBinomial(NamedTuple):
    """`H = S(mu) + S(r) - log r - S(mu + r) + log(mu + r) + g_1 - g_r`.

    Its base measure is `log h(v) = log C(v + r - 1, v)`, with `r` no natural parameter.

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
        ops, r, count = self.ops, self.r, self._count()
        rest = ops.log1p(self.odds) - stirling(ops, count.mean + r) + stirling(ops, r)
        return stirling(ops, count.mean) + rest + count.gap() - count.gap(r)

    def log_base_measure(self, value: Array) -> Array:
        """`log h(v)`."""
        lgamma = self.ops.lgamma
        return lgamma(value + self.r) - lgamma(self.r) - lgamma(value + 1)

    def mean_log_base_measure(self) -> Array:
        """`E_p[log h(v)]`, exact."""
        count = self._count()
        return count.log_gamma(self.r) - self.ops.lgamma(self.r) - count.log_gamma()

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
