"""What objectives that couple the data points of a batch ask of a model, and what they return."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from entropy_core.checks import check_choice, check_number, check_positive_int, expected
from entropy_core.importance import common_scale
from entropy_core.records import PARTICLES, Plate, SiteTerms
from entropy_core.terms import need_data_plate

MutualInformation = Literal["infonce", "aggregate"]
AggregateEntropy = Literal["minibatch", "weighted", "stratified", "moment"]


class BILBOTerms(NamedTuple):
    """A bound with a floating prior, and what it is made of, in nats per data point.

    Args:
        bound: `prior_term + reconstruction_term`.
        prior_term: Minus the KL divergence from the encoder to the floating prior of the batch.
        reconstruction_term: `E_q[log p(x|z)]`.
        prior_variance: `S^2` of the batch, of shape `(H,)` or `(H, H)`.
        elbo: The ELBO with the model's own prior and likelihood, from the same draws.
    """

    bound: Any
    prior_term: Any
    reconstruction_term: Any
    prior_variance: Any
    elbo: Any


class BAGGINSTerms(NamedTuple):
    """A bound with the BAGGINS likelihood, and what it is made of, in nats per data point.

    Args:
        bound: `prior_term + reconstruction_term`.
        prior_term: Minus the KL divergence from the encoder to the prior.
        reconstruction_term: `E_q[log p(x|z)]` with the variances `R`.
        prior_variance: `S^2` of the batch, of shape `(H,)`.
        decoder_variance: The mean of `R` over the batch.
        elbo: The ELBO with the model's own prior and likelihood, from the same draws.
    """

    bound: Any
    prior_term: Any
    reconstruction_term: Any
    prior_variance: Any
    decoder_variance: Any
    elbo: Any


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


class BatchSites(NamedTuple):
    """The records of a pair of traces as objectives over a batch take them.

    Args:
        plate: The plate over data points.
        encoder: The record of the one latent site in the guide.
        prior: Its record in the model.
        others: All other records.
        scale: By what a term in nats per data point is scaled to the loss's sum over the data.
    """

    plate: Plate
    encoder: SiteTerms
    prior: SiteTerms
    others: list[SiteTerms]
    scale: Any

    def per_datum(self, sites: Sequence[SiteTerms]) -> Any:
        """What these records add to the ELBO, in nats per data point; no handler's scale enters."""
        return sum(site.total(site.term) for site in sites) / self.plate.full_size


def batch_plate(
    sites: Sequence[SiteTerms], data_plate: str | None = None, *, smallest: int = 2
) -> Plate:
    """The plate over the data points of a batch that has enough of them.

    Args:
        sites: All the records of a pair of traces.
        data_plate: See `find_data_plate`.
        smallest: The number of data points that a batch must have.

    Raises:
        ValueError: If no plate holds all data, or the batch is smaller.
    """
    plate = need_data_plate(sites, data_plate)
    if plate.size < smallest:
        what = f"at least {smallest} data points in the plate '{plate.name}'"
        raise ValueError(expected(what, "batch", plate.size))
    return plate


def batch_sites(
    sites: Sequence[SiteTerms], data_plate: str | None = None, *, smallest: int = 2
) -> BatchSites:
    """Finds the one latent site that an objective over a batch is about.

    Args:
        sites: All the records of a pair of traces.
        data_plate: See `find_data_plate`.
        smallest: The number of data points that a batch must have.

    Raises:
        ValueError: If no plate holds all data, the batch is smaller, there is not one
            latent site, it is not in the data plate alone, or `scale` handlers around it differ
            between model and guide.
    """
    plate = batch_plate(sites, data_plate, smallest=smallest)
    latent = [site for site in sites if site.role == "encoder"]
    names = [site.name for site in latent]
    if len(latent) != 1:
        raise ValueError(expected("one latent site", "guide", names))
    (encoder,) = latent
    priors = [site for site in sites if site.role == "prior" and site.name == encoder.name]
    if len(priors) != 1:
        raise ValueError(expected(f"the latent site '{encoder.name}'", "model", "none"))
    _check_alone(encoder, plate, "guide")
    _check_alone(priors[0], plate, "model")
    others = [site for site in sites if site is not encoder and site is not priors[0]]
    scale = common_scale([encoder, *priors]) * plate.full_size
    return BatchSites(plate, encoder, priors[0], others, scale)


def observed_site(batch: BatchSites) -> SiteTerms:
    """The one observed site of a batch, in the data plate alone.

    Raises:
        ValueError: If there are several, or it is in other plates too.
    """
    observed = [site for site in batch.others if site.role == "decoder"]
    if len(observed) != 1:
        raise ValueError(expected("one observed site", "model", [site.name for site in observed]))
    (site,) = observed
    _check_alone(site, batch.plate, "model")
    return site


def _check_alone(site: SiteTerms, plate: Plate, where: str) -> None:
    if [p for p in site.plates if p.name != PARTICLES] != [plate]:
        what = f"'{site.name}' in the plate '{plate.name}' alone"
        raise ValueError(expected(what, where, [p.name for p in site.plates]))


def check_full(shape: tuple[int, ...], name: str, *, drawn: bool) -> None:
    """Refuses a full covariance of draws that cannot be positive definite.

    Args:
        shape: The number of rows and of dimensions.
        name: The site.
        drawn: Whether there are but draws, and no covariance of the guide's to add to theirs.

    Raises:
        ValueError: If there are no more rows than dimensions.
    """
    num_rows, num_dims = shape
    if drawn and num_rows <= num_dims:
        what = f"more than {num_dims} data points for a full covariance of '{name}'"
        raise ValueError(expected(what, "batch", num_rows))


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
