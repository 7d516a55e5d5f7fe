"""Exact entropies and base measures of Pyro's distributions of counts.

The formulas are in `entropy_core.entropies.counts`; here their parameters are read off the host's
classes.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributions as td
from pyro.distributions import GammaPoisson
from torch import Tensor
from torch.distributions import Distribution

from entropy_core.entropies.counts import Binomial, Counts, Multinomial, NegativeBinomial, Poisson
from pyro_entropy.entropies.families import family
from pyro_entropy.operations import OPERATIONS


def counts_entropy(fn: Distribution, value: Tensor | None = None) -> Tensor | None:
    """The entropy of a Poisson, (negative) binomial or multinomial distribution, else `None`.

    With Stirling's remainder `S(x) = log x! - x log x + x` and the gaps `g_a` of the core's
    integral: Poisson `S(mu) + g_1`; binomial `S(n p) + S(n q) - S(n) + g_1[k] + g_1[n - k]`;
    negative binomial `S(mu) + S(r) - log r - S(mu + r) + log(mu + r) + g_1 - g_r`.
    Shape: the batch shape of `fn`; units: nats.

    Example:
        >>> counts_entropy(td.Poisson(torch.tensor(1.0))).item()
        1.3048...
    """
    counts = _counts_of(fn, value)
    return None if counts is None else counts.entropy()


def counts_log_base_measure(fn: Distribution, value: Tensor) -> Tensor | None:
    """`log h(v)` of a distribution of counts with known number of trials, else `None`.

    Poisson `-log v!`; binomial `log C(n, v)`; multinomial `log n! - sum_k log v_k!`; negative
    binomial `log C(v + r - 1, v)`, with `r` no natural parameter. Shape: that of a log-probability;
    units: nats.

    Example:
        >>> counts_log_base_measure(td.Poisson(torch.tensor(1.0)), torch.tensor(3.0)).item()
        -1.7917...
    """
    counts = _counts_of(fn)
    if counts is None:
        return None
    # Observed counts may be integers.
    value = value if value.is_floating_point() else value.to(torch.get_default_dtype())
    return counts.log_base_measure(value)


def counts_mean_log_base_measure(fn: Distribution, value: Tensor | None = None) -> Tensor | None:
    """`E_p[log h(v)]` of a distribution of counts, exact, else `None`.

    Shape: the batch shape of `fn`; units: nats.

    Example:
        >>> counts_mean_log_base_measure(td.Poisson(torch.tensor(1.0))).item()
        -0.3048...
    """
    counts = _counts_of(fn, value)
    return None if counts is None else counts.mean_log_base_measure()


def _counts_of(fn: Distribution, value: Tensor | None = None) -> Counts | None:
    read = family(fn, _COUNTS)
    counts = None if read is None else read(fn)
    if isinstance(counts, Multinomial) and value is not None:
        # The host's density takes the number of trials from the value.
        return counts._replace(n=value.sum(-1))
    return counts


def _binomial(fn: Any) -> Counts:
    # Both from the logits: 1 - p of a p near one has no digits left.
    p, q = torch.sigmoid(fn.logits), torch.sigmoid(-fn.logits)
    return Binomial(OPERATIONS, fn.total_count, p, q)


def _gamma_poisson(fn: Any) -> Counts:
    return NegativeBinomial(OPERATIONS, fn.concentration, 1 / fn.rate)


_COUNTS: dict[type, Callable[[Any], Counts]] = {
    GammaPoisson: _gamma_poisson,
    td.Binomial: _binomial,
    td.Multinomial: lambda fn: Multinomial(OPERATIONS, fn.total_count, fn.probs),
    td.NegativeBinomial: lambda fn: NegativeBinomial(
        OPERATIONS, fn.total_count, torch.exp(fn.logits)
    ),
    td.Poisson: lambda fn: Poisson(OPERATIONS, fn.rate),
}
