"""Every distribution of Pyro with an entropy in closed form, far out."""

import pyro.distributions as dist
import torch
import torch.distributions as td

from pyro_entropy.entropies.estimate import closed_entropy
from tests.support.extremes import (
    DF,
    FAILURES,
    LOC,
    LOGITS,
    PROBS,
    RATES,
    SCALE,
    SHAPE,
    Extreme,
    errors,
)


def last_digits(extreme):
    """The errors of a class, in units of float32's last digit."""
    return errors(extreme, closed_entropy, torch.from_numpy)


def rows(*columns):
    return torch.stack(columns, -1)


def tril(scale):
    return scale[..., None, None] * torch.tensor([[1.0, 0.0], [0.3, 0.5]]).to(scale)


def zeros(scale):
    return torch.zeros(*scale.shape, 2).to(scale)


def normal_of(cls):
    return lambda scale: cls(zeros(scale), scale_tril=tril(scale))


def low_rank(factor, diagonal):
    cov = factor[..., None, None] * torch.tensor([[1.0], [-0.4]]).to(factor)
    return dist.LowRankMultivariateNormal(zeros(factor), cov, rows(diagonal, 3 * diagonal))


def grouped(prior, scale):
    loc, index = torch.zeros(2).to(prior), torch.tensor([0, 0, 1])
    return dist.GroupedNormalNormal(loc, prior.expand(2), scale, index)


def masked(loc, scale, shape):
    mask = torch.arange(len(loc)) % 2 == 0
    return dist.MaskedMixture(mask, dist.Normal(loc, scale), dist.Gamma(shape, scale))


def empirical(*log_weights):
    weights = torch.cat(log_weights)
    return dist.Empirical(torch.arange(len(weights)).to(weights), weights)


def zero_inflated_geometric(logits, gate):
    return dist.ZeroInflatedDistribution(dist.Geometric(logits=logits), gate_logits=gate)


