"""InfoNCE: an estimate of the mutual information from draws of a batch, told from each other."""

import math
from typing import Any, Literal
from warnings import warn

from entropy_core.across import ALONE, Across
from entropy_core.operations import Operations

Critic = Literal["density", "dot"]


def info_nce(scores: Any, ops: Operations, across: Across = ALONE) -> Any:
    """`log B - L_InfoNCE` with `L_InfoNCE = -mean_i log(exp(s_ii) / sum_k exp(s_ik))`.

    van den Oord et al. 2018, Eq. 4.

    Args:
        scores: `s_ik` of all draws and of the positives on this device, of shape `(B, R)`; `R = B`
            on one device.
        ops: The host's functions.
        across: The devices that have the other positives.
    """
    own = scores[across.start : across.start + scores.shape[1]].diagonal()
    own = across.rows(own)
    # Less its own score a row loses no digits; one of zero density has none to lose.
    shift = ops.where(own > -math.inf, own, ops.zeros_like(own))
    rest = across.log_sum_exp(ops.log_sum_exp(scores - shift[:, None]), ops)
    return math.log(len(scores)) + (own - shift - rest).mean()


def floored(estimate: Any, floor: bool, ops: Operations) -> tuple[Any, Any]:
    """An estimate of the mutual information as it is used, and whether the floor was active.

    Args:
        estimate: The estimate, a scalar.
        floor: Whether it is kept at zero or above.
        ops: The host's functions.

    Returns:
        The estimate; and 1 where it was below zero and is no longer, 0 elsewhere.
    """
    zero = ops.zeros_like(estimate)
    if not floor:
        return estimate, zero
    return ops.at_least(estimate, 0.0), ops.where(estimate < 0, zero + 1, zero)


def warn_without_limit(aggregate_entropy: str, floor: bool) -> None:
    """Warns of an entropy-decomposed bound that may rise while the ELBO falls without limit.

    With the floor and an estimate of the entropy that is at most `mean_i -log W_ii q(z_i|x_i)`, the
    bound is above the ELBO by `-log W_ii` at most, in expectation.

    Args:
        aggregate_entropy: The estimator of the aggregate posterior's entropy.
        floor: Whether the estimate of the mutual information is kept at zero or above.
    """
    if not floor:
        reason = "without a floor, the estimate of the mutual information has no lower limit"
    elif aggregate_entropy == "moment":
        reason = 'aggregate_entropy="moment" may stay as it is while q(z|x) loses entropy'
    else:
        return
    warn(
        f"this EDVAE_ELBO may rise while the ELBO falls without limit: {reason}",
        UserWarning,
        stacklevel=3,
    )
