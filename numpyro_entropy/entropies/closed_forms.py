"""Entropies in closed form of distributions for which the host has none.

A table of one formula a class: a new distribution is a function and a line. Wrappers, mixtures and
transformed distributions, whose entropies come from those of others, are in `composed.py`.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import digamma, exp1, gammaln, i0e, i1e, log_ndtr, xlogy
from jaxtyping import Array
from numpyro.distributions import Distribution

from numpyro_entropy.distributions.continuous_bernoulli import ContinuousBernoulli
from numpyro_entropy.entropies.families import belongs_to, family
from numpyro_entropy.nets.mlp import as_floats


def formula_entropy(fn: Distribution) -> Array | None:
    """The entropy of `fn` by a formula of ours, or `None` where there is none for its class.

    Shape: the batch shape of `fn`, or one that broadcasts to it; units: nats.

    Example:
        >>> formula_entropy(dist.SoftLaplace(0.0, 1.0)).item()  # log(2 pi)
        1.8378...
    """
    formula = family(fn, FORMULAS)
    return None if formula is None else formula(fn)


def _asymmetric_laplace(fn: Any) -> Array:
    return 1 + jnp.log(fn.left_scale + fn.right_scale)


def _asymmetric_laplace_quantile(fn: Any) -> Array:
    return _asymmetric_laplace(fn._ald)


def _soft_laplace(fn: Any) -> Array:
    # The hyperbolic secant distribution, E[log cosh z] = log 2.
    return jnp.log(2 * jnp.pi * fn.scale)


def _ordered_logistic(fn: Any) -> Array:
    probs = as_floats(fn.probs)
    return -xlogy(probs, probs).sum(-1)


def _gumbel(fn: Any) -> Array:
    return jnp.log(fn.scale) + 1 + np.euler_gamma


def _half_normal(fn: Any) -> Array:
    return jnp.log(fn.scale) + 0.5 * (1 + math.log(0.5 * math.pi))


def _half_cauchy(fn: Any) -> Array:
    return jnp.log(2 * jnp.pi * fn.scale)


def _kumaraswamy(fn: Any) -> Array:
    a, b = as_floats(fn.concentration1), as_floats(fn.concentration0)
    harmonic = digamma(b + 1) + np.euler_gamma
    return 1 - 1 / b + (1 - 1 / a) * harmonic - jnp.log(a * b)


def _dagum(fn: Any) -> Array:
    # (x / scale)^sharpness is a beta prime variable.
    p, a = as_floats(fn.concentration), as_floats(fn.sharpness)
    log_odds, log_rest = digamma(p) + np.euler_gamma, digamma(p + 1) + np.euler_gamma
    return jnp.log(fn.scale / (a * p)) + (1 / a - p) * log_odds + (p + 1) * log_rest


def _gompertz(fn: Any) -> Array:
    # 1 - log(c r) - exp(c) E1(c); far out by the asymptotic series of exp(c) E1(c).
    c = as_floats(fn.concentration)
    far = c > 50
    small, large, series = jnp.where(far, 1, c), jnp.where(far, c, 50), jnp.ones_like(c)
    for n in range(12, 0, -1):
        series = 1 - n / large * series
    tail = jnp.where(far, series / large, jnp.exp(small) * exp1(small))
    return 1 - jnp.log(c * fn.rate) - tail


def _lower_truncated_power_law(fn: Any) -> Array:
    # A Pareto distribution.
    a = -1 - fn.alpha
    return jnp.log(fn.low / a) + 1 + 1 / a


def _doubly_truncated_power_law(fn: Any) -> Array:
    # The logarithm, brought to [0, 1], is continuous Bernoulli; for alpha = -1 too.
    width = jnp.log(fn.high) - jnp.log(fn.low)
    unit = ContinuousBernoulli((1 + fn.alpha) * width, validate_args=False)
    return unit.entropy() + jnp.log(width) + jnp.log(fn.low) + width * unit.mean


def _left_truncated(fn: Any) -> Array | None:
    return _if_normal(fn, lambda loc, scale: _truncated_normal(None, (loc - fn.low) / scale))


def _right_truncated(fn: Any) -> Array | None:
    return _if_normal(fn, lambda loc, scale: _truncated_normal(None, (fn.high - loc) / scale))


def _two_sided_truncated(fn: Any) -> Array | None:
    def formula(loc: Array, scale: Array) -> Array:
        low, high = (fn.low - loc) / scale, (fn.high - loc) / scale
        # In the lower tail, where the distribution function holds its digits.
        flip = low + high > 0
        return _truncated_normal(jnp.where(flip, -high, low), jnp.where(flip, -low, high))

    return _if_normal(fn, formula)


def _if_normal(fn: Any, formula: Callable[[Array, Array], Array]) -> Array | None:
    base = fn.base_dist
    if not belongs_to(base, dist.Normal):
        return None
    return formula(as_floats(base.loc), as_floats(base.scale)) + jnp.log(base.scale)


def _truncated_normal(low: Array | None, high: Array) -> Array:
    # log Z + log(2 pi) / 2 + E[z^2] / 2
    log_mass = log_ndtr(high)
    if low is not None:
        log_mass = log_mass + jnp.log(-jnp.expm1(log_ndtr(low) - log_mass))
    edges = high * jnp.exp(_log_density(high) - log_mass)
    if low is not None:
        edges = edges - low * jnp.exp(_log_density(low) - log_mass)
    return log_mass + 0.5 * (math.log(2 * math.pi) + 1 - edges)


def _log_density(z: Array) -> Array:
    return -0.5 * (z**2 + math.log(2 * math.pi))


def _von_mises(fn: Any) -> Array:
    # log(2 pi I0(k)) - k I1(k) / I0(k), with I0 and I1 times exp(-k).
    k = as_floats(fn.concentration)
    return jnp.log(2 * jnp.pi * i0e(k)) + k * (1 - i1e(k) / i0e(k))


def _multivariate_student_t(fn: Any) -> Array:
    # Guerrero-Cusumano 1996, Eq. 2.
    (dim,) = fn.event_shape
    df = as_floats(fn.df)
    a, b = 0.5 * df, 0.5 * (df + dim)
    log_norm = gammaln(a) - gammaln(b) + 0.5 * dim * jnp.log(jnp.pi * df)
    return log_norm + _log_diagonal(fn.scale_tril).sum(-1) + b * (digamma(b) - digamma(a))


def _gaussian(fn: Any) -> Array:
    # The density at the mean is that of the mode; of a ZeroSumNormal all but one of the numbers
    # along each dimension are free.
    sizes = [n - isinstance(fn, dist.ZeroSumNormal) for n in fn.event_shape]
    mean = jnp.broadcast_to(fn.mean, fn.batch_shape + fn.event_shape)
    return 0.5 * math.prod(sizes) - fn.log_prob(mean)


def _gaussian_random_walk(fn: Any) -> Array:
    steps = dist.Normal(0.0, fn.scale).entropy()
    return fn.num_steps * steps


def _lkj_cholesky(fn: Any) -> Array:
    # The density is a product of powers of the diagonal, and one at the identity matrix.
    eta, log_diagonal = _lkj_log_diagonal(fn)
    order = 2 * (eta - 1) + jnp.arange(fn.dimension - 2, -1, -1)
    return _lkj_log_norm(fn) - (order * log_diagonal).sum(-1)


def _lkj(fn: Any) -> Array:
    base = fn.base_dist
    eta, log_diagonal = _lkj_log_diagonal(base)
    return _lkj_log_norm(base) - (2 * (eta - 1) * log_diagonal).sum(-1)


def _lkj_log_norm(fn: Any) -> Array:
    return -fn.log_prob(jnp.eye(fn.dimension, dtype=as_floats(fn.concentration).dtype))


def _lkj_log_diagonal(fn: Any) -> tuple[Array, Array]:
    # In the onion construction the square of each is a beta variable (Lewandowski, Kurowicka and
    # Joe 2009, Sec. 3.2).
    eta = as_floats(fn.concentration)[..., None]
    rest = 0.5 * jnp.arange(fn.dimension - 2, -1, -1, dtype=eta.dtype)
    return eta, 0.5 * (digamma(eta + rest) - digamma(eta + 0.5 * (fn.dimension - 1)))


def _wishart_cholesky(fn: Any) -> Array:
    # L = T A with A from Bartlett's decomposition: A_ii^2 ~ chi^2(df - i), E|A|^2 = df p.
    df, i, dim = _wishart(fn)
    log_diagonal = 0.5 * (digamma(0.5 * (df - i)) + math.log(2))
    powers = ((df - 1 - i) * log_diagonal).sum(-1)
    return 0.5 * dim * (df[..., 0] - 1) - powers - fn.log_prob(fn.scale_tril)


def _inverse_wishart_cholesky(fn: Any) -> Array:
    # L = T A^-1 with A_ii^2 ~ chi^2(df - p + 1 + i).
    df, i, dim = _wishart(fn)
    powers = ((df + 1 + i) * _inverse_log_diagonal(fn)).sum(-1)
    return 0.5 * dim * (df[..., 0] - 1) + powers - fn.log_prob(fn.scale_tril)


def _inverse_wishart(fn: Any) -> Array:
    # |d(L L^T) / dL| = 2^p prod_i L_ii^(p - i)
    base = fn.base_dist
    _, i, dim = _wishart(base)
    log_diagonal = _log_diagonal(base.scale_tril) + _inverse_log_diagonal(base)
    jacobian = dim * math.log(2) + ((dim - i) * log_diagonal).sum(-1)
    return _inverse_wishart_cholesky(base) + jacobian


def _inverse_log_diagonal(fn: Any) -> Array:
    df, i, dim = _wishart(fn)
    return -0.5 * (digamma(0.5 * (df - dim + 1 + i)) + math.log(2))


def _wishart(fn: Any) -> tuple[Array, Array, int]:
    dim = fn.event_shape[-1]
    df = as_floats(fn.concentration)[..., None]
    return df, jnp.arange(dim, dtype=df.dtype), dim


def _log_diagonal(scale_tril: Array) -> Array:
    return jnp.log(jnp.diagonal(scale_tril, axis1=-2, axis2=-1))


_NAMES: dict[str, Callable[..., Array | None]] = {
    "AsymmetricLaplace": _asymmetric_laplace,
    "AsymmetricLaplaceQuantile": _asymmetric_laplace_quantile,
    "CAR": _gaussian,
    "Dagum": _dagum,
    "DoublyTruncatedPowerLaw": _doubly_truncated_power_law,
    "GaussianRandomWalk": _gaussian_random_walk,
    "GaussianStateSpace": _gaussian,
    "Gompertz": _gompertz,
    "Gumbel": _gumbel,
    "HalfCauchy": _half_cauchy,
    "HalfNormal": _half_normal,
    "InverseWishart": _inverse_wishart,
    "InverseWishartCholesky": _inverse_wishart_cholesky,
    "Kumaraswamy": _kumaraswamy,
    "LKJ": _lkj,
    "LKJCholesky": _lkj_cholesky,
    "LeftTruncatedDistribution": _left_truncated,
    "LowerTruncatedPowerLaw": _lower_truncated_power_law,
    "MatrixNormal": _gaussian,
    "MultivariateStudentT": _multivariate_student_t,
    "OrderedLogistic": _ordered_logistic,
    "RightTruncatedDistribution": _right_truncated,
    "SoftLaplace": _soft_laplace,
    "TwoSidedTruncatedDistribution": _two_sided_truncated,
    "VonMises": _von_mises,
    "WishartCholesky": _wishart_cholesky,
    "ZeroSumNormal": _gaussian,
}

# Not every version of the host has all of them.
FORMULAS = {getattr(dist, name): _NAMES[name] for name in _NAMES if hasattr(dist, name)}
