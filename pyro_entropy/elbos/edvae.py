"""The bound in four terms: reconstruction, mutual information, entropy and cross-entropy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from entropy_core.across import ALONE, Across
from entropy_core.checks import expected
from entropy_core.elbos import contrast
from entropy_core.elbos.contrast import Critic, floored, warn_without_limit
from entropy_core.elbos.edvae import (
    NOTED,
    AggregateEntropy,
    EDVAETerms,
    EDVAEWeights,
    Estimates,
    MutualInformation,
    check_edvae,
    edvae_bound,
    edvae_terms,
)
from entropy_core.traces.batch import BatchSites, batch_sites
from entropy_core.traces.sites import Pair
from pyro_entropy.elbos.aggregate import aggregate_entropy, pairwise_log_prob
from pyro_entropy.elbos.base import TermsELBO
from pyro_entropy.operations import OPERATIONS
from pyro_entropy.traces.pairs import trace_guide


class EDVAE_ELBO(TermsELBO):
    """The entropy-decomposed ELBO, `E_q[log p(x|z)] - I_q(x; z) + H[q(z)] - H[q(z), p(z)]`.

    Lygerakis and Rueckert 2024, Eq. 5, with the aggregate posterior `q(z) = mean_n q(z|x_n)`. With
    exact terms it is the ELBO. Two terms are estimated from a batch of `B` of `N` data points:

    - The mutual information. `"infonce"` (Eq. 6) is `log B - L_InfoNCE`, with
      `L_InfoNCE = -mean_i log(exp(s_ii) / sum_k exp(s_ik))` for draws `z_i ~ q(z|x_i)`. The critic
      `"density"` is `s_ik = log q(z_i|x_k^+) / temperature`; the paper's, `"dot"`, is
      `s_ik = z_i . z_k^+ / temperature` with `z_k^+ ~ q(z|x_k^+)`. It is never above `log B` nor,
      in expectation, above `I_q`, and has no lower limit: as it enters with a minus sign, training
      drives it down, and the ELBO with it. `floor` keeps it at zero or above, batch by batch. After
      that it is no lower bound of `I_q` in expectation, and where it is at the floor it has no
      gradient: `"dot"` may stay there, so that information costs nothing. Gradients of `"density"`
      go through the draws alone, and not through the densities at `x^+`: a guide that follows them
      too may learn to tell `x^+` from `x`, which takes the estimate to the floor. Where `x^+` is
      `x`, and at a temperature of one, they are unbiased all the same. `"aggregate"` is
      `H[q(z)] - mean_n H[q(z|x_n)]` with the estimate of `H[q(z)]`, so that both cancel: with
      weights of one the loss is that of `Standard_ELBO`, whatever the estimator.
    - The entropy of the aggregate posterior, see `aggregate_entropy`: `"minibatch"` is low,
      `"weighted"` and `"stratified"` are high, and `"moment"` is high for the aggregate of the
      batch, but may be low for that of the data set.

    The objective is no bound on the evidence. With weights of one and the floor it is above the
    ELBO, in expectation, by `log B` at most with `"minibatch"`, by `log N` with `"stratified"`, by
    `log B + log N` with `"weighted"`. With `"moment"`, or without the floor, it has no such limit,
    which a `UserWarning` says. `terms` has the ELBO beside it; the history of `fit` has the ELBO,
    and the means over the steps of each epoch of the estimate (`mutual_information`), of the one of
    `"aggregate"` (`aggregate_information`) and of `floor_active`.

    The batch couples the data points: there is no loss of one data point, and smaller batches make
    another objective. The prior needs a `log_prob` alone.

    Args:
        num_particles: The number of draws from the guide.
        mutual_information: `"infonce"` or `"aggregate"`.
        aggregate_entropy: `"minibatch"`, `"weighted"`, `"stratified"` or `"moment"`.
        critic: That of InfoNCE, `"density"` or `"dot"`.
        floor: Whether InfoNCE is kept at zero or above.
        temperature: The divisor of the critic, best left at one for `"density"`.
        positives: What makes `x^+`: the standard deviation of normal noise that is added to the
            first argument of the guide, or a function from its positional arguments to a tuple
            of others. (The paper states neither.)
        weights: The weights of the four terms.
        *args: Further ones of the host's `ELBO`, in its order.
        **kwargs: `closed_form`, `data_plate`, and those of `pyro.infer.ELBO` but for
            vectorised particles.

    Raises:
        ValueError: If an estimator or critic is not known or a number not positive; when called, if
            there is not one latent site, it is not in the data plate alone, or the batch is of one
            data point.
        TypeError: When called with InfoNCE, if the first argument is no tensor to add noise to.
        NotImplementedError: If particles are to be vectorised; when called, if the guide has no
            reparameterised draws.

    Example:
        >>> import pyro
        >>> from pyro_entropy import EDVAE, EDVAE_ELBO
        >>> vae, x = EDVAE(4, 2, num_components=3), torch.rand(8, 4)
        >>> optim = pyro.optim.Adam({"lr": 1e-3})
        >>> svi = pyro.infer.SVI(vae.model, vae.guide, optim, EDVAE_ELBO())
        >>> loss = svi.step(x)
        >>> terms = EDVAE_ELBO(mutual_information="aggregate").terms(vae.model, vae.guide, x)
        >>> bool(torch.isclose(terms.bound, terms.elbo))
        True
    """

    history_terms = NOTED

    def __init__(
        self,
        num_particles: int = 1,
        *args: Any,
        mutual_information: MutualInformation = "infonce",
        aggregate_entropy: AggregateEntropy = "minibatch",
        critic: Critic = "density",
        floor: bool = True,
        temperature: float = 1.0,
        positives: float | Callable[..., tuple] = 0.1,
        weights: EDVAEWeights = EDVAEWeights(),  # noqa: B008 - it is a tuple
        **kwargs: Any,
    ) -> None:
        super().__init__(num_particles, *args, **kwargs)
        if self.vectorize_particles:
            what = "particles one by one"
            raise NotImplementedError(expected(what, "vectorize_particles", True))
        check_edvae(
            mutual_information, aggregate_entropy, critic, floor, temperature, positives, weights
        )
        if mutual_information == "infonce":
            warn_without_limit(aggregate_entropy, floor)
        self.mutual_information = mutual_information
        self.aggregate_entropy = aggregate_entropy
        self.critic = critic
        self.floor = floor
        self.temperature = temperature
        self.positives = positives
        self.weights = EDVAEWeights(*weights)

    def bound(self, pair: Pair) -> Tensor:
        """The bound, in nats, summed over the plates and scaled as the host does."""
        return self.bound_and_notes(pair)[0]

    def bound_and_notes(self, pair: Pair) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The bound, and the estimates that a history has."""
        batch = batch_sites(pair.records, self.data_plate)
        found = self._estimates(batch, pair)
        return edvae_bound(batch, found, self.weights), found.notes

    @property
    def no_claim(self) -> str | None:
        """Where the estimates do not cancel, the loss is another objective than the ELBO."""
        if self.mutual_information == "aggregate" and self.weights == EDVAEWeights():
            return None
        return "the entropy-decomposed bound is another objective"

    def _terms(self, pair: Pair) -> EDVAETerms:
        batch = batch_sites(pair.records, self.data_plate)
        return edvae_terms(batch, self._estimates(batch, pair), self.weights)

    def _estimates(self, batch: BatchSites, pair: Pair) -> Estimates:
        site = pair.guide[batch.encoder.name]
        across = batch.encoder.across
        entropy = aggregate_entropy(
            site.fn, site.value, batch.plate.full_size, self.aggregate_entropy, across=across
        )
        information = entropy - batch.per_datum([batch.encoder])
        if pair.positive is None:
            return Estimates(information, entropy, information, OPERATIONS.zeros_like(information))
        positive = pair.positive[batch.encoder.name]
        if self.critic == "density":
            found = density_info_nce(positive.fn, site.value, self.temperature, across=across)
        else:
            found = info_nce(site.value, positive.value, self.temperature, across=across)
        used, active = floored(found, self.floor, OPERATIONS)
        return Estimates(used, entropy, information, active)

    def _get_trace(self, model: Callable, guide: Callable, args: tuple, kwargs: dict) -> Pair:
        pair = super()._get_trace(model, guide, args, kwargs)
        if self.mutual_information == "aggregate":
            return pair
        # A guide that could move its densities at the positives would spoil them as a critic.
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.critic == "dot"):
            # The same rows, where the guide draws a subsample by itself.
            positive = trace_guide(guide, self._positive_args(args), kwargs, values=pair.rows)
        return replace(pair, positive=positive.sites)

    def _positive_args(self, args: tuple) -> tuple:
        if callable(self.positives):
            return tuple(self.positives(*args))
        if not (args and isinstance(args[0], Tensor) and args[0].is_floating_point()):
            what = "a tensor of floats to add noise to, or a function for `positives`"
            raise TypeError(expected(what, "args[0]", type(args[0]).__name__ if args else "none"))
        return args[0] + self.positives * torch.randn_like(args[0]), *args[1:]