WISHART = [(1.1, 3.0, 30.0, 1e4, 1e7), SCALE[1:4]]
THREE = [LOGITS, LOGITS, (0.0, 1e4)]
EXTREMES = {
    "AVFMultivariateNormal": Extreme(
        lambda scale: dist.AVFMultivariateNormal(
            zeros(scale[0]), tril(scale)[0], torch.ones(2, 1, 2).to(scale)
        ),
        [SCALE],
        alone=True,
    ),
    "AffineBeta": Extreme(dist.AffineBeta, [SHAPE[::2], SHAPE[::2], LOC[:2], SCALE]),
    "AsymmetricLaplace": Extreme(dist.AsymmetricLaplace, [LOC, SCALE, (1e-2, 1.0, 50.0)]),
    "Bernoulli": Extreme(lambda logits: dist.Bernoulli(logits=logits), [LOGITS]),
    "Beta": Extreme(dist.Beta, [SHAPE, SHAPE]),
    "Binomial": Extreme(lambda n, logits: dist.Binomial(n, logits=logits), [RATES[2:], LOGITS]),
    "Categorical": Extreme(lambda *logits: dist.Categorical(logits=rows(*logits)), THREE),
    "Cauchy": Extreme(dist.Cauchy, [LOC, SCALE]),
    "Chi2": Extreme(dist.Chi2, [DF]),
    "ContinuousBernoulli": Extreme(
        lambda logits: dist.ContinuousBernoulli(logits=logits),
        [(-80.0, -15.0, -1.0, -1e-3, 0.0, 1e-4, 0.3, 5.0, 16.0)],
    ),
    "Delta": Extreme(dist.Delta, [LOC, LOC]),
    "Dirichlet": Extreme(lambda *a: dist.Dirichlet(rows(*a)), [SHAPE, SHAPE, (0.3, 1e5)]),
    "Empirical": Extreme(empirical, THREE, alone=True),
    "Exponential": Extreme(dist.Exponential, [SCALE]),
    "ExtendedBinomial": Extreme(
        lambda n, logits: dist.ExtendedBinomial(n, logits=logits), [RATES[2:], LOGITS]
    ),
    "FisherSnedecor": Extreme(dist.FisherSnedecor, [DF, DF]),
    "Gamma": Extreme(dist.Gamma, [SHAPE, SCALE]),
    "GammaPoisson": Extreme(dist.GammaPoisson, [FAILURES, (1e-3, 0.5, 1e3, 1e7)]),
    "GeneralizedPareto": Extreme(dist.GeneralizedPareto, [LOC, SCALE, (-2.0, 0.0, 0.5)]),
    "Geometric": Extreme(lambda logits: dist.Geometric(logits=logits), [LOGITS]),
    "GroupedNormalNormal": Extreme(grouped, [SCALE[1:4], SCALE[1:4]], alone=True),
    "Gumbel": Extreme(dist.Gumbel, [LOC, SCALE]),
    "HalfCauchy": Extreme(dist.HalfCauchy, [SCALE]),
    "HalfNormal": Extreme(dist.HalfNormal, [SCALE]),
    "InverseGamma": Extreme(dist.InverseGamma, [SHAPE, SCALE]),
    "Kumaraswamy": Extreme(dist.Kumaraswamy, [SHAPE, SHAPE]),
    "LKJ": Extreme(lambda eta: dist.LKJ(4, eta), [SHAPE]),
    "LKJCholesky": Extreme(lambda eta: dist.LKJCholesky(4, eta), [SHAPE]),
    "Laplace": Extreme(dist.Laplace, [LOC, SCALE]),
    "LogNormal": Extreme(dist.LogNormal, [LOC, SCALE]),
    "Logistic": Extreme(dist.Logistic, [LOC, SCALE]),
    "LowRankMultivariateNormal": Extreme(low_rank, [SCALE[1:4], SCALE[1:4]]),
    "MaskedMixture": Extreme(masked, [LOC, SCALE, SHAPE]),
    "Multinomial": Extreme(
        lambda *logits: dist.Multinomial(50_000, logits=rows(*logits)), [LOGITS, LOGITS, (0.0,)]
    ),
    "MultivariateNormal": Extreme(normal_of(dist.MultivariateNormal), [SCALE]),
    "MultivariateStudentT": Extreme(
        lambda df, scale: dist.MultivariateStudentT(df, zeros(scale), tril(scale)), [DF, SCALE]
    ),
    "NanMaskedMultivariateNormal": Extreme(normal_of(dist.NanMaskedMultivariateNormal), [SCALE]),
    "NanMaskedNormal": Extreme(dist.NanMaskedNormal, [LOC, SCALE]),
    "NegativeBinomial": Extreme(
        lambda r, logits: dist.NegativeBinomial(r, logits=logits),
        [FAILURES, (-23.0, -5.0, 0.0, 5.0, 10.0)],
    ),
    "Normal": Extreme(dist.Normal, [LOC, SCALE]),
    "OMTMultivariateNormal": Extreme(
        lambda scale: dist.OMTMultivariateNormal(zeros(scale[0]), tril(scale)[0]),
        [SCALE],
        alone=True,
    ),
    "OneHotCategorical": Extreme(
        lambda *logits: dist.OneHotCategorical(logits=rows(*logits)), THREE
    ),
    "OneHotCategoricalStraightThrough": Extreme(
        lambda *logits: dist.OneHotCategoricalStraightThrough(logits=rows(*logits)), THREE
    ),
    "OrderedLogistic": Extreme(
        lambda predictor: dist.OrderedLogistic(predictor, torch.tensor([-1.0, 0.5]).to(predictor)),
        [(-100.0, -12.0, 0.0, 5.0, 12.0, 16.0, 100.0)],
    ),
    "Pareto": Extreme(dist.Pareto, [SCALE, (1e-3, 1.0, 1e6)]),
    "Poisson": Extreme(dist.Poisson, [RATES]),
    "SkewLogistic": Extreme(dist.SkewLogistic, [LOC, SCALE, SHAPE]),
    "SoftLaplace": Extreme(dist.SoftLaplace, [LOC, SCALE]),
    "StudentT": Extreme(dist.StudentT, [DF, LOC, SCALE]),
    "Uniform": Extreme(lambda low, width: dist.Uniform(low, low + width), [(0.0, 1024.0), (4.0,)]),
    "VonMises": Extreme(dist.VonMises, [LOC, (1e-6, 0.5, 5.0, 15.0, 20.0, 1e4, 1e8)]),
    "VonMises3D": Extreme(
        lambda k: dist.VonMises3D(rows(k, 0 * k, 0 * k), validate_args=False),
        [(1e-6, 0.01, 0.5, 5.0, 15.0, 1e4, 1e8)],
    ),
    "Weibull": Extreme(dist.Weibull, [SCALE, (1e-2, 1.0, 1e6)]),
    "Wishart": Extreme(lambda df, s: dist.Wishart(df, scale_tril=tril(s)), WISHART),
    "ZeroInflatedDistribution": Extreme(zero_inflated_geometric, [LOGITS, LOGITS]),
    "ZeroInflatedNegativeBinomial": Extreme(
        lambda r, logits, gate: dist.ZeroInflatedNegativeBinomial(
            r, logits=logits, gate_logits=gate
        ),
        [FAILURES, (-23.0, 0.0, 5.0), LOGITS],
    ),
    "ZeroInflatedPoisson": Extreme(
        lambda rate, gate: dist.ZeroInflatedPoisson(rate, gate=gate), [RATES, PROBS]
    ),
}
# The other one of two forms that the host takes.
OTHERS = {
    "Bernoulli": Extreme(lambda p: dist.Bernoulli(p), [(0.0, *PROBS)]),
    "Categorical": Extreme(lambda *p: dist.Categorical(rows(*p)), [PROBS, PROBS, (0.0, 0.3)]),
    "Geometric": Extreme(dist.Geometric, [PROBS]),
    "InverseGamma": Extreme(td.InverseGamma, [SHAPE, SCALE]),
    "ZeroInflatedPoisson": Extreme(
        lambda rate, gate: dist.ZeroInflatedPoisson(rate, gate_logits=gate), [RATES, LOGITS]
    ),
}
