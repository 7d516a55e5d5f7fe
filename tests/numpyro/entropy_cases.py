"""An example of every distribution of NumPyro."""

import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints, transforms

from tests.support.entropy_table import CHANGE, HOST, NONE, OURS, SAMPLED, Case


def spd(dim):
    return jnp.eye(dim) + 0.3


def tril(dim):
    return jnp.linalg.cholesky(spd(dim))


A, B, L = jnp.array([0.7, 2.5]), jnp.array([1.3, 3.0]), jnp.array([-0.4, 1.1])
P = jnp.array([0.2, 0.6])
ROWS = jnp.array([[0.2, -0.5, 1.0], [1.0, 0.3, -2.0]])
PAIR = jnp.stack([A, B], -1)
NORMAL = dist.Normal(L, A)
NO_DENSITY = "the density is that of an observation, not of its draws"
TRUNCATED = "ours for a normal base, sampled for others"
EXACT = "exact"


def softmax(rows):
    return jnp.exp(rows) / jnp.exp(rows).sum(-1, keepdims=True)


CASES = {
    "AsymmetricLaplace": Case(OURS, lambda: dist.AsymmetricLaplace(L, A, B)),
    "AsymmetricLaplaceQuantile": Case(OURS, lambda: dist.AsymmetricLaplaceQuantile(L, A, P)),
    "BernoulliLogits": Case(OURS, lambda: dist.BernoulliLogits(L)),
    "BernoulliProbs": Case(HOST, lambda: dist.BernoulliProbs(P)),
    "Beta": Case(OURS, lambda: dist.Beta(A, B)),
    "BetaBinomial": Case(SAMPLED, lambda: dist.BetaBinomial(A, B, 7)),
    "BetaNegativeBinomial": Case(SAMPLED, lambda: dist.BetaNegativeBinomial(A, B + 2, 3.0)),
    "BetaProportion": Case(OURS, lambda: dist.BetaProportion(P, B)),
    "BinomialLogits": Case(OURS, lambda: dist.BinomialLogits(L, jnp.array([5, 9])), EXACT),
    "BinomialProbs": Case(OURS, lambda: dist.BinomialProbs(P, jnp.array([5, 9])), EXACT),
    "CAR": Case(OURS, lambda: dist.CAR(ROWS, P, B, jnp.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]))),
    "CategoricalLogits": Case(OURS, lambda: dist.CategoricalLogits(ROWS)),
    "CategoricalProbs": Case(HOST, lambda: dist.CategoricalProbs(softmax(ROWS))),
    "Cauchy": Case(HOST, lambda: dist.Cauchy(L, A)),
    "Chi2": Case(OURS, lambda: dist.Chi2(A)),
    "CirculantNormal": Case(
        HOST, lambda: dist.CirculantNormal(jnp.zeros((2, 4)), jnp.array([2.0, 0.5, 0.2, 0.5]))
    ),
    "Dagum": Case(OURS, lambda: dist.Dagum(A, B, A)),
    "Delta": Case(HOST, lambda: dist.Delta(L, A)),
    "Dirichlet": Case(OURS, lambda: dist.Dirichlet(PAIR)),
    "DirichletMultinomial": Case(SAMPLED, lambda: dist.DirichletMultinomial(PAIR, 6), num=5000),
    "DiscreteUniform": Case(HOST, lambda: dist.DiscreteUniform(jnp.array([0, 3]), 9)),
    "DoublyTruncatedPowerLaw": Case(
        OURS, lambda: dist.DoublyTruncatedPowerLaw(jnp.array([-1.0, 0.5]), A, 4 * A)
    ),
    "EulerMaruyama": Case(
        SAMPLED,
        lambda: dist.EulerMaruyama(
            jnp.array([0.0, 0.1, 0.2]), lambda x, _: (-x, 1 + x**2), dist.Normal(0.0, 1.0)
        ),
        num=2000,
        wraps=False,
    ),
    "Exponential": Case(HOST, lambda: dist.Exponential(A)),
    "FoldedDistribution": Case(SAMPLED, lambda: dist.FoldedDistribution(NORMAL)),
    "Gamma": Case(OURS, lambda: dist.Gamma(A, B)),
    "GammaPoisson": Case(OURS, lambda: dist.GammaPoisson(A, B), EXACT),
    "GaussianCopula": Case(
        OURS,
        lambda: dist.GaussianCopula(dist.Laplace(0.0, PAIR), jnp.eye(2) * 0.6 + 0.4),
        "where its marginals have one",
    ),
    "GaussianCopulaBeta": Case(
        OURS,
        lambda: dist.GaussianCopulaBeta(PAIR, PAIR + 1, jnp.eye(2) * 0.6 + 0.4),
        "the host draws from it with tensorflow_probability alone",
    ),
    "GaussianRandomWalk": Case(OURS, lambda: dist.GaussianRandomWalk(A, 4)),
    "GaussianStateSpace": Case(
        OURS, lambda: dist.GaussianStateSpace(3, 0.5 * spd(2), spd(2)), wraps=False
    ),
    "GeometricLogits": Case(OURS, lambda: dist.GeometricLogits(L)),
    "GeometricProbs": Case(OURS, lambda: dist.GeometricProbs(P)),
    "Gompertz": Case(OURS, lambda: dist.Gompertz(A, B)),
    "Gumbel": Case(OURS, lambda: dist.Gumbel(L, A)),
    "HalfCauchy": Case(OURS, lambda: dist.HalfCauchy(A)),
    "HalfNormal": Case(OURS, lambda: dist.HalfNormal(A)),
    "HurdleGamma": Case(OURS, lambda: dist.HurdleGamma(P, A + 1, B)),
    "HurdleLogNormal": Case(OURS, lambda: dist.HurdleLogNormal(P, L, A)),
    "HurdleLogits": Case(
        OURS, lambda: dist.HurdleLogits(dist.GeometricProbs(P), L), "where its base has one"
    ),
    "HurdlePoisson": Case(OURS, lambda: dist.HurdlePoisson(P, B), EXACT),
    "HurdleProbs": Case(OURS, lambda: dist.HurdleProbs(dist.Poisson(B), P)),
    "ImproperUniform": Case(
        NONE, lambda: dist.ImproperUniform(constraints.real, (2,), ()), "improper"
    ),
    "IntervalCensoredDistribution": Case(
        NONE, lambda: dist.IntervalCensoredDistribution(NORMAL, False, False), NO_DENSITY
    ),
    "InverseGamma": Case(OURS, lambda: dist.InverseGamma(A, B)),
    "InverseWishart": Case(OURS, lambda: dist.InverseWishart(A + 3, scale_tril=tril(2))),
    "InverseWishartCholesky": Case(
        OURS, lambda: dist.InverseWishartCholesky(A + 3, scale_tril=tril(2))
    ),
    "Kumaraswamy": Case(OURS, lambda: dist.Kumaraswamy(A, B)),
    "LKJ": Case(OURS, lambda: dist.LKJ(3, A)),
    "LKJCholesky": Case(OURS, lambda: dist.LKJCholesky(3, A)),
    "Laplace": Case(HOST, lambda: dist.Laplace(L, A)),
    "LeftCensoredDistribution": Case(
        NONE, lambda: dist.LeftCensoredDistribution(NORMAL), NO_DENSITY
    ),
    "LeftTruncatedDistribution": Case(
        OURS, lambda: dist.LeftTruncatedDistribution(NORMAL, P), TRUNCATED
    ),
    "LeftTruncatedGamma": Case(
        SAMPLED, lambda: dist.LeftTruncatedGamma(dist.Gamma(A + 1, B), P), num=2000
    ),
    "Levy": Case(HOST, lambda: dist.Levy(L, A)),
    "LogNormal": Case(HOST, lambda: dist.LogNormal(L, A)),
    "LogUniform": Case(OURS, lambda: dist.LogUniform(A, 2 * A)),
    "Logistic": Case(HOST, lambda: dist.Logistic(L, A)),
    "LowRankMultivariateNormal": Case(
        HOST, lambda: dist.LowRankMultivariateNormal(ROWS, jnp.ones((3, 1)), jnp.arange(1.0, 4))
    ),
    "LowerTruncatedPowerLaw": Case(OURS, lambda: dist.LowerTruncatedPowerLaw(-1 - B, A)),
    "MatrixNormal": Case(
        OURS, lambda: dist.MatrixNormal(jnp.zeros((2, 2, 3)), 2 * tril(2), tril(3))
    ),
    "MixtureGeneral": Case(
        SAMPLED,
        lambda: dist.MixtureGeneral(
            dist.CategoricalLogits(ROWS[:, :2]), [NORMAL, dist.Cauchy(L, A)]
        ),
        num=5000,
    ),
    "MixtureSameFamily": Case(
        SAMPLED,
        lambda: dist.MixtureSameFamily(dist.CategoricalLogits(ROWS), dist.Normal(ROWS, 0.5)),
        num=5000,
    ),
    "MultinomialLogits": Case(OURS, lambda: dist.MultinomialLogits(ROWS, 6), EXACT, num=5000),
    "MultinomialProbs": Case(
        OURS, lambda: dist.MultinomialProbs(softmax(ROWS), 6), EXACT, num=5000
    ),
    "MultivariateNormal": Case(HOST, lambda: dist.MultivariateNormal(ROWS, spd(3))),
    "MultivariateStudentT": Case(OURS, lambda: dist.MultivariateStudentT(3 * A, ROWS, tril(3))),
    "NegativeBinomial2": Case(OURS, lambda: dist.NegativeBinomial2(A, B), EXACT),
    "NegativeBinomialLogits": Case(OURS, lambda: dist.NegativeBinomialLogits(B, L), EXACT),
    "NegativeBinomialProbs": Case(OURS, lambda: dist.NegativeBinomialProbs(B, P), EXACT),
    "Normal": Case(OURS, lambda: NORMAL),
    "OrderedLogistic": Case(OURS, lambda: dist.OrderedLogistic(L, jnp.array([-1.0, 0.5]))),
    "Pareto": Case(HOST, lambda: dist.Pareto(A, B)),
    "Poisson": Case(OURS, lambda: dist.Poisson(jnp.array([0.3, 40.0])), EXACT),
    "ProjectedNormal": Case(SAMPLED, lambda: dist.ProjectedNormal(ROWS)),
    "RelaxedBernoulliLogits": Case(CHANGE, lambda: dist.RelaxedBernoulliLogits(0.7, L)),
    "RightCensoredDistribution": Case(
        NONE, lambda: dist.RightCensoredDistribution(NORMAL), NO_DENSITY
    ),
    "RightTruncatedDistribution": Case(
        OURS, lambda: dist.RightTruncatedDistribution(NORMAL, P), TRUNCATED
    ),
    "RightTruncatedGamma": Case(
        SAMPLED, lambda: dist.RightTruncatedGamma(dist.Gamma(A + 1, B), P), num=2000
    ),
    "SineBivariateVonMises": Case(
        SAMPLED, lambda: dist.SineBivariateVonMises(L, L, A + 1, B + 1, 0.3 * A), num=2000
    ),
    "SineSkewed": Case(
        SAMPLED,
        lambda: dist.SineSkewed(dist.VonMises(L, A).to_event(1), jnp.array([0.3, -0.2])),
        num=2000,
    ),
    "SoftLaplace": Case(OURS, lambda: dist.SoftLaplace(L, A)),
    "StudentT": Case(OURS, lambda: dist.StudentT(3 * A, L, B)),
    "TransformedDistribution": Case(
        CHANGE,
        lambda: dist.TransformedDistribution(NORMAL, transforms.SoftplusTransform()),
        "ours where the Jacobian is constant, sampled where the base has no closed form",
    ),
    "TruncatedPolyaGamma": Case(
        SAMPLED,
        lambda: dist.TruncatedPolyaGamma(),
        "NumPyro gives the draws of a batch the wrong shape",
        num=500,
        wraps=False,
    ),
    "TwoSidedTruncatedDistribution": Case(
        OURS, lambda: dist.TwoSidedTruncatedDistribution(NORMAL, P, P + 1), TRUNCATED
    ),
    "TwoSidedTruncatedGamma": Case(
        SAMPLED, lambda: dist.TwoSidedTruncatedGamma(dist.Gamma(A + 1, B), P, P + 1), num=2000
    ),
    "Uniform": Case(HOST, lambda: dist.Uniform(L, L + B)),
    "Unit": Case(NONE, lambda: dist.Unit(A), "a factor"),
    "VonMises": Case(OURS, lambda: dist.VonMises(L, A)),
    "Weibull": Case(HOST, lambda: dist.Weibull(A, B)),
    "Wishart": Case(OURS, lambda: dist.Wishart(A + 3, scale_tril=tril(2))),
    "WishartCholesky": Case(OURS, lambda: dist.WishartCholesky(A + 3, scale_tril=tril(2))),
    "ZeroInflatedLogits": Case(
        OURS, lambda: dist.ZeroInflatedLogits(dist.GeometricProbs(P), L), "where its base has one"
    ),
    "ZeroInflatedPoisson": Case(OURS, lambda: dist.ZeroInflatedPoisson(P, B), EXACT),
    "ZeroInflatedProbs": Case(OURS, lambda: dist.ZeroInflatedProbs(dist.Poisson(B), P)),
    "ZeroSumNormal": Case(OURS, lambda: dist.ZeroSumNormal(0.7, (3, 4)), wraps=False),
}

SKIPPED = {
    "Distribution": "abstract",
    "ExpandedDistribution": "a wrapper, taken off",
    "Independent": "a wrapper, taken off",
    "MaskedDistribution": "a wrapper, taken off",
}
