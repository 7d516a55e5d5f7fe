"""Every distribution of NumPyro with an entropy in closed form, far out."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from numpyro_entropy.entropies.estimate import closed_entropy
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


def precision(dtype):
    """What a user has who does not ask for double precision."""
    return jax.enable_x64(dtype == np.float64)


def last_digits(extreme):
    """The errors of a class, in units of float32's last digit."""
    return errors(extreme, closed_entropy, jnp.asarray, precision)


def rows(*columns):
    return jnp.stack(columns, -1)


def tril(scale):
    return scale[..., None, None] * jnp.array([[1.0, 0.0], [0.3, 0.5]], scale.dtype)


def zeros(scale):
    return jnp.zeros((*scale.shape, 2), scale.dtype)


def low_rank(factor, diagonal):
    cov = factor[..., None, None] * jnp.array([[1.0], [-0.4]], factor.dtype)
    return dist.LowRankMultivariateNormal(zeros(factor), cov, rows(diagonal, 3 * diagonal))


def car(correlation, precision):
    neighbours = jnp.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], correlation.dtype)
    loc = jnp.zeros((len(correlation), 3), correlation.dtype)
    return dist.CAR(loc, correlation, precision, neighbours)


def circulant(scale):
    rfft = scale[:, None] * jnp.array([2.0, 0.5, 0.2], scale.dtype)
    return dist.CirculantNormal(jnp.zeros((len(scale), 4), scale.dtype), covariance_rfft=rfft)


def copula(marginal):
    def make(a, b):
        correlation = jnp.array([[1.0, 0.4], [0.4, 1.0]], a.dtype)
        return marginal(rows(a, a), rows(b, b), correlation)

    return make


def copula_of_laplace(loc, scale, correlation):
    return dist.GaussianCopula(dist.Laplace(loc, scale), correlation)


def matrix_normal(rows_scale, columns_scale):
    loc = jnp.zeros((len(rows_scale), 2, 2), rows_scale.dtype)
    return dist.MatrixNormal(loc, tril(rows_scale), tril(columns_scale))


def ordered(predictor):
    return dist.OrderedLogistic(predictor, jnp.array([-1.0, 0.5], predictor.dtype))


def state_space(decay, scale):
    transition = decay[0] * jnp.eye(2, dtype=decay.dtype)
    return dist.GaussianStateSpace(3, transition, scale_tril=tril(scale)[0])


def truncated(loc, low, width):
    base = dist.Normal(loc, jnp.ones_like(loc))
    return dist.TwoSidedTruncatedDistribution(base, low, low + width)


def logits_of(cls):
    return lambda *logits: cls(logits=rows(*logits))


