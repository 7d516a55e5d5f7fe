"""Exact entropies and base measures of counts, each by one short quadrature.

A sum over the support would grow with the rate. Instead each `E[log Gamma(k + a)]` comes from the
probability generating function `G(u) = E[u^k]`, by Malmsten's formula for `log Gamma` (Whittaker
and Watson 1927, Sec. 12.31) with `exp(-t) = 1 - v`:

    E[log Gamma(k + a)] - log Gamma(mu + a)
        = int_0^1 (1 - v)^(a - 1) (G(1 - v) - (1 - v)^mu) / (-v log(1 - v)) dv

and what is left of an entropy are remainders of Stirling's formula, without large numbers that
cancel: the results hold in float32 and for every rate, and for negative binomials from `r = 1e-4`.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributions as td
from pyro.distributions import GammaPoisson
from torch import Tensor
from torch.distributions import Distribution

Function = Callable[[Tensor], Tensor]
Rule = tuple[list[float], list[float]]


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

    mean: Tensor
    log_pgf: Function
    bend: Function
    width: Tensor
    rules: tuple[Rule, Rule]

    def log_gamma(self, a: Tensor | float = 1.0) -> Tensor:
        """`E[log Gamma(k + a)]`."""
        return torch.lgamma(self.mean + a) + self.gap(a)

    def gap(self, a: Tensor | float = 1.0) -> Tensor:
        """`E[log Gamma(k + a)] - log Gamma(mu + a)`."""
        width = self.width.detach().clamp(max=1.0)
        # One node after another stays in the processor's cache.
        total = torch.zeros_like(self.mean)
        rule = self.rules[isinstance(a, Tensor)]
        for rest, weight in zip(*rule, strict=True):
            total = total + weight * self._integrand(a, rest, width)
        return total

    def _integrand(self, a: Tensor | float, rest: float, width: Tensor) -> Tensor:
        v = -math.expm1(rest) * width
        # At full width `v` rounds to one long before `log(1 - v)` is done.
        log_rest = torch.where(width < 1, torch.log1p(-v.clamp(max=1 - _eps(v))), rest)
        log_power = self.mean * log_rest
        excess = self.mean * _phi(v, log_rest) + self.bend(v)
        near = excess < 1
        difference = torch.where(
            near,
            torch.exp(log_power) * torch.expm1(torch.where(near, excess, 0.0)),
            torch.exp(self.log_pgf(v)) - torch.exp(log_power),
        )
        return torch.exp(rest + (a - 1) * log_rest) / -log_rest * difference


def counts_entropy(fn: Distribution) -> Tensor | None:
    """The entropy of a Poisson, (negative) binomial or multinomial distribution, else `None`.

    With Stirling's remainder `S(x) = log x! - x log x + x` and the gaps `g_a` of the module's
    integral: Poisson `S(mu) + g_1`; binomial `S(n p) + S(n q) - S(n) + g_1[k] + g_1[n - k]`;
    negative binomial `S(mu) + S(r) - log r - S(mu + r) + log(mu + r) + g_1 - g_r`.
    Shape: the batch shape of `fn`; units: nats.

    Example:
        >>> counts_entropy(td.Poisson(torch.tensor(1.0))).item()
        1.3048...
    """
    if isinstance(fn, td.Poisson):
        return _stirling(fn.rate) + _poisson(fn.rate).gap()
    if isinstance(fn, td.Binomial):
        n, p, q = _binomial_parameters(fn)
        gaps = _binomial(n, p).gap() + _binomial(n, q).gap()
        return _stirling(n * p) + _stirling(n * q) - _stirling(n) + gaps
    if isinstance(fn, td.Multinomial):
        n, p = fn.probs.new_tensor(fn.total_count), fn.probs
        return (_stirling(n * p) + _binomial(n, p).gap()).sum(-1) - _stirling(n)
    if isinstance(fn, td.NegativeBinomial | GammaPoisson):
        r, odds = _negative_binomial_parameters(fn)
        counts = _negative_binomial(r, odds)
        rest = torch.log1p(odds) - _stirling(counts.mean + r) + _stirling(r)
        return _stirling(counts.mean) + rest + counts.gap() - counts.gap(r)
    return None


def counts_log_base_measure(fn: Distribution, value: Tensor) -> Tensor | None:
    """`log h(v)` of a distribution of counts with known number of trials, else `None`.

    Poisson `-log v!`; binomial `log C(n, v)`; multinomial `log n! - sum_k log v_k!`; negative
    binomial `log C(v + r - 1, v)`, with `r` no natural parameter. Shape: that of a log-probability;
    units: nats.

    Example:
        >>> counts_log_base_measure(td.Poisson(torch.tensor(1.0)), torch.tensor(3.0)).item()
        -1.7917...
    """
    factorial = torch.lgamma(value + 1)
    if isinstance(fn, td.Poisson):
        return -factorial
    if isinstance(fn, td.Binomial):
        n = fn.total_count
        return torch.lgamma(n + 1) - factorial - torch.lgamma(n - value + 1)
    if isinstance(fn, td.Multinomial):
        return math.lgamma(fn.total_count + 1) - factorial.sum(-1)
    if isinstance(fn, td.NegativeBinomial | GammaPoisson):
        r, _ = _negative_binomial_parameters(fn)
        return torch.lgamma(value + r) - torch.lgamma(r) - factorial
    return None


def counts_mean_log_base_measure(fn: Distribution) -> Tensor | None:
    """`E_p[log h(v)]` of a distribution of counts, exact, else `None`.

    Shape: the batch shape of `fn`; units: nats.

    Example:
        >>> counts_mean_log_base_measure(td.Poisson(torch.tensor(1.0))).item()
        -0.3048...
    """
    if isinstance(fn, td.Poisson):
        return -_poisson(fn.rate).log_gamma()
    if isinstance(fn, td.Binomial):
        n, p, q = _binomial_parameters(fn)
        return torch.lgamma(n + 1) - _binomial(n, p).log_gamma() - _binomial(n, q).log_gamma()
    if isinstance(fn, td.Multinomial):
        n = fn.probs.new_tensor(fn.total_count)
        return torch.lgamma(n + 1) - _binomial(n, fn.probs).log_gamma().sum(-1)
    if isinstance(fn, td.NegativeBinomial | GammaPoisson):
        r, odds = _negative_binomial_parameters(fn)
        counts = _negative_binomial(r, odds)
        return counts.log_gamma(r) - torch.lgamma(r) - counts.log_gamma()
    return None


def _binomial_parameters(fn: Any) -> tuple[Tensor, Tensor, Tensor]:
    # Both from the logits: 1 - p of a p near one has no digits left.
    p = torch.sigmoid(fn.logits)
    return fn.total_count.to(p.dtype), p, torch.sigmoid(-fn.logits)


def _negative_binomial_parameters(fn: Any) -> tuple[Tensor, Tensor]:
    if isinstance(fn, td.NegativeBinomial):
        return fn.total_count, torch.exp(fn.logits)
    return fn.concentration, 1 / fn.rate


def _poisson(rate: Tensor) -> _Count:
    return _Count(rate, lambda v: -rate * v, torch.zeros_like, _FAR / rate, (_SHORT, _SHORT))


def _binomial(n: Tensor, p: Tensor) -> _Count:
    mean = n * p
    top = 1 - _eps(p)
    return _Count(
        mean,
        lambda v: n * torch.log1p(-(p * v).clamp(max=top)),
        lambda v: -n * _phi_of(p * v),
        _FAR / mean,
        (_SHORT, _SHORT),
    )


def _negative_binomial(r: Tensor, odds: Tensor) -> _Count:
    mean = r * odds
    return _Count(
        mean,
        lambda v: -r * torch.log1p(odds * v),
        lambda v: r * _phi_of(-odds * v),
        # Its generating function falls slowly where r is small.
        torch.expm1((_FAR / r).clamp(max=_FAR)) / odds,
        (_FINE, _LONG),
    )


def _phi(x: Tensor, log_rest: Tensor) -> Tensor:
    # -x - log(1 - x), which is x^2 / 2 near zero.
    near = x.abs() < 0.03
    small = torch.where(near, x, 0.0)
    series = torch.zeros_like(x)
    for n in range(10, 1, -1):
        series = series * small + 1 / n
    return torch.where(near, series * small**2, -x - log_rest)


def _phi_of(x: Tensor) -> Tensor:
    return _phi(x, torch.log1p(-x.clamp(max=1 - _eps(x))))


def _stirling(x: Tensor) -> Tensor:
    # log x! - x log x + x
    far = x > 10
    small, large = torch.where(far, 1.0, x), torch.where(far, x, 10.0)
    series = torch.zeros_like(x)
    for coefficient in _STIRLING:
        series = series / large**2 + coefficient
    series = 0.5 * torch.log(2 * math.pi * large) + series / large
    return torch.where(far, series, torch.lgamma(small + 1) - torch.xlogy(small, small) + small)


def _eps(x: Tensor) -> float:
    return torch.finfo(x.dtype).eps


# Where exp(-x) has no digits left for the sum.
_FAR = 45.0
# B_2n / (2n (2n - 1)), the last one first.
_STIRLING = (-691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)


def _quadrature(stop: float, num: int) -> Rule:
    # The tanh-sinh rule v = 1 / (1 + exp(-pi sinh t)) (Takahasi and Mori 1974).
    t, step = np.linspace(-3.1, stop, num, retstep=True)
    nodes, weights = -np.logaddexp(0, np.pi * np.sinh(t)), step * np.pi * np.cosh(t)
    return nodes.tolist(), weights.tolist()


_SHORT = _quadrature(3.1, 64)
# A small r makes a singularity at v = 1, and large odds one close to zero.
_FINE, _LONG = _quadrature(3.1, 108), _quadrature(12.5, 270)
