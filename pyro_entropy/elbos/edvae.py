"""The bound in four terms: reconstruction, mutual information, entropy and cross-entropy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from entropy_core.across import ALONE, Across
from entropy_core.checks import expected
from entropy_core.elbos import edvae
from entropy_core.elbos.edvae import (
    AggregateEntropy,
    EDVAETerms,
    EDVAEWeights,
    MutualInformation,
    check_edvae,
    edvae_bound,
    edvae_terms,
)
from entropy_core.traces.batch import BatchSites, batch_sites
from entropy_core.traces.sites import Pair
from pyro_entropy.elbos.aggregate import aggregate_entropy
from pyro_entropy.elbos.base import TermsELBO
from pyro_entropy.operations import OPERATIONS
from pyro_entropy.traces.pairs import trace_guide


class EDVAE_ELBO(TermsELBO):
    """The entropy-decomposed ELBO, `E_q[log p(x|z)] - I_q(x; z) + H[q(z)] - H[q(z), p(z)]`.

    Lygerakis and Rueckert 2024, Eq. 5, with the aggregate posterior `q(z) = mean_n q(z|x_n)`. With
    exact terms it is the ELBO. Two terms are estimated from a batch of `B` data points:

    - The mutual information. `"infonce"` (Eq. 6) is `log B - L_InfoNCE`, with
      `L_InfoNCE = -mean_i log(exp(s_ii) / sum_k exp(s_ik))` and `s_ik = z_i . z_k^+ / temperature`
      of draws `z_i ~ q(z|x_i)` and `z_k^+ ~ q(z|x_k^+)`. It is never above `log B` nor, in
      expectation, above `I_q`; as it enters with a minus sign, the objective is then an upper
      estimate of the ELBO, and no bound on the evidence. `"aggregate"` is
      `H[q(z)] - mean_n H[q(z|x_n)]` with the estimate of `H[q(z)]`, so that both cancel: with
      weights of one the loss is that of `Standard_ELBO`, whatever the estimator.
    - The entropy of the aggregate posterior, see `aggregate_entropy`: `"minibatch"` is low,
      `"weighted"` and `"stratified"` are high, and `"moment"` is high for the aggregate of the
      batch, but may be low for that of the data set.

    `terms` has the ELBO beside them. The batch couples the data points: there is no loss of one
    data point, and smaller batches make another objective. The prior needs a `log_prob` alone.

    Args:
        num_particles: The number of draws from the guide.
        mutual_information: `"infonce"` or `"aggregate"`.
        aggregate_entropy: `"minibatch"`, `"weighted"`, `"stratified"` or `"moment"`.
        temperature: That of InfoNCE.
        positives: What makes `x^+`: the standard deviation of normal noise that is added to the
            first argument of the guide, or a function from its positional arguments to a tuple
            of others. (The paper states neither.)
        weights: The weights of the four terms.
        *args: Further ones of the host's `ELBO`, in its order.
        **kwargs: `closed_form`, `data_plate`, and those of `pyro.infer.ELBO` but for
            vectorised particles.

    Raises:
        ValueError: If an estimator is not known or a number not positive; when called, if there is
            not one latent site, it is not in the data plate alone, or the batch is of one data
            point.
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

    def __init__(
        self,
        num_particles: int = 1,
        *args: Any,
        mutual_information: MutualInformation = "infonce",
        aggregate_entropy: AggregateEntropy = "minibatch",
        temperature: float = 1.0,
        positives: float | Callable[..., tuple] = 0.1,
        weights: EDVAEWeights = EDVAEWeights(),  # noqa: B008 - it is a tuple
        **kwargs: Any,
    ) -> None:
        super().__init__(num_particles, *args, **kwargs)
        if self.vectorize_particles:
            what = "particles one by one"
            raise NotImplementedError(expected(what, "vectorize_particles", True))
        check_edvae(mutual_information, aggregate_entropy, temperature, positives, weights)
        self.mutual_information = mutual_information
        self.aggregate_entropy = aggregate_entropy
        self.temperature = temperature
        self.positives = positives
        self.weights = EDVAEWeights(*weights)

    def bound(self, pair: Pair) -> Tensor:
        """The bound, in nats, summed over the plates and scaled as the host does."""
        batch = batch_sites(pair.records, self.data_plate)
        return edvae_bound(batch, *self._estimates(batch, pair), self.weights)

    @property
    def no_claim(self) -> str | None:
        """Where the estimates do not cancel, the loss is another objective than the ELBO."""
        if self.mutual_information == "aggregate" and self.weights == EDVAEWeights():
            return None
        return "the entropy-decomposed bound is another objective"

    def _terms(self, pair: Pair) -> EDVAETerms:
        batch = batch_sites(pair.records, self.data_plate)
        return edvae_terms(batch, *self._estimates(batch, pair), self.weights)

    def _estimates(self, batch: BatchSites, pair: Pair) -> tuple[Tensor, Tensor]:
        """The mutual information, and the entropy of the aggregate posterior."""
        site = pair.guide[batch.encoder.name]
        across = batch.encoder.across
        entropy = aggregate_entropy(
            site.fn, site.value, batch.plate.full_size, self.aggregate_entropy, across=across
        )
        if pair.positive is None:
            return entropy - batch.per_datum([batch.encoder]), entropy
        positive = pair.positive[batch.encoder.name].value
        return info_nce(site.value, positive, self.temperature, across=across), entropy

    def _get_trace(self, model: Callable, guide: Callable, args: tuple, kwargs: dict) -> Pair:
        pair = super()._get_trace(model, guide, args, kwargs)
        if self.mutual_information == "aggregate":
            return pair
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
        A scalar, in nats; at most `log B`.

    Example:
        >>> z = torch.tensor([[-9.0], [9.0]])
        >>> info_nce(z, z).item()  # log 2
        0.6931...
    """
    return edvae.info_nce(z, positive, temperature, OPERATIONS, across)