WISHART = [(1.1, 3.0, 30.0, 1e4, 1e7), SCALE[1:4]]
THREE = [LOGITS, LOGITS, (0.0, 1e4)]
# Above that the host's `1 / p - 1` is another number.
FEW_PROBS = (1e-7, 0.02, 0.5, 0.75)
# Of bounds whose sums are numbers of float32.
WIDTHS = (2.0**-10, 0.25, 1e4)
EXTREMES = {
    "AsymmetricLaplace": Extreme(dist.AsymmetricLaplace, [LOC, SCALE, (1e-2, 1.0, 50.0)]),
    "AsymmetricLaplaceQuantile": Extreme(
        dist.AsymmetricLaplaceQuantile, [LOC, SCALE, (1e-4, 0.5, 0.99)]
    ),
    "BernoulliLogits": Extreme(dist.BernoulliLogits, [LOGITS]),
    "BernoulliProbs": Extreme(dist.BernoulliProbs, [(0.0, *PROBS)]),
    "Beta": Extreme(dist.Beta, [SHAPE, SHAPE]),
    "BetaProportion": Extreme(dist.BetaProportion, [(1e-4, 0.5, 0.99), SHAPE]),
    "BinomialLogits": Extreme(
        lambda n, logits: dist.BinomialLogits(logits, n), [RATES[2:], LOGITS]
    ),
    "BinomialProbs": Extreme(lambda n, p: dist.BinomialProbs(p, n), [RATES[2:], FEW_PROBS]),
    "CAR": Extreme(car, [(-0.9, 0.0, 0.5), (1e-4, 1.0, 1e6)]),
    "CategoricalLogits": Extreme(logits_of(dist.CategoricalLogits), THREE),
    "CategoricalProbs": Extreme(
        lambda p, q: dist.CategoricalProbs(rows(p * (1 - q), 1 - p, p * q)), [PROBS, PROBS]
    ),
    "Cauchy": Extreme(dist.Cauchy, [LOC, SCALE]),
    "Chi2": Extreme(dist.Chi2, [DF]),
    "CirculantNormal": Extreme(circulant, [SCALE]),
    "Dagum": Extreme(dist.Dagum, [SHAPE, SHAPE, SCALE[1:4]]),
    "Delta": Extreme(dist.Delta, [LOC, LOC]),
    "Dirichlet": Extreme(lambda *a: dist.Dirichlet(rows(*a)), [SHAPE, SHAPE, (0.3, 1e5)]),
    "DiscreteUniform": Extreme(dist.DiscreteUniform, [(0.0, 5.0), (9.0, 1e6)]),
    "DoublyTruncatedPowerLaw": Extreme(
        lambda alpha, low, width: dist.DoublyTruncatedPowerLaw(alpha, low, low + width),
        [(-50.0, -1.0, -0.999, 0.5, 20.0), (0.5, 40.0), WIDTHS],
    ),
    "Exponential": Extreme(dist.Exponential, [SCALE]),
    "Gamma": Extreme(dist.Gamma, [SHAPE, SCALE]),
    "GammaPoisson": Extreme(dist.GammaPoisson, [FAILURES, (1e-3, 0.5, 1e3, 1e7)]),
    "GaussianCopula": Extreme(copula(copula_of_laplace), [LOC, SCALE]),
    "GaussianCopulaBeta": Extreme(copula(dist.GaussianCopulaBeta), [SHAPE, SHAPE]),
    "GaussianRandomWalk": Extreme(lambda scale: dist.GaussianRandomWalk(scale, 4), [SCALE]),
    "GaussianStateSpace": Extreme(state_space, [(0.1, 0.9), SCALE[1:4]], alone=True),
    "GeometricLogits": Extreme(dist.GeometricLogits, [LOGITS]),
    "GeometricProbs": Extreme(dist.GeometricProbs, [PROBS]),
    "Gompertz": Extreme(dist.Gompertz, [SHAPE, SCALE[1:4]]),
    "Gumbel": Extreme(dist.Gumbel, [LOC, SCALE]),
    "HalfCauchy": Extreme(dist.HalfCauchy, [SCALE]),
    "HalfNormal": Extreme(dist.HalfNormal, [SCALE]),
    "HurdleGamma": Extreme(dist.HurdleGamma, [PROBS, SHAPE, SCALE[1:4]]),
    "HurdleLogNormal": Extreme(dist.HurdleLogNormal, [PROBS, LOC, SCALE]),
    "HurdleLogits": Extreme(
        lambda logits, gate: dist.HurdleLogits(dist.GeometricLogits(logits), gate),
        [LOGITS, LOGITS],
    ),
    "HurdlePoisson": Extreme(dist.HurdlePoisson, [PROBS, RATES]),
    "HurdleProbs": Extreme(
        lambda gate, r, rate: dist.HurdleProbs(dist.GammaPoisson(r, rate), gate),
        [FEW_PROBS, FAILURES, (1e-3, 0.5, 1e3, 1e7)],
    ),
    "InverseGamma": Extreme(dist.InverseGamma, [SHAPE, SCALE]),
    "InverseWishart": Extreme(lambda df, s: dist.InverseWishart(df, scale_tril=tril(s)), WISHART),
    "InverseWishartCholesky": Extreme(
        lambda df, s: dist.InverseWishartCholesky(df, scale_tril=tril(s)), WISHART
    ),
    "Kumaraswamy": Extreme(dist.Kumaraswamy, [SHAPE, SHAPE]),
    "LKJ": Extreme(lambda eta: dist.LKJ(4, eta), [SHAPE]),
    "LKJCholesky": Extreme(lambda eta: dist.LKJCholesky(4, eta), [SHAPE]),
    "Laplace": Extreme(dist.Laplace, [LOC, SCALE]),
    "LeftTruncatedDistribution": Extreme(
        lambda loc, low: dist.LeftTruncatedDistribution(dist.Normal(loc, jnp.ones_like(loc)), low),
        [(-1e4, -100.0, -12.0, -3.0, 0.0, 5.0, 300.0), (0.0, 1.0)],
    ),
    "Levy": Extreme(dist.Levy, [LOC, SCALE]),
    "LogNormal": Extreme(dist.LogNormal, [LOC, SCALE]),
    "LogUniform": Extreme(
        lambda low, width: dist.LogUniform(low, low + width), [(0.5, 40.0), WIDTHS]
    ),
    "Logistic": Extreme(dist.Logistic, [LOC, SCALE]),
    "LowRankMultivariateNormal": Extreme(low_rank, [SCALE[1:4], SCALE[1:4]]),
    "LowerTruncatedPowerLaw": Extreme(
        dist.LowerTruncatedPowerLaw, [(-1e6, -3.0, -1.001), SCALE[1:4]]
    ),
    "MatrixNormal": Extreme(matrix_normal, [SCALE[1:4], SCALE[1:4]]),
    "MultinomialLogits": Extreme(
        lambda *logits: dist.MultinomialLogits(rows(*logits), 50_000), [LOGITS, LOGITS, (0.0,)]
    ),
    "MultinomialProbs": Extreme(
        lambda p, q: dist.MultinomialProbs(rows(p * (1 - q), 1 - p, p * q), 50_000),
        [FEW_PROBS, FEW_PROBS],
    ),
    "MultivariateNormal": Extreme(
        lambda scale: dist.MultivariateNormal(zeros(scale), scale_tril=tril(scale)), [SCALE]
    ),
    "MultivariateStudentT": Extreme(
        lambda df, scale: dist.MultivariateStudentT(df, zeros(scale), tril(scale)), [DF, SCALE]
    ),
    "NegativeBinomial2": Extreme(
        lambda r, mean: dist.NegativeBinomial2(mean, r), [FAILURES, (1e-3, 0.5, 5.0, 1e4)]
    ),
    "NegativeBinomialLogits": Extreme(
        dist.NegativeBinomialLogits, [FAILURES, (-23.0, -5.0, 0.0, 5.0, 10.0)]
    ),
    "NegativeBinomialProbs": Extreme(dist.NegativeBinomialProbs, [FAILURES, FEW_PROBS]),
    "Normal": Extreme(dist.Normal, [LOC, SCALE]),
    "OrderedLogistic": Extreme(ordered, [(-100.0, -12.0, 0.0, 5.0, 12.0, 16.0, 100.0)]),
    "Pareto": Extreme(dist.Pareto, [SCALE, (1e-3, 1.0, 1e6)]),
    "Poisson": Extreme(dist.Poisson, [RATES]),
    "RightTruncatedDistribution": Extreme(
        lambda loc, high: dist.RightTruncatedDistribution(
            dist.Normal(loc, jnp.ones_like(loc)), high
        ),
        [(1e4, 100.0, 12.0, 3.0, 0.0, -5.0, -300.0), (0.0, 1.0)],
    ),
    "SoftLaplace": Extreme(dist.SoftLaplace, [LOC, SCALE]),
    "StudentT": Extreme(dist.StudentT, [DF, LOC, SCALE]),
    "TwoSidedTruncatedDistribution": Extreme(
        truncated, [(-1e4, -30.0, -3.0, 0.5, 8.0, 1e3), (0.0, 1.0), (2.0**-10, 1.0, 64.0)]
    ),
    "Uniform": Extreme(lambda low, width: dist.Uniform(low, low + width), [(0.0, 1024.0), (4.0,)]),
    "VonMises": Extreme(dist.VonMises, [LOC, (1e-6, 0.5, 5.0, 15.0, 20.0, 1e4, 1e8)]),
    "Weibull": Extreme(dist.Weibull, [SCALE, (1e-2, 1.0, 1e6)]),
    "Wishart": Extreme(lambda df, s: dist.Wishart(df, scale_tril=tril(s)), WISHART),
    "WishartCholesky": Extreme(lambda df, s: dist.WishartCholesky(df, scale_tril=tril(s)), WISHART),
    "ZeroInflatedLogits": Extreme(
        lambda logits, gate: dist.ZeroInflatedLogits(dist.GeometricLogits(logits), gate),
        [LOGITS, LOGITS],
    ),
    "ZeroInflatedPoisson": Extreme(dist.ZeroInflatedPoisson, [PROBS, RATES]),
    "ZeroInflatedProbs": Extreme(
        lambda gate, p: dist.ZeroInflatedProbs(dist.GeometricProbs(p), gate), [PROBS, PROBS]
    ),
    "ZeroSumNormal": Extreme(
        lambda scale: dist.ZeroSumNormal(scale[0], (3, 4)), [SCALE], alone=True
    ),
}
# The same with other parts.
OTHERS = {
    "HurdleLogits": Extreme(
        lambda logits, n, gate: dist.HurdleLogits(dist.BinomialLogits(logits, n), gate),
        [LOGITS, (1.0, 9.0, 1e6), LOGITS[2:5]],
    ),
}
