"""The bound in four terms: reconstruction, mutual information, entropy and cross-entropy."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from entropy_core.across import ALONE, Across
from entropy_core.checks import check_choice, check_number, check_positive_int, expected
from entropy_core.elbos.contrast import Critic
from entropy_core.operations import Operations
from entropy_core.traces.batch import BatchSites
from entropy_core.traces.sums import elbo

MutualInformation = Literal["infonce", "aggregate"]
AggregateEntropy = Literal["minibatch", "weighted", "stratified", "moment"]


class EDVAETerms(NamedTuple):
    """The entropy-decomposed bound, its four terms, and the ELBO, in nats per data point.

    Args:
        bound: The four terms, weighted and with their signs.
        reconstruction_term: `E_q[log p(x|z)]`.
        mutual_information: The estimate of `I_q(x; z)` that the bound has.
        aggregate_entropy: The estimate of `H[q(z)]`.
        cross_entropy: `H[q(z), p(z)] = -E_q[log p(z)]`.
        elbo: The ELBO, from the same draws.
        aggregate_information: `H[q(z)] - mean_n H[q(z|x_n)]`, by the same estimate of `H[q(z)]`.
        floor_active: 1 where InfoNCE was below zero, and the floor stands in its place; 0 where
            not. Of several draws it is the share.
    """

    bound: Any
    reconstruction_term: Any
    mutual_information: Any
    aggregate_entropy: Any
    cross_entropy: Any
    elbo: Any
    aggregate_information: Any
    floor_active: Any


class Estimates(NamedTuple):
    """What is estimated from a batch; see `EDVAETerms`."""

    mutual_information: Any
    aggregate_entropy: Any
    aggregate_information: Any
    floor_active: Any

    @property
    def notes(self) -> tuple[Any, Any, Any]:
        """The values of `NOTED`."""
        return self.mutual_information, self.aggregate_information, self.floor_active


# Which fields of `EDVAETerms` the history of a training has.
NOTED = ("mutual_information", "aggregate_information", "floor_active")


class EDVAEWeights(NamedTuple):
    """The weights of the four terms of the entropy-decomposed bound."""

    reconstruction: float = 1.0
    mutual_information: float = 1.0
    aggregate_entropy: float = 1.0
    cross_entropy: float = 1.0


def edvae_bound(batch: BatchSites, found: Estimates, weights: EDVAEWeights) -> Any:
    """The bound, in nats, summed over the plates and scaled as the host does.

    Lygerakis and Rueckert 2024, Eq. 5: `E_q[log p(x|z)] - I_q(x; z) + H[q(z)] - H[q(z), p(z)]`.
    """
    estimates = (
        weights.aggregate_entropy * found.aggregate_entropy
        - weights.mutual_information * found.mutual_information
    )
    return (
        weights.reconstruction * elbo(batch.others)
        + batch.scale * estimates
        + weights.cross_entropy * elbo([batch.prior])
    )


def edvae_terms(batch: BatchSites, found: Estimates, weights: EDVAEWeights) -> EDVAETerms:
    """The bound and its four terms, in nats per data point."""
    reconstruction_term = batch.per_datum(batch.others)
    cross_entropy = -batch.per_datum([batch.prior])
    return EDVAETerms(
        bound=weights.reconstruction * reconstruction_term
        - weights.mutual_information * found.mutual_information
        + weights.aggregate_entropy * found.aggregate_entropy
        - weights.cross_entropy * cross_entropy,
        reconstruction_term=reconstruction_term,
        cross_entropy=cross_entropy,
        elbo=batch.elbo,
        **found._asdict(),
    )


def mixture_entropy(
    log_prob: Any,
    num_data: int,
    estimator: AggregateEntropy,
    ops: Operations,
    across: Across = ALONE,
) -> Any:
    """`-mean_i log sum_j W_ij q(z_i|x_j)`; see `aggregate_entropy` of either side.

    Args:
        log_prob: `log q(z_i|x_j)` of all draws and of the components on this device, of shape
            `(B, R)`; `R = B` on one device.
        num_data: The size of the data set, `N`.
        estimator: `"minibatch"`, `"weighted"` or `"stratified"`.
        ops: The host's functions.
        across: The devices that have the other components.
    """
    batch_size = len(log_prob)
    if estimator == "stratified":
        # The weight of the other components, and what their own has beside it.
        log_weight = math.log((num_data - 1) / (num_data * (batch_size - 1)))
        own = -math.log(num_data) - log_weight
        log_prob = _with_own(log_prob, own, ops, across.start)
    else:
        log_weight = -math.log(batch_size)
    if estimator == "weighted":
        log_weight -= math.log(num_data)
    return -across.log_sum_exp(ops.log_sum_exp(log_prob), ops).mean() - log_weight


def _with_own(log_prob: Any, own: float, ops: Operations, start: int) -> Any:
    """Adds a number where a draw meets its own component."""
    end = start + log_prob.shape[1]
    block = log_prob[start:end] + own * ops.eye_like(log_prob[start:end])
    if len(block) == len(log_prob):
        return block
    return ops.concatenate([log_prob[:start], block, log_prob[end:]])


def moment_entropy(within: Any, loc: Any, ops: Operations, across: Across = ALONE) -> Any:
    """The entropy of a Gaussian with the mean and covariance of the aggregate posterior.

    Args:
        within: The mean covariance of `q(z|x)`, `(H, H)`.
        loc: Its means, `(B, H)`.
        ops: The host's functions.
        across: The devices that have the other data points of the batch.
    """
    num_rows = len(loc)
    deviations = loc - across.average(loc.mean(0), num_rows)
    covariance = across.average(within + deviations.T @ deviations / num_rows, num_rows)
    return 0.5 * (len(covariance) * math.log(2 * math.pi * math.e) + ops.log_det(covariance))


def check_aggregate(batch_shape: tuple[int, ...], num_data: int, estimator: str) -> None:
    """Refuses a batch that makes no aggregate posterior.

    Raises:
        ValueError: If `estimator` is not known, the batch shape is not `(B,)` with `B >= 2`, or
            `num_data` is no integer from `B`.
    """
    check_choice(estimator, AggregateEntropy, "estimator")
    if len(batch_shape) != 1 or batch_shape[0] < 2:
        raise ValueError(expected("the batch shape (B,) with B >= 2", "q", batch_shape))
    check_positive_int(num_data, "num_data")
    if num_data < batch_shape[0]:
        what = f"at least the batch size {batch_shape[0]}"
        raise ValueError(expected(what, "num_data", num_data))


def check_edvae(
    mutual_information: str,
    aggregate_entropy: str,
    critic: str,
    floor: object,
    temperature: float,
    positives: object,
    weights: Sequence[float],
) -> None:
    """Refuses estimators that are not known and numbers that make no objective.

    Raises:
        ValueError: If an estimator or critic is not known, `floor` is neither `True` nor `False`,
            `temperature` or `positives` is not positive, or `weights` are not four finite numbers.
    """
    check_choice(mutual_information, MutualInformation, "mutual_information")
    check_choice(aggregate_entropy, AggregateEntropy, "aggregate_entropy")
    check_choice(critic, Critic, "critic")
    if not isinstance(floor, bool):
        raise ValueError(expected("True or False", "floor", repr(floor)))
    check_number(temperature, "temperature")
    if not callable(positives):
        check_number(positives, "positives")
    if len(weights) != len(EDVAEWeights()) or not all(map(math.isfinite, weights)):
        raise ValueError(expected("four finite numbers", "weights", weights))
