"""Entropies in closed form, of all digits that the float type has.

A table of one formula a class: a new distribution is a function and a line. It has the classes for
which the host has no entropy, and those whose host's entropy loses digits where large numbers
cancel. Wrappers, mixtures and transformed distributions, whose entropies come from those of others,
are in `composed.py`.
"""

import math
from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
import torch.distributions as td
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.relaxed_bernoulli import LogitRelaxedBernoulli

from entropy_core.entropies import circular, discrete, gammas, matrices
from pyro_entropy.distributions.continuous_bernoulli import ContinuousBernoulli
from pyro_entropy.entropies.families import family
from pyro_entropy.operations import OPERATIONS


def formula_entropy(fn: Distribution) -> Tensor | None:
    """The entropy of `fn` by a formula of ours, or `None` where there is none for its class.

    Shape: the batch shape of `fn`, or one that broadcasts to it; units: nats.

    Example:
        >>> formula_entropy(dist.SoftLaplace(0.0, torch.tensor(1.0))).item()  # log(2 pi)
        1.8378...
    """
    formula = family(fn, FORMULAS)
    return None if formula is None else formula(fn)


def _of(formula: Callable[..., Tensor], *names: str) -> Callable[[Any], Tensor]:
    # A formula of the core, of a distribution's parameters.
    return lambda fn: formula(OPERATIONS, *(getattr(fn, name) for name in names))


def _of_either(of_logits: Callable[..., Tensor], of_probs: Callable[..., Tensor]) -> Any:
    # The host makes one of the two from the other one, and keeps it: logits from probabilities that
    # it has drawn away from zero and one.
    return lambda fn: (
        of_probs(OPERATIONS, fn.probs) if "probs" in vars(fn) else of_logits(OPERATIONS, fn.logits)
    )


def _asymmetric_laplace(fn: Any) -> Tensor:
    return 1 + torch.log(fn.left_scale + fn.right_scale)


def _soft_laplace(fn: Any) -> Tensor:
    # The hyperbolic secant distribution, E[log cosh z] = log 2.
    return torch.log(2 * math.pi * fn.scale)


def _skew_logistic(fn: Any) -> Tensor:
    return _of(gammas.skew_logistic_entropy, "asymmetry")(fn) + torch.log(fn.scale)


def _logit_relaxed_bernoulli(fn: Any) -> Tensor:
    # A logistic distribution of scale 1 / temperature.
    return 2 - torch.log(fn.temperature)


def _beta(fn: Any) -> Tensor:
    pair = fn.concentration1, fn.concentration0
    return gammas.dirichlet_entropy(OPERATIONS, OPERATIONS.stack(pair))


def _continuous_bernoulli(fn: Any) -> Tensor:
    return ContinuousBernoulli(fn.logits, validate_args=False).entropy()


def _von_mises_3d(fn: Any) -> Tensor:
    # The angle about the mean is uniform, and the cosine of the angle to it, brought to [0, 1], is
    # continuous Bernoulli.
    k = fn.concentration.norm(dim=-1)
    return math.log(4 * math.pi) + ContinuousBernoulli(2 * k, validate_args=False).entropy()


def _student_t(fn: Any) -> Tensor:
    return _of(gammas.student_t_entropy, "df")(fn) + torch.log(fn.scale)


def _multivariate_student_t(fn: Any) -> Tensor:
    entropy = gammas.student_t_entropy(OPERATIONS, fn.df, fn.event_shape[0])
    return entropy + _log_diagonal(fn).sum(-1)


def _wishart(fn: Any) -> Tensor:
    return matrices.wishart_entropy(OPERATIONS, fn.df, _log_diagonal(fn))


def _log_diagonal(fn: Any) -> Tensor:
    return fn.scale_tril.diagonal(dim1=-2, dim2=-1).log()


def _lkj_cholesky(fn: Any) -> Tensor:
    return matrices.lkj_cholesky_entropy(OPERATIONS, fn.concentration, fn.dim)


def _lkj(fn: Any) -> Tensor:
    return matrices.lkj_entropy(OPERATIONS, fn.base_dist.concentration, fn.base_dist.dim)


def _grouped_normal_normal(fn: Any) -> Tensor:
    return 0.5 * len(fn.group_idx) - fn.log_prob(fn.prior_loc[fn.group_idx])


def _empirical(fn: Any) -> Tensor:
    # Atoms may be equal, so that their weights add up.
    weights = fn.log_weights.softmax(-1)
    atoms = fn.enumerate_support().movedim(weights.dim() - 1, 0)
    log_probs = torch.stack([fn.log_prob(atom) for atom in atoms], -1)
    # One without weight has no density that could be multiplied by it.
    return -(weights * torch.where(weights > 0, log_probs, 0.0)).sum(-1)


def _delta(fn: Any) -> Tensor:
    return -fn.log_density


_bernoulli = _of_either(discrete.bernoulli_entropy, discrete.bernoulli_entropy_of_probs)
_categorical = _of_either(discrete.categorical_entropy, discrete.probabilities_entropy)
_geometric = _of_either(discrete.geometric_entropy_of_logits, discrete.geometric_entropy)
_inverse_gamma = _of(gammas.inverse_gamma_entropy, "concentration", "rate")

FORMULAS: dict[type, Callable[..., Tensor]] = {
    LogitRelaxedBernoulli: _logit_relaxed_bernoulli,
    dist.AsymmetricLaplace: _asymmetric_laplace,
    dist.Delta: _delta,
    dist.Empirical: _empirical,
    dist.GroupedNormalNormal: _grouped_normal_normal,
    dist.InverseGamma: _inverse_gamma,
    dist.LKJ: _lkj,
    dist.MultivariateStudentT: _multivariate_student_t,
    dist.SkewLogistic: _skew_logistic,
    dist.SoftLaplace: _soft_laplace,
    dist.VonMises3D: _von_mises_3d,
    td.Bernoulli: _bernoulli,
    td.Beta: _beta,
    td.Categorical: _categorical,
    td.ContinuousBernoulli: _continuous_bernoulli,
    td.Dirichlet: _of(gammas.dirichlet_entropy, "concentration"),
    td.FisherSnedecor: _of(gammas.fisher_snedecor_entropy, "df1", "df2"),
    td.Gamma: _of(gammas.gamma_entropy, "concentration", "rate"),
    td.Geometric: _geometric,
    td.InverseGamma: _inverse_gamma,
    td.Kumaraswamy: _of(gammas.kumaraswamy_entropy, "concentration1", "concentration0"),
    td.LKJCholesky: _lkj_cholesky,
    td.OneHotCategorical: lambda fn: _categorical(fn._categorical),
    td.StudentT: _student_t,
    td.VonMises: _of(circular.von_mises_entropy, "concentration"),
    td.Wishart: _wishart,
}