def info_nce(
    z: Tensor, positive: Tensor, temperature: float = 1.0, *, across: Across = ALONE
) -> Tensor:
    """`log B - L_InfoNCE`, which bounds the mutual information from below in expectation.

    van den Oord et al. 2018, Eq. 4, with the critic `z_i . z_k^+ / temperature`.

    Args:
        z: Draws of `q(z|x_i)`, of shape `(B, ...)`.
        positive: Draws of `q(z|x_i^+)`, of the same shape.
        temperature: The divisor of the critic.
        across: The processes that have the other data points of the batch.

    Returns:
        A scalar, in nats; at most `log B`, and not floored.

    Example:
        >>> z = torch.tensor([[-9.0], [9.0]])
        >>> info_nce(z, z).item()  # log 2
        0.6931...
    """
    rows = across.rows(z.reshape(len(z), -1))
    scores = rows @ positive.reshape(len(positive), -1).T / temperature
    return contrast.info_nce(scores, OPERATIONS, across)


def density_info_nce(
    q: Distribution, z: Tensor, temperature: float = 1.0, *, across: Across = ALONE
) -> Tensor:
    """`log B - L_InfoNCE` with the densities of the guide, the best critic where `x^+` is `x`.

    van den Oord et al. 2018, Eq. 4, with the critic `log q(z_i|x_k^+) / temperature`.

    Args:
        q: `q(z|x_i^+)`, of batch shape `(B,)`.
        z: Draws of `q(z|x_i)`, of the shape of `q`.
        temperature: The divisor of the critic.
        across: The processes that have the other data points of the batch.

    Returns:
        A scalar, in nats; at most `log B`, and not floored.

    Example:
        >>> from torch.distributions import Normal
        >>> q = Normal(torch.tensor([-9.0, 9.0]), torch.ones(2))
        >>> density_info_nce(q, q.loc).item()  # log 2
        0.6931...
    """
    scores = pairwise_log_prob(q, across.rows(z)) / temperature
    return contrast.info_nce(scores, OPERATIONS, across)
