"""An example of every distribution of Pyro."""

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch.distributions import SoftplusTransform

from tests.support.entropy_table import CHANGE, HOST, NONE, OURS, SAMPLED, Case


def t(*values):
    return torch.tensor(values, dtype=torch.float64)


def spd(dim):
    return torch.eye(dim, dtype=torch.float64) + 0.3


def tril(dim):
    return torch.linalg.cholesky(spd(dim))


def normal(*batch, dim=2):
    loc = torch.zeros(*batch, dim, dtype=torch.float64)
    return dist.MultivariateNormal(loc, scale_tril=tril(dim))


def eye(*batch):
    return torch.eye(2, dtype=torch.float64).expand(*batch, 2, 2)


A, B, L = t(0.7, 2.5), t(1.3, 3.0), t(-0.4, 1.1)
ROWS = t([0.2, -0.5, 1.0], [1.0, 0.3, -2.0])
ATOMS = t([0.0, 1.0, 1.0, 3.0], [2.0, 5.0, 6.0, 6.0])
TORCH_LKJ = "of the density: torch's draws of more than two dimensions are not from it"
ONE_TO_ONE = "one graph a site, no batch"


def rejector():
    # A half-normal distribution from exponential draws.
    return dist.Rejector(
        dist.Exponential(A), lambda x: -0.5 * (x - A) ** 2, torch.zeros(2).double()
    )


