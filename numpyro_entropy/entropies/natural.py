"""Natural parameters of NumPyro distributions, written so that the base measure is constant."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax import lax, nn, random
from jaxtyping import Array
from numpyro.distributions import Distribution
from numpyro.distributions.transforms import AffineTransform

from numpyro_entropy.distributions.continuous_bernoulli import ContinuousBernoulli
from numpyro_entropy.distributions.one_hot import OneHotCategorical
from numpyro_entropy.entropies.families import family
from numpyro_entropy.entropies.wrappers import unwrapped

# Pairs of values at which a density is looked at: of each element, and of all together at least.
MIN_PAIRS, MIN_NUMBERS = 4, 32


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

    Luecke 2022, Def. 1. A subclass with a `log_prob` of its own is another distribution. For
    a Poisson or binomial one, whose base measure is not constant, they are those of its
    pseudo-entropy.

    Shape: each has the batch and event shape of what `fn` is made of.

    Example:
        >>> natural = natural_parameters(dist.Normal(jnp.array(3.0), 0.5))
        >>> [value.item() for value in natural.scaled]
        [12.0, -2.0]
    """
    fn = unwrapped(fn)
    read = family(fn, _NATURAL)
    if read is None:
        return None
    scaled, kept = read(fn)
    return Natural(tuple(map(jnp.asarray, scaled)), tuple(map(jnp.asarray, kept)))


def log_density_differences(fn: Distribution) -> tuple[Array, ...] | None:
    """`log p(v) - log p(v')` at some pairs of values of each element of `fn`.

    They move with the distribution, wherever its class keeps its parameters. `None` where there is
    no density that could, or no draws: at a `Delta`, where the support moves too, for flows without
    an inverse. Shape: `(num_pairs, *batch)` of what `fn` is made of, and zero where a density is
    not finite; units: nats.

    Example:
        >>> fn = dist.Weibull(jnp.array(2.0), jnp.array(1.5)).expand((5,)).to_event(1)
        >>> log_density_differences(fn)[0].shape
        (32,)
    """
    leaf = unwrapped(fn)
    if _is_known_by_its_parameters(leaf):
        return None
    num_pairs = max(MIN_PAIRS, -(-MIN_NUMBERS // max(math.prod(leaf.batch_shape), 1)))
    try:
        values = lax.stop_gradient(leaf.sample(random.key(0), (1 + num_pairs,)))
        log_probs = leaf.log_prob(values)
    except NotImplementedError:
        return None
    differences = log_probs[1:] - log_probs[:1]
    return (jnp.where(jnp.isfinite(differences), differences, 0.0),)


def _is_known_by_its_parameters(fn: Distribution) -> bool:
    while isinstance(fn, dist.TransformedDistribution) and all(
        isinstance(transform, AffineTransform) for transform in fn.transforms
    ):
        fn = unwrapped(fn.base_dist)
    # Points, factors, and what has another support for other parameters.
    return isinstance(fn, dist.Delta | dist.Unit | dist.Uniform)


def parameters_of(fn: Distribution) -> tuple[Array, ...]:
    """The arrays that make `fn` what it is; none of them may move where it is held fixed."""
    fn = unwrapped(fn)
    if isinstance(fn, dist.MixtureSameFamily):
        parts = fn.mixing_distribution, fn.component_distribution
        return tuple(value for part in parts for value in parameters_of(part))
    if isinstance(fn, dist.TransformedDistribution):
        inner = tuple(jnp.asarray(value) for value in jax.tree.leaves(fn.transforms))
        return (*parameters_of(fn.base_dist), *inner)
    values = (fn.__dict__.get(name) for name in fn.arg_constraints)
    return tuple(jnp.asarray(value) for value in values if value is not None)


def _centred(logits: Array) -> Array:
    return logits - logits.mean(-1, keepdims=True)


def _parts(*scaled: Any, kept: tuple = ()) -> tuple[tuple, tuple]:
    return scaled, kept


def _logits(fn: Any) -> tuple[tuple, tuple]:
    return _parts(fn.logits)


def _centred_logits(fn: Any) -> tuple[tuple, tuple]:
    return _parts(_centred(fn.logits))


_NATURAL: dict[type, Callable[[Any], tuple[tuple, tuple]]] = {
    dist.Normal: lambda fn: _parts(fn.loc / fn.scale**2, -0.5 / fn.scale**2),
    dist.MultivariateNormal: lambda fn: _parts(
        (fn.precision_matrix @ fn.mean[..., None])[..., 0], fn.precision_matrix
    ),
    dist.LogNormal: lambda fn: _parts(fn.loc / fn.scale**2 - 1, -0.5 / fn.scale**2),
    dist.HalfNormal: lambda fn: _parts(-0.5 / fn.scale**2),
    dist.BernoulliLogits: _logits,
    dist.BernoulliProbs: _logits,
    ContinuousBernoulli: _logits,
    dist.CategoricalLogits: _centred_logits,
    dist.CategoricalProbs: _centred_logits,
    OneHotCategorical: _centred_logits,
    dist.GeometricLogits: lambda fn: _parts(nn.log_sigmoid(-fn.logits)),
    dist.GeometricProbs: lambda fn: _parts(nn.log_sigmoid(-fn.logits)),
    dist.Gamma: lambda fn: _parts(fn.concentration - 1, -fn.rate),
    dist.InverseGamma: lambda fn: _parts(-fn.concentration - 1, -fn.rate),
    dist.Exponential: lambda fn: _parts(-fn.rate),
    dist.Beta: lambda fn: _parts(fn.concentration1 - 1, fn.concentration0 - 1),
    dist.Dirichlet: lambda fn: _parts(fn.concentration - 1),
    dist.Laplace: lambda fn: _parts(-1 / fn.scale, kept=(fn.loc,)),
    dist.VonMises: lambda fn: _parts(
        fn.concentration * jnp.cos(fn.loc), fn.concentration * jnp.sin(fn.loc)
    ),
    dist.Poisson: lambda fn: _parts(jnp.log(fn.rate)),
    dist.BinomialLogits: lambda fn: _parts(fn.logits, kept=(fn.total_count,)),
    dist.BinomialProbs: lambda fn: _parts(fn.logits, kept=(fn.total_count,)),
    dist.NegativeBinomialLogits: lambda fn: _parts(
        nn.log_sigmoid(fn.logits), kept=(fn.total_count,)
    ),
    dist.NegativeBinomialProbs: lambda fn: _parts(jnp.log(fn.probs), kept=(fn.total_count,)),
}
