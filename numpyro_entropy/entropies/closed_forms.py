"""Entropies in closed form, of all digits that the float type has.

A table of one formula a class: a new distribution is a function and a line. It has the classes for
which the host has no entropy, and those whose host's entropy loses digits where large numbers
cancel. Wrappers, mixtures and transformed distributions, whose entropies come from those of others,
are in `composed.py`.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import exp1
from jaxtyping import Array
from numpyro.distributions import Distribution

from entropy_core.entropies import circular, discrete, gammas, matrices
from entropy_core.entropies.truncated import normal_entropy, truncated_normal_entropy
from numpyro_entropy.distributions.continuous_bernoulli import ContinuousBernoulli
from numpyro_entropy.entropies.families import belongs_to, family
from numpyro_entropy.nets.mlp import as_floats
from numpyro_entropy.operations import OPERATIONS


def formula_entropy(fn: Distribution) -> Array | None:
    """The entropy of `fn` by a formula of ours, or `None` where there is none for its class.

    Shape: the batch shape of `fn`, or one that broadcasts to it; units: nats.

    Example:
        >>> formula_entropy(dist.SoftLaplace(0.0, 1.0)).item()  # log(2 pi)
        1.8378...
    """
    formula = family(fn, FORMULAS)
    return None if formula is None else formula(fn)


def _of(formula: Callable[..., Array], *names: str) -> Callable[[Any], Array]:
    # A formula of the core, of a distribution's parameters.
    return lambda fn: formula(OPERATIONS, *(as_floats(getattr(fn, name)) for name in names))


def _asymmetric_laplace(fn: Any) -> Array:
    return 1 + jnp.log(fn.left_scale + fn.right_scale)


def _asymmetric_laplace_quantile(fn: Any) -> Array:
    q = as_floats(fn.quantile)
    return 1 + jnp.log(fn.scale / q / (1 - q))


def _soft_laplace(fn: Any) -> Array:
    # The hyperbolic secant distribution, E[log cosh z] = log 2.
    return jnp.log(2 * jnp.pi * fn.scale)


def _gumbel(fn: Any) -> Array:
    return jnp.log(fn.scale) + 1 + np.euler_gamma


def _half_normal(fn: Any) -> Array:
    return jnp.log(fn.scale) + 0.5 * (1 + math.log(0.5 * math.pi))


def _half_cauchy(fn: Any) -> Array:
    return jnp.log(2 * jnp.pi * fn.scale)


def _dagum(fn: Any) -> Array:
    return _of(gammas.dagum_entropy, "concentration", "sharpness")(fn) + jnp.log(fn.scale)


def _gompertz(fn: Any) -> Array:
    c = as_floats(fn.concentration)
    small = jnp.minimum(c, 50)
    tail = jnp.exp(small) * exp1(small)
    return gammas.gompertz_entropy(OPERATIONS, c, tail) - jnp.log(fn.rate)


def _lower_truncated_power_law(fn: Any) -> Array:
    # A Pareto distribution.
    a = -1 - fn.alpha
    return jnp.log(fn.low / a) + 1 + 1 / a


def _log_uniform(fn: Any) -> Array:
    width = _log_width(fn)
    return jnp.log(fn.low) + 0.5 * width + jnp.log(width)


def _doubly_truncated_power_law(fn: Any) -> Array:
    # The logarithm, brought to [0, 1], is continuous Bernoulli; for alpha = -1 too.
    width = _log_width(fn)
    unit = ContinuousBernoulli((1 + fn.alpha) * width, validate_args=False)
    return unit.entropy() + jnp.log(width) + jnp.log(fn.low) + width * unit.mean


def _log_width(fn: Any) -> Array:
    # The logarithms of bounds that are close have nothing left for their difference.
    low, high = as_floats(fn.low), as_floats(fn.high)
    near = high < 2 * low
    ratio = jnp.where(near, (high - low) / low, 0.5)
    return jnp.where(near, jnp.log1p(ratio), jnp.log(high) - jnp.log(low))


def _truncated(fn: Any) -> Array | None:
    if not belongs_to(fn.base_dist, dist.Normal):
        return None
    loc, scale = as_floats(fn.base_dist.loc), as_floats(fn.base_dist.scale)
    low, high = getattr(fn, "low", -jnp.inf), getattr(fn, "high", jnp.inf)
    bounds = ((low - loc) / scale, (high - loc) / scale, (high - low) / scale)
    entropy = truncated_normal_entropy(OPERATIONS, *jnp.broadcast_arrays(*bounds))
    return entropy + jnp.log(scale)


def _student_t(fn: Any) -> Array:
    return _of(gammas.student_t_entropy, "df")(fn) + jnp.log(fn.scale)


def _multivariate_student_t(fn: Any) -> Array:
    entropy = gammas.student_t_entropy(OPERATIONS, as_floats(fn.df), fn.event_shape[0])
    return entropy + _log_diagonal(fn.scale_tril).sum(-1)


def _beta(fn: Any) -> Array:
    pair = as_floats(fn.concentration1), as_floats(fn.concentration0)
    return gammas.dirichlet_entropy(OPERATIONS, OPERATIONS.stack(pair))


def _gaussian(fn: Any) -> Array:
    # The density at the mean is that of the mode; of a ZeroSumNormal all but one of the numbers
    # along each dimension are free.
    sizes = [n - isinstance(fn, dist.ZeroSumNormal) for n in fn.event_shape]
    mean = jnp.broadcast_to(fn.mean, fn.batch_shape + fn.event_shape)
    return 0.5 * math.prod(sizes) - fn.log_prob(mean)


def _gaussian_random_walk(fn: Any) -> Array:
    return fn.num_steps * normal_entropy(OPERATIONS, as_floats(fn.scale))


def _lkj_cholesky(fn: Any) -> Array:
    return matrices.lkj_cholesky_entropy(OPERATIONS, as_floats(fn.concentration), fn.dimension)


def _lkj(fn: Any) -> Array:
    eta = as_floats(fn.base_dist.concentration)
    return matrices.lkj_entropy(OPERATIONS, eta, fn.base_dist.dimension)


def _wishart(formula: Callable[..., Array]) -> Callable[[Any], Array]:
    return lambda fn: formula(
        OPERATIONS, as_floats(fn.concentration), _log_diagonal(as_floats(fn.scale_tril))
    )


def _log_diagonal(scale_tril: Array) -> Array:
    return jnp.log(jnp.diagonal(scale_tril, axis1=-2, axis2=-1))


_NAMES: dict[str, Callable[..., Array | None]] = {
    "AsymmetricLaplace": _asymmetric_laplace,
    "AsymmetricLaplaceQuantile": _asymmetric_laplace_quantile,
    "BernoulliLogits": _of(discrete.bernoulli_entropy, "logits"),
    "Beta": _beta,
    "CAR": _gaussian,
    "CategoricalLogits": _of(discrete.categorical_entropy, "logits"),
    "Dagum": _dagum,
    "Dirichlet": _of(gammas.dirichlet_entropy, "concentration"),
    "DoublyTruncatedPowerLaw": _doubly_truncated_power_law,
    "Gamma": _of(gammas.gamma_entropy, "concentration", "rate"),
    "GaussianRandomWalk": _gaussian_random_walk,
    "GaussianStateSpace": _gaussian,
    "GeometricLogits": _of(discrete.geometric_entropy_of_logits, "logits"),
    "GeometricProbs": _of(discrete.geometric_entropy, "probs"),
    "Gompertz": _gompertz,
    "Gumbel": _gumbel,
    "HalfCauchy": _half_cauchy,
    "HalfNormal": _half_normal,
    "InverseGamma": _of(gammas.inverse_gamma_entropy, "concentration", "rate"),
    "InverseWishart": _wishart(matrices.inverse_wishart_entropy),
    "InverseWishartCholesky": _wishart(matrices.inverse_wishart_cholesky_entropy),
    "Kumaraswamy": _of(gammas.kumaraswamy_entropy, "concentration1", "concentration0"),
    "LKJ": _lkj,
    "LKJCholesky": _lkj_cholesky,
    "LeftTruncatedDistribution": _truncated,
    "LogUniform": _log_uniform,
    "LowerTruncatedPowerLaw": _lower_truncated_power_law,
    "MatrixNormal": _gaussian,
    "MultivariateStudentT": _multivariate_student_t,
    "Normal": _of(normal_entropy, "scale"),
    "OrderedLogistic": _of(discrete.probabilities_entropy, "probs"),
    "RightTruncatedDistribution": _truncated,
    "SoftLaplace": _soft_laplace,
    "StudentT": _student_t,
    "TwoSidedTruncatedDistribution": _truncated,
    "VonMises": _of(circular.von_mises_entropy, "concentration"),
    "Wishart": _wishart(matrices.wishart_entropy),
    "WishartCholesky": _wishart(matrices.wishart_cholesky_entropy),
    "ZeroSumNormal": _gaussian,
}

# Not every version of the host has all of them.
FORMULAS = {getattr(dist, name): _NAMES[name] for name in _NAMES if hasattr(dist, name)}
