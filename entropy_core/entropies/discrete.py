"""Entropies of distributions over few values, and of a geometric one.

Each takes the parameter that its caller was given, so that a probability beside zero or one keeps
its digits. Units: nats.
"""

from typing import Any

from entropy_core.operations import Operations

Array = Any


def bernoulli_entropy(ops: Operations, logits: Array) -> Array:
    """`-p log p - (1 - p) log(1 - p)` from logits `l`.

    It is `log(1 + u) + |l| u / (1 + u)` with `u = exp(-|l|)`.
    """
    size = abs(logits)
    u = ops.exp(-size)
    # An infinite logit is certain, and infinity times zero is no number.
    return ops.log1p(u) + ops.where(u > 0, size, 0.0) * u / (1 + u)


def bernoulli_entropy_of_probs(ops: Operations, p: Array) -> Array:
    """`-p log p - (1 - p) log(1 - p)` from probabilities."""
    return -ops.xlogy(p, p) - ops.xlogy(1 - p, 1 - p)


def probabilities_entropy(ops: Operations, probs: Array) -> Array:
    """`-sum_k p_k log p_k` from probabilities of shape `(..., K)`."""
    return -ops.xlogy(probs, probs).sum(-1)


def categorical_entropy(ops: Operations, logits: Array) -> Array:
    """`-sum_k p_k log p_k` from logits of shape `(..., K)`, normalised or not."""
    log_probs = ops.log_softmax(logits, -1)
    return -x_exp_x(ops, log_probs).sum(-1)


def geometric_entropy(ops: Operations, p: Array) -> Array:
    """`-log p - (1 - p) log(1 - p) / p`, zero for a certain success."""
    certain = p >= 1
    q = ops.where(certain, 0.5, p)
    return ops.where(certain, 0.0, -ops.log(q) - (1 - q) * ops.log1p(-q) / q)


def geometric_entropy_of_logits(ops: Operations, logits: Array) -> Array:
    """`log(1 + exp(-l)) + exp(-l) log(1 + exp(l))` from logits."""
    size, positive = abs(logits), logits > 0
    # Below this log(1 + u) / u is one, and the square that its gradient divides by is a number.
    u = ops.at_least(ops.exp(-size), 1e-15)
    log1p = ops.log1p(u)
    return ops.where(positive, log1p + (size + log1p) * u, size + log1p + log1p / u)


def zero_inflated_entropy(
    ops: Operations, entropy: Array, log_zero: Array, log_keep: Array
) -> Array:
    """The entropy of a base with more zeros than it has by itself.

    Of the base's terms, that of zero is taken out and put in with its new probability.

    Args:
        ops: The operations of the arrays.
        entropy: That of the base.
        log_zero: The base's log-probability of zero.
        log_keep: `log(1 - gate)`.
    """
    others, keep = -ops.expm1(log_zero), ops.exp(log_keep)
    rest = keep * (entropy + x_exp_x(ops, log_zero)) - others * x_exp_x(ops, log_keep)
    # The probability of zero is one less than a part that may be far below it.
    return rest - x_exp_x(ops, ops.log1p(-others * keep))


def entropy_without_zero(ops: Operations, entropy: Array, log_zero: Array) -> Array:
    """The entropy of a count that is not zero, from that of one that may be.

    Its digits go where zero has nearly all the probability.
    """
    rest = -ops.expm1(log_zero)
    return (entropy + x_exp_x(ops, log_zero)) / rest + ops.log(rest)


def x_exp_x(ops: Operations, x: Array) -> Array:
    """`p log p` of a logarithm, which is zero where `p` is."""
    finite = x > -float("inf")
    x = ops.where(finite, x, 0.0)
    return ops.where(finite, ops.exp(x) * x, 0.0)
