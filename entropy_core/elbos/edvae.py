"""The bound in four terms: reconstruction, mutual information, entropy and cross-entropy."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from entropy_core.checks import check_choice, check_number, check_positive_int, expected

MutualInformation = Literal["infonce", "aggregate"]


AggregateEntropy = Literal["minibatch", "weighted", "stratified", "moment"]


class EDVAETerms(NamedTuple):
    """The entropy-decomposed bound, its four terms, and the ELBO, in nats per data point.

    Args:
        bound: The four terms, weighted and with their signs.
        reconstruction_term: `E_q[log p(x|z)]`.
        mutual_information: The estimate of `I_q(x; z)`.
        aggregate_entropy: The estimate of `H[q(z)]`.
        cross_entropy: `H[q(z), p(z)] = -E_q[log p(z)]`.
        elbo: The ELBO, from the same draws.
    """

    bound: Any
    reconstruction_term: Any
    mutual_information: Any
    aggregate_entropy: Any
    cross_entropy: Any
    elbo: Any


class EDVAEWeights(NamedTuple):
    """The weights of the four terms of the entropy-decomposed bound."""

    reconstruction: float = 1.0
    mutual_information: float = 1.0
    aggregate_entropy: float = 1.0
    cross_entropy: float = 1.0


def check_aggregate(batch_shape: tuple[int, ...], num_data: int, estimator: str) -> None:
    """Refuses a batch of which no aggregate posterior can be made.

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
    temperature: float,
    positives: object,
    weights: Sequence[float],
) -> None:
    """Refuses estimators that are not known and numbers that make no objective.

    Raises:
        ValueError: If an estimator is not known, `temperature` or `positives` is not positive, or
            `weights` are not four finite numbers.
    """
    check_choice(mutual_information, MutualInformation, "mutual_information")
    check_choice(aggregate_entropy, AggregateEntropy, "aggregate_entropy")
    check_number(temperature, "temperature")
    if not callable(positives):
        check_number(positives, "positives")
    if len(weights) != len(EDVAEWeights()) or not all(map(math.isfinite, weights)):
        raise ValueError(expected("four finite numbers", "weights", weights))
