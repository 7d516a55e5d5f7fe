"""Exact entropies and base measures of counts, each by one short quadrature.

A sum over the support would grow with the rate. Instead each `E[log Gamma(k + a)]` comes from the
probability generating function `G(u) = E[u^k]`, by Malmsten's formula for `log Gamma` (Whittaker
and Watson 1927, Sec. 12.31) with `exp(-t) = 1 - v`:

    E[log Gamma(k + a)] - log Gamma(mu + a)
        = int_0^1 (1 - v)^(a - 1) (G(1 - v) - (1 - v)^mu) / (-v log(1 - v)) dv

and what is left of an entropy are remainders of Stirling's formula, without large numbers that
cancel: the results hold in float32 and for every rate, and for negative binomials from `r = 1e-4`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import lax, nn
from jax.scipy.special import gammaln, xlogy
from jaxtyping import Array
from numpyro.distributions import Distribution

from numpyro_entropy.nets.mlp import AnyArray, as_floats

Function = Callable[[Array], Array]
Rule = tuple[np.ndarray, np.ndarray]


class _Count(NamedTuple):
    """A distribution over counts: what the integral asks for.

    Args:
        mean: The mean, `mu`.
        log_pgf: `log G(1 - v)`.
        bend: `log G(1 - v) + mu v`, which goes as `v^2` for small `v`.
        width: The largest `v` for which `G(1 - v)` counts.
        rules: The nodes, as `log(1 - v)`, and the weights of the quadrature for `a = 1`, and those
            for smaller ones.
    """

    mean: Array
    log_pgf: Function
    bend: Function
    width: Array
    rules: tuple[Rule, Rule]

    def log_gamma(self, a: Array | float = 1.0) -> Array:
        """`E[log Gamma(k + a)]`."""
        return gammaln(self.mean + a) + self.gap(a)

    def gap(self, a: Array | float = 1.0) -> Array:
        """`E[log Gamma(k + a)] - log Gamma(mu + a)`."""
        mean = self.mean
        rule = self.rules[isinstance(a, Array)]
        rest, weight = (jnp.asarray(c, mean.dtype).reshape(-1, *[1] * mean.ndim) for c in rule)
        width = lax.stop_gradient(jnp.minimum(self.width, 1))
        v = -jnp.expm1(rest) * width
        # At full width `v` rounds to one long before `log(1 - v)` is done.
        log_rest = jnp.where(width < 1, jnp.log1p(-jnp.minimum(v, 1 - _eps(v))), rest)
        log_power = mean * log_rest
        excess = mean * _phi(v, log_rest) + self.bend(v)
        near = excess < 1
        difference = jnp.where(
            near,
            jnp.exp(log_power) * jnp.expm1(jnp.where(near, excess, 0)),
            jnp.exp(self.log_pgf(v)) - jnp.exp(log_power),
        )
        kernel = jnp.exp(rest + (a - 1) * log_rest) / -log_rest
        return (weight * kernel * difference).sum(0)


def counts_entropy(fn: Distribution) -> Array | None:
    """The entropy of a Poisson, (negative) binomial or multinomial distribution, else `None`.

    With Stirling's remainder `S(x) = log x! - x log x + x` and the gaps `g_a` of the module's
    integral: Poisson `S(mu) + g_1`; binomial `S(n p) + S(n q) - S(n) + g_1[k] + g_1[n - k]`;
    negative binomial `S(mu) + S(r) - log r - S(mu + r) + log(mu + r) + g_1 - g_r`.
    Shape: the batch shape of `fn`; units: nats.

    Example:
        >>> counts_entropy(dist.Poisson(1.0)).item()
        1.3048...
    """
    if isinstance(fn, dist.Poisson):
        rate = as_floats(fn.rate)
        return _stirling(rate) + _poisson(rate).gap()
    if isinstance(fn, dist.BinomialProbs | dist.BinomialLogits):
        n, p, q = _binomial_parameters(fn)
        gaps = _binomial(n, p).gap() + _binomial(n, q).gap()
        return _stirling(n * p) + _stirling(n * q) - _stirling(n) + gaps
    if isinstance(fn, dist.MultinomialProbs | dist.MultinomialLogits):
        n, p = _multinomial_parameters(fn)
        gaps = _binomial(n[..., None], p).gap()
        return (_stirling(n[..., None] * p) + gaps).sum(-1) - _stirling(n)
    if isinstance(fn, dist.GammaPoisson):
        r, odds = _negative_binomial_parameters(fn)
        counts = _negative_binomial(r, odds)
        rest = jnp.log1p(odds) - _stirling(counts.mean + r) + _stirling(r)
        return _stirling(counts.mean) + rest + counts.gap() - counts.gap(r)
    return None


def counts_log_base_measure(fn: Distribution, value: AnyArray) -> Array | None:
    """`log h(v)` of a distribution of counts with known number of trials, else `None`.

    Poisson `-log v!`; binomial `log C(n, v)`; multinomial `log n! - sum_k log v_k!`; negative
    binomial `log C(v + r - 1, v)`, with `r` no natural parameter. Shape: that of a log-probability;
    units: nats.

    Example:
        >>> counts_log_base_measure(dist.Poisson(1.0), jnp.array(3)).item()
        -1.7917...
    """
    value = as_floats(value)
    factorial = gammaln(value + 1)
    if isinstance(fn, dist.Poisson):
        return -factorial
    if isinstance(fn, dist.BinomialProbs | dist.BinomialLogits):
        n = jnp.asarray(fn.total_count, value.dtype)
        return gammaln(n + 1) - factorial - gammaln(n - value + 1)
    if isinstance(fn, dist.MultinomialProbs | dist.MultinomialLogits):
        return gammaln(jnp.asarray(fn.total_count, value.dtype) + 1) - factorial.sum(-1)
    if isinstance(fn, dist.GammaPoisson):
        r, _ = _negative_binomial_parameters(fn)
        return gammaln(value + r) - gammaln(r) - factorial
    return None


def counts_mean_log_base_measure(fn: Distribution) -> Array | None:
    """`E_p[log h(v)]` of a distribution of counts, exact, else `None`.

    Shape: the batch shape of `fn`; units: nats.

    Example:
        >>> counts_mean_log_base_measure(dist.Poisson(1.0)).item()
        -0.3048...
    """
    if isinstance(fn, dist.Poisson):
        return -_poisson(as_floats(fn.rate)).log_gamma()
    if isinstance(fn, dist.BinomialProbs | dist.BinomialLogits):
        n, p, q = _binomial_parameters(fn)
        return gammaln(n + 1) - _binomial(n, p).log_gamma() - _binomial(n, q).log_gamma()
    if isinstance(fn, dist.MultinomialProbs | dist.MultinomialLogits):
        n, p = _multinomial_parameters(fn)
        return gammaln(n + 1) - _binomial(n[..., None], p).log_gamma().sum(-1)
    if isinstance(fn, dist.GammaPoisson):
        r, odds = _negative_binomial_parameters(fn)
        counts = _negative_binomial(r, odds)
        return counts.log_gamma(r) - gammaln(r) - counts.log_gamma()
    return None


def _binomial_parameters(fn: Distribution) -> tuple[Array, Array, Array]:
    if isinstance(fn, dist.BinomialLogits):
        # Both from the logits: 1 - p of a p near one has no digits left.
        p, q = nn.sigmoid(as_floats(fn.logits)), nn.sigmoid(-as_floats(fn.logits))
    else:
        p, q = as_floats(fn.probs), 1 - as_floats(fn.probs)
    return jnp.asarray(fn.total_count, p.dtype), p, q


def _multinomial_parameters(fn: Distribution) -> tuple[Array, Array]:
    p = as_floats(fn.probs)
    return jnp.asarray(fn.total_count, p.dtype), p


def _negative_binomial_parameters(fn: dist.GammaPoisson) -> tuple[Array, Array]:
    return as_floats(fn.concentration), 1 / as_floats(fn.rate)


def _poisson(rate: Array) -> _Count:
    return _Count(rate, lambda v: -rate * v, jnp.zeros_like, _FAR / rate, (_SHORT, _SHORT))


def _binomial(n: Array, p: Array) -> _Count:
    mean = n * p
    top = 1 - _eps(p)
    return _Count(
        mean,
        lambda v: n * jnp.log1p(-jnp.minimum(p * v, top)),
        lambda v: -n * _phi_of(p * v),
        _FAR / mean,
        (_SHORT, _SHORT),
    )


def _negative_binomial(r: Array, odds: Array) -> _Count:
    mean = r * odds
    return _Count(
        mean,
        lambda v: -r * jnp.log1p(odds * v),
        lambda v: r * _phi_of(-odds * v),
        # Its generating function falls slowly where r is small.
        jnp.expm1(jnp.minimum(_FAR / r, _FAR)) / odds,
        (_FINE, _LONG),
    )


def _phi(x: Array, log_rest: Array) -> Array:
    # -x - log(1 - x), which is x^2 / 2 near zero.
    near = jnp.abs(x) < 0.03
    small = jnp.where(near, x, 0.0)
    series = jnp.zeros_like(x)
    for n in range(10, 1, -1):
        series = series * small + 1 / n
    return jnp.where(near, series * small**2, -x - log_rest)


def _phi_of(x: Array) -> Array:
    return _phi(x, jnp.log1p(-jnp.minimum(x, 1 - _eps(x))))


def _stirling(x: Array) -> Array:
    # log x! - x log x + x
    far = x > 10
    small, large = jnp.where(far, 1.0, x), jnp.where(far, x, 10.0)
    series = jnp.zeros_like(x)
    for coefficient in _STIRLING:
        series = series / large**2 + coefficient
    series = 0.5 * jnp.log(2 * jnp.pi * large) + series / large
    return jnp.where(far, series, gammaln(small + 1) - xlogy(small, small) + small)


def _eps(x: Array) -> float:
    return float(jnp.finfo(x.dtype).eps)


# Where exp(-x) has no digits left for the sum.
_FAR = 45.0
# B_2n / (2n (2n - 1)), the last one first.
_STIRLING = (-691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)


def _quadrature(stop: float, num: int) -> Rule:
    # The tanh-sinh rule v = 1 / (1 + exp(-pi sinh t)) (Takahasi and Mori 1974).
    t, step = np.linspace(-3.1, stop, num, retstep=True)
    return -np.logaddexp(0, np.pi * np.sinh(t)), step * np.pi * np.cosh(t)


_SHORT = _quadrature(3.1, 64)
# A small r makes a singularity at v = 1, and large odds one close to zero.
_FINE, _LONG = _quadrature(3.1, 108), _quadrature(12.5, 270)