CASES = {
    "AVFMultivariateNormal": Case(
        HOST,
        lambda: dist.AVFMultivariateNormal(L, tril(2), torch.ones(2, 1, 2).double()),
        wraps=False,
    ),
    "AffineBeta": Case(OURS, lambda: dist.AffineBeta(A, B, L, B), "a beta distribution, scaled"),
    "AsymmetricLaplace": Case(OURS, lambda: dist.AsymmetricLaplace(L, A, B)),
    "Bernoulli": Case(OURS, lambda: dist.Bernoulli(logits=L)),
    "Beta": Case(OURS, lambda: dist.Beta(A, B)),
    "BetaBinomial": Case(SAMPLED, lambda: dist.BetaBinomial(A, B, 7)),
    "Binomial": Case(OURS, lambda: dist.Binomial(t(5, 9), logits=L), "exact, of any trials"),
    "Categorical": Case(OURS, lambda: dist.Categorical(logits=ROWS)),
    "Cauchy": Case(HOST, lambda: dist.Cauchy(L, A)),
    "Chi2": Case(OURS, lambda: dist.Chi2(A)),
    "CoalescentTimes": Case(
        SAMPLED, lambda: dist.CoalescentTimes(t(0.0, 0.0, 0.0)), wraps=False, num=2000
    ),
    "CoalescentTimesWithRate": Case(
        NONE, lambda: dist.CoalescentTimesWithRate(t(0.0, 0.0), t(1.0)), "no sampler", wraps=False
    ),
    "ContinuousBernoulli": Case(OURS, lambda: dist.ContinuousBernoulli(logits=L)),
    "Delta": Case(OURS, lambda: dist.Delta(L, A), "minus its log-density"),
    "Dirichlet": Case(OURS, lambda: dist.Dirichlet(torch.stack([A, B]))),
    "DirichletMultinomial": Case(
        SAMPLED, lambda: dist.DirichletMultinomial(torch.stack([A, B]), 6), num=5000
    ),
    "DiscreteHMM": Case(
        SAMPLED,
        lambda: dist.DiscreteHMM(L, eye(3), dist.Normal(L, t(1.0)).expand([3, 2]), duration=3),
        num=2000,
        wraps=False,
    ),
    "Empirical": Case(
        OURS,
        lambda: dist.Empirical(ATOMS, ROWS.repeat(1, 2)[:, :4]),
        "a sum over its atoms",
        wraps=False,
    ),
    "Exponential": Case(HOST, lambda: dist.Exponential(A)),
    "ExtendedBetaBinomial": Case(SAMPLED, lambda: dist.ExtendedBetaBinomial(A, B, t(7, 7))),
    "ExtendedBinomial": Case(OURS, lambda: dist.ExtendedBinomial(t(7, 7), logits=L)),
    "FisherSnedecor": Case(OURS, lambda: dist.FisherSnedecor(2 * A, 2 * B)),
    "FoldedDistribution": Case(SAMPLED, lambda: dist.FoldedDistribution(dist.Normal(L, A))),
    "Gamma": Case(OURS, lambda: dist.Gamma(A, B)),
    "GammaGaussianHMM": Case(
        NONE,
        lambda: dist.GammaGaussianHMM(
            dist.Gamma(t(2.0)[0], t(2.0)[0]), normal(), eye(3), normal(3), eye(3), normal(3)
        ),
        "no sampler",
        wraps=False,
    ),
    "GammaPoisson": Case(OURS, lambda: dist.GammaPoisson(A, B), "exact"),
    "GaussianHMM": Case(
        SAMPLED,
        lambda: dist.GaussianHMM(normal(2), eye(1), normal(1), eye(1), normal(1), duration=3),
        num=2000,
        wraps=False,
    ),
    "GaussianMRF": Case(
        NONE,
        lambda: dist.GaussianMRF(normal(2), normal(1, dim=4), normal(1, dim=4)),
        "no sampler",
        wraps=False,
    ),
    "GaussianScaleMixture": Case(
        SAMPLED,
        lambda: dist.GaussianScaleMixture(t(1.0, 1.0), t(0.1, 0.9), t(0.5, 2.0)),
        num=2000,
        wraps=False,
    ),
    "GeneralizedPareto": Case(
        HOST,
        lambda: dist.GeneralizedPareto(L.float(), A.float(), 0.1 * B.float()),
        "torch has its density in float32 alone",
    ),
    "Geometric": Case(OURS, lambda: dist.Geometric(logits=L)),
    "GroupedNormalNormal": Case(
        OURS,
        lambda: dist.GroupedNormalNormal(L, A, t(1.0), torch.tensor([0, 0, 1])),
        "no sampler",
        wraps=False,
    ),
    "Gumbel": Case(HOST, lambda: dist.Gumbel(L, A)),
    "HalfCauchy": Case(HOST, lambda: dist.HalfCauchy(A)),
    "HalfNormal": Case(HOST, lambda: dist.HalfNormal(A)),
    "ImproperUniform": Case(
        NONE, lambda: dist.ImproperUniform(constraints.real, (2,), ()), "improper"
    ),
    "IndependentHMM": Case(
        SAMPLED,
        lambda: dist.IndependentHMM(
            dist.GaussianHMM(
                normal(2), eye(1), normal(1), eye(1)[..., :1], normal(1, dim=1), duration=3
            )
        ),
        num=2000,
        wraps=False,
    ),
    "InverseGamma": Case(OURS, lambda: dist.InverseGamma(A, B)),
    "Kumaraswamy": Case(OURS, lambda: dist.Kumaraswamy(A, B)),
    "LKJ": Case(OURS, lambda: dist.LKJ(3, A), TORCH_LKJ, wraps=False),
    "LKJCholesky": Case(OURS, lambda: dist.LKJCholesky(3, A), TORCH_LKJ),
    "Laplace": Case(HOST, lambda: dist.Laplace(L, A)),
    "LinearHMM": Case(
        NONE,
        lambda: dist.LinearHMM(normal(2), eye(1), normal(1), eye(1), normal(1), duration=3),
        "no density",
        wraps=False,
    ),
    "LogNormal": Case(HOST, lambda: dist.LogNormal(L, A)),
    "LogNormalNegativeBinomial": Case(
        NONE, lambda: dist.LogNormalNegativeBinomial(B, L, 0.1 * A), "no sampler"
    ),
    "Logistic": Case(HOST, lambda: dist.Logistic(L, A)),
    "LogisticNormal": Case(CHANGE, lambda: dist.LogisticNormal(ROWS, t(0.5, 1.0, 2.0))),
    "LowRankMultivariateNormal": Case(
        HOST, lambda: dist.LowRankMultivariateNormal(ROWS, t([1.0], [0.5], [2.0]), t(1, 2, 3.0))
    ),
    "MaskedMixture": Case(
        OURS,
        lambda: dist.MaskedMixture(
            torch.tensor([True, False]), dist.Normal(L, A), dist.Cauchy(L, A)
        ),
        "where its parts have one",
        wraps=False,
    ),
    "MixtureOfDiagNormals": Case(
        SAMPLED, lambda: dist.MixtureOfDiagNormals(ROWS, ROWS.exp(), L), wraps=False
    ),
    "MixtureOfDiagNormalsSharedCovariance": Case(
        SAMPLED,
        lambda: dist.MixtureOfDiagNormalsSharedCovariance(ROWS, ROWS[0].exp(), L),
        wraps=False,
    ),
    "MixtureSameFamily": Case(
        SAMPLED,
        lambda: dist.MixtureSameFamily(dist.Categorical(logits=ROWS), dist.Normal(ROWS, t(0.5))),
    ),
    "Multinomial": Case(OURS, lambda: dist.Multinomial(6, logits=ROWS), "exact"),
    "MultivariateNormal": Case(HOST, lambda: dist.MultivariateNormal(ROWS, spd(3))),
    "MultivariateStudentT": Case(OURS, lambda: dist.MultivariateStudentT(3 * A, ROWS, tril(3))),
    "NanMaskedMultivariateNormal": Case(
        HOST, lambda: dist.NanMaskedMultivariateNormal(ROWS, spd(3)), "of all values"
    ),
    "NanMaskedNormal": Case(HOST, lambda: dist.NanMaskedNormal(L, A), "of all values"),
    "NegativeBinomial": Case(OURS, lambda: dist.NegativeBinomial(B, logits=L), "exact"),
    "Normal": Case(HOST, lambda: dist.Normal(L, A)),
    "OMTMultivariateNormal": Case(
        HOST, lambda: dist.OMTMultivariateNormal(L, tril(2)), wraps=False
    ),
    "OneHotCategorical": Case(OURS, lambda: dist.OneHotCategorical(logits=ROWS)),
    "OneHotCategoricalStraightThrough": Case(
        OURS, lambda: dist.OneHotCategoricalStraightThrough(logits=ROWS)
    ),
    "OneOneMatching": Case(
        SAMPLED, lambda: dist.OneOneMatching(eye(2)[0]), ONE_TO_ONE, wraps=False
    ),
    "OneTwoMatching": Case(
        SAMPLED, lambda: dist.OneTwoMatching(ROWS.T[:2, :1]), ONE_TO_ONE, wraps=False
    ),
    "OrderedLogistic": Case(OURS, lambda: dist.OrderedLogistic(L, t(-1.0, 0.5))),
    "Pareto": Case(HOST, lambda: dist.Pareto(A, B)),
    "Poisson": Case(OURS, lambda: dist.Poisson(t(0.3, 40.0)), "exact"),
    "ProjectedNormal": Case(SAMPLED, lambda: dist.ProjectedNormal(ROWS)),
    "Rejector": Case(SAMPLED, rejector),
    "RelaxedBernoulli": Case(CHANGE, lambda: dist.RelaxedBernoulli(t(0.7), logits=L)),
    "RelaxedBernoulliStraightThrough": Case(
        SAMPLED,
        lambda: dist.RelaxedBernoulliStraightThrough(t(0.7), logits=L),
        "of its relaxed density",
    ),
    "RelaxedOneHotCategorical": Case(
        SAMPLED, lambda: dist.RelaxedOneHotCategorical(t(0.7), logits=ROWS)
    ),
    "RelaxedOneHotCategoricalStraightThrough": Case(
        SAMPLED,
        lambda: dist.RelaxedOneHotCategoricalStraightThrough(t(0.7), logits=ROWS),
        "of its relaxed density",
    ),
    "SineBivariateVonMises": Case(
        SAMPLED, lambda: dist.SineBivariateVonMises(L, L, A + 1, B + 1, 0.3 * A), num=2000
    ),
    "SineSkewed": Case(
        SAMPLED,
        lambda: dist.SineSkewed(dist.VonMises(L, A).to_event(1), t(0.3, -0.2)),
        num=2000,
    ),
    "SkewLogistic": Case(OURS, lambda: dist.SkewLogistic(L, A, B)),
    "SoftAsymmetricLaplace": Case(SAMPLED, lambda: dist.SoftAsymmetricLaplace(L, A, B, B)),
    "SoftLaplace": Case(OURS, lambda: dist.SoftLaplace(L, A)),
    "SpanningTree": Case(
        SAMPLED, lambda: dist.SpanningTree(t(0.1, 0.2, 0.3)), ONE_TO_ONE, num=300, wraps=False
    ),
    "Stable": Case(SAMPLED, lambda: dist.Stable(t(1.5, 1.7), t(0.1, 0.2)), num=1000),
    "StableWithLogProb": Case(
        SAMPLED, lambda: dist.StableWithLogProb(t(1.5, 1.7), t(0.1, 0.2)), num=1000
    ),
    "StudentT": Case(OURS, lambda: dist.StudentT(3 * A, L, B)),
    "TransformedDistribution": Case(
        CHANGE,
        lambda: dist.TransformedDistribution(dist.Normal(L, A), SoftplusTransform()),
        "ours where the Jacobian is constant, sampled where the base has no closed form",
    ),
    "TruncatedPolyaGamma": Case(
        SAMPLED, lambda: dist.TruncatedPolyaGamma(torch.zeros(()).double().expand(2)), num=2000
    ),
    "Uniform": Case(HOST, lambda: dist.Uniform(L, L + B)),
    "Unit": Case(NONE, lambda: dist.Unit(A), "a factor"),
    "VonMises": Case(OURS, lambda: dist.VonMises(L, A)),
    "VonMises3D": Case(OURS, lambda: dist.VonMises3D(ROWS), "no sampler", wraps=False),
    "Weibull": Case(HOST, lambda: dist.Weibull(A, B)),
    "Wishart": Case(OURS, lambda: dist.Wishart(A + 9, spd(2)), num=5000),
    "ZeroInflatedDistribution": Case(
        OURS,
        lambda: dist.ZeroInflatedDistribution(dist.Geometric(logits=L), gate=t(0.2, 0.6)),
        "where its base has one",
    ),
    "ZeroInflatedNegativeBinomial": Case(
        OURS, lambda: dist.ZeroInflatedNegativeBinomial(B, logits=L, gate_logits=L), "exact"
    ),
    "ZeroInflatedPoisson": Case(
        OURS, lambda: dist.ZeroInflatedPoisson(B, gate=t(0.2, 0.6)), "exact"
    ),
}

SKIPPED = {
    "Distribution": "abstract",
    "ExpandedDistribution": "a wrapper, taken off",
    "ExponentialFamily": "abstract",
    "HiddenMarkovModel": "abstract",
    "Independent": "a wrapper, taken off",
    "LKJCorrCholesky": "deprecated, LKJCholesky",
    "MaskedDistribution": "a wrapper, taken off",
    "TorchDistribution": "abstract",
}
