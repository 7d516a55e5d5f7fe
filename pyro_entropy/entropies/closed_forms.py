"""Entropies in closed form of distributions for which the host has none.

A table of one formula a class: a new distribution is a function and a line. Wrappers, mixtures and
transformed distributions, whose entropies come from those of others, are in `composed.py`.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
import torch.distributions as td
from torch import Tensor, digamma, lgamma
from torch.distributions import Distribution
from torch.distributions.relaxed_bernoulli import LogitRelaxedBernoulli

from pyro_entropy.distributions.continuous_bernoulli import ContinuousBernoulli
from pyro_entropy.entropies.families import family


def formula_entropy(fn: Distribution) -> Tensor | None:
    """The entropy of `fn` by a formula of ours, or `None` where there is none for its class.

    Shape: the batch shape of `fn`, or one that broadcasts to it; units: nats.

    Example:
        >>> formula_entropy(dist.SoftLaplace(0.0, torch.tensor(1.0))).item()  # log(2 pi)
        1.8378...
    """
    formula = family(fn, FORMULAS)
    return None if formula is None else formula(fn)


def _asymmetric_laplace(fn: Any) -> Tensor:
    return 1 + torch.log(fn.left_scale + fn.right_scale)


def _soft_laplace(fn: Any) -> Tensor:
    # The hyperbolic secant distribution, E[log cosh z] = log 2.
    return torch.log(2 * math.pi * fn.scale)


def _skew_logistic(fn: Any) -> Tensor:
    # sigmoid(z) ~ Beta(a, 1).
    a = fn.asymmetry
    return torch.log(fn.scale / a) + 1 + digamma(a + 1) + np.euler_gamma


def _logit_relaxed_bernoulli(fn: Any) -> Tensor:
    # A logistic distribution of scale 1 / temperature.
    return 2 - torch.log(fn.temperature)


def _fisher_snedecor(fn: Any) -> Tensor:
    # A beta prime distribution times df2 / df1.
    a, b = 0.5 * fn.df1, 0.5 * fn.df2
    log_beta = lgamma(a) + lgamma(b) - lgamma(a + b)
    log_odds, log_rest = digamma(a) - digamma(b), digamma(a + b) - digamma(b)
    return log_beta - (a - 1) * log_odds + (a + b) * log_rest + torch.log(b / a)


def _von_mises(fn: Any) -> Tensor:
    # log(2 pi I0(k)) - k I1(k) / I0(k), with I0 and I1 times exp(-k).
    k = fn.concentration
    i0, i1 = torch.special.i0e(k), torch.special.i1e(k)
    return torch.log(2 * math.pi * i0) + k * (1 - i1 / i0)


def _von_mises_3d(fn: Any) -> Tensor:
    # The angle about the mean is uniform, and the cosine of the angle to it, brought to [0, 1], is
    # continuous Bernoulli.
    k = fn.concentration.norm(dim=-1)
    return math.log(4 * math.pi) + ContinuousBernoulli(2 * k, validate_args=False).entropy()


def _multivariate_student_t(fn: Any) -> Tensor:
    # Guerrero-Cusumano 1996, Eq. 2.
    (dim,) = fn.event_shape
    a, b = 0.5 * fn.df, 0.5 * (fn.df + dim)
    log_det = fn.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    log_norm = lgamma(a) - lgamma(b) + 0.5 * dim * torch.log(math.pi * fn.df)
    return log_norm + log_det + b * (digamma(b) - digamma(a))


def _lkj_cholesky(fn: Any) -> Tensor:
    # The density is a product of powers of the diagonal, and one at the identity matrix.
    eta, log_diagonal = _lkj_log_diagonal(fn)
    order = 2 * (eta - 1) + torch.arange(fn.dim - 2, -1, -1, device=eta.device)
    return _lkj_log_norm(fn) - (order * log_diagonal).sum(-1)


def _lkj(fn: Any) -> Tensor:
    base = fn.base_dist
    eta, log_diagonal = _lkj_log_diagonal(base)
    return _lkj_log_norm(base) - (2 * (eta - 1) * log_diagonal).sum(-1)


def _lkj_log_norm(fn: Any) -> Tensor:
    return -fn.log_prob(torch.eye(fn.dim).to(fn.concentration))


def _lkj_log_diagonal(fn: Any) -> tuple[Tensor, Tensor]:
    # In the onion construction the square of each is a beta variable (Lewandowski, Kurowicka and
    # Joe 2009, Sec. 3.2).
    eta = fn.concentration.unsqueeze(-1)
    rest = 0.5 * torch.arange(fn.dim - 2, -1, -1, device=eta.device)
    return eta, 0.5 * (digamma(eta + rest) - digamma(eta + 0.5 * (fn.dim - 1)))


def _grouped_normal_normal(fn: Any) -> Tensor:
    return 0.5 * len(fn.group_idx) - fn.log_prob(fn.prior_loc[fn.group_idx])


def _empirical(fn: Any) -> Tensor:
    # Atoms may be equal, so that their weights add up.
    weights = fn.log_weights.softmax(-1)
    atoms = fn.enumerate_support().movedim(weights.dim() - 1, 0)
    log_probs = torch.stack([fn.log_prob(atom) for atom in atoms], -1)
    return -(weights * log_probs).sum(-1)


def _delta(fn: Any) -> Tensor:
    return -fn.log_density


FORMULAS: dict[type, Callable[..., Tensor]] = {
    LogitRelaxedBernoulli: _logit_relaxed_bernoulli,
    dist.AsymmetricLaplace: _asymmetric_laplace,
    dist.Delta: _delta,
    dist.Empirical: _empirical,
    dist.GroupedNormalNormal: _grouped_normal_normal,
    dist.LKJ: _lkj,
    dist.MultivariateStudentT: _multivariate_student_t,
    dist.SkewLogistic: _skew_logistic,
    dist.SoftLaplace: _soft_laplace,
    dist.VonMises3D: _von_mises_3d,
    td.FisherSnedecor: _fisher_snedecor,
    td.LKJCholesky: _lkj_cholesky,
    td.VonMises: _von_mises,
}
