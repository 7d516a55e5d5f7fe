"""Natural parameters of NumPyro distributions, written so that the base measure is constant."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import nn
from jaxtyping import Array
from numpyro.distributions import Distribution

from numpyro_entropy.entropies.wrappers import unwrapped


class Natural(NamedTuple):
    """What a direction of the theorem does to a distribution.

    Args:
        scaled: The natural parameters, which the direction multiplies.
        kept: What it must leave alone, such as the location of a Laplace distribution.
    """

    scaled: tuple[Array, ...]
    kept: tuple[Array, ...] = ()


def natural_parameters(fn: Distribution) -> Natural | None:
    """The natural parameters of `fn`, or `None` where it is of no exponential family.

    Luecke 2022, Def. 1. Of a Poisson or binomial distribution, whose base measure is not constant,
    they belong to its pseudo-entropy.

    Shape: each has the batch and event shape of what `fn` is made of.

    Example:
        >>> natural = natural_parameters(dist.Normal(jnp.array(3.0), 0.5))
        >>> [value.item() for value in natural.scaled]
        [12.0, -2.0]
    """
    fn = unwrapped(fn)
    found = _NATURAL.get(type(fn).__name__)
    if found is None:
        return None
    scaled, kept = found(fn)
    return Natural(tuple(map(jnp.asarray, scaled)), tuple(map(jnp.asarray, kept)))


def parameters_of(fn: Distribution) -> tuple[Array, ...]:
    """The arrays that make `fn` what it is; none of them may move where it is held fixed."""
    fn = unwrapped(fn)
    if isinstance(fn, dist.MixtureSameFamily):
        parts = fn.mixing_distribution, fn.component_distribution
        return tuple(value for part in parts for value in parameters_of(part))
    if isinstance(fn, dist.TransformedDistribution):
        return parameters_of(fn.base_dist)
    values = (fn.__dict__.get(name) for name in fn.arg_constraints)
    return tuple(jnp.asarray(value) for value in values if value is not None)


def _centred(logits: Array) -> Array:
    return logits - logits.mean(-1, keepdims=True)


def _family(*scaled: Any, kept: tuple = ()) -> tuple[tuple, tuple]:
    return scaled, kept


def _logits(fn: Any) -> tuple[tuple, tuple]:
    return _family(fn.logits)


def _centred_logits(fn: Any) -> tuple[tuple, tuple]:
    return _family(_centred(fn.logits))


_NATURAL: dict[str, Any] = {
    "Normal": lambda fn: _family(fn.loc / fn.scale**2, -0.5 / fn.scale**2),
    "MultivariateNormal": lambda fn: _family(
        (fn.precision_matrix @ fn.loc[..., None])[..., 0], fn.precision_matrix
    ),
    "LogNormal": lambda fn: _family(fn.loc / fn.scale**2 - 1, -0.5 / fn.scale**2),
    "HalfNormal": lambda fn: _family(-0.5 / fn.scale**2),
    "BernoulliLogits": _logits,
    "BernoulliProbs": _logits,
    "ContinuousBernoulli": _logits,
    "CategoricalLogits": _centred_logits,
    "CategoricalProbs": _centred_logits,
    "OneHotCategorical": _centred_logits,
    "GeometricLogits": lambda fn: _family(nn.log_sigmoid(-fn.logits)),
    "GeometricProbs": lambda fn: _family(nn.log_sigmoid(-fn.logits)),
    "Gamma": lambda fn: _family(fn.concentration - 1, -fn.rate),
    "InverseGamma": lambda fn: _family(-fn.concentration - 1, -fn.rate),
    "Exponential": lambda fn: _family(-fn.rate),
    "Beta": lambda fn: _family(fn.concentration1 - 1, fn.concentration0 - 1),
    "Dirichlet": lambda fn: _family(fn.concentration - 1),
    "Laplace": lambda fn: _family(-1 / fn.scale, kept=(fn.loc,)),
    "VonMises": lambda fn: _family(
        fn.concentration * jnp.cos(fn.loc), fn.concentration * jnp.sin(fn.loc)
    ),
    "Poisson": lambda fn: _family(jnp.log(fn.rate)),
    "BinomialLogits": lambda fn: _family(fn.logits, kept=(fn.total_count,)),
    "BinomialProbs": lambda fn: _family(fn.logits, kept=(fn.total_count,)),
    "NegativeBinomialLogits": lambda fn: _family(nn.log_sigmoid(fn.logits), kept=(fn.total_count,)),
    "NegativeBinomialProbs": lambda fn: _family(jnp.log(fn.probs), kept=(fn.total_count,)),
}
