"""Natural parameters of Pyro distributions, written so that the base measure is constant."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
import torch.distributions as td
from torch import Tensor
from torch.distributions import Distribution

from pyro_entropy.distributions.continuous_bernoulli import ContinuousBernoulli
from pyro_entropy.entropies.families import family
from pyro_entropy.entropies.wrappers import unwrapped

# Pairs of values at which a density is looked at: of each element, and of all together at least.
MIN_PAIRS, MIN_NUMBERS = 4, 32


class Natural(NamedTuple):
    """What a direction of the theorem does to a distribution.

    Args:
        scaled: The natural parameters, which the direction multiplies.
        kept: What it must leave alone, such as the location of a Laplace distribution.
    """

    scaled: tuple[Tensor, ...]
    kept: tuple[Tensor, ...] = ()


def natural_parameters(fn: Distribution) -> Natural | None:
    """The natural parameters of `fn`, or `None` where it is of no exponential family.

    Luecke 2022, Def. 1. A subclass with a `log_prob` of its own is another distribution. For
    a Poisson or binomial one, whose base measure is not constant, they are those of its
    pseudo-entropy.

    Shape: each has the batch and event shape of what `fn` is made of.

    Example:
        >>> natural_parameters(dist.Normal(torch.tensor(3.0), 0.5)).scaled
        (tensor(12.), tensor(-2.))
    """
    fn = unwrapped(fn)
    read = family(fn, _NATURAL)
    return None if read is None else read(fn)


def log_density_differences(fn: Distribution) -> tuple[Tensor, ...] | None:
    """`log p(v) - log p(v')` at some pairs of values of each element of `fn`.

    They move with the distribution, wherever its class keeps its parameters. `None` where there is
    no density that could, or no draws: at a `Delta`, where the support moves too, for flows without
    an inverse. Shape: `(num_pairs, *batch)` of what `fn` is made of; units: nats.

    Example:
        >>> fn = dist.Weibull(torch.tensor(2.0), torch.tensor(1.5)).expand((5,)).to_event(1)
        >>> log_density_differences(fn)[0].shape
        torch.Size([35])
    """
    leaf = unwrapped(fn)
    if _is_known_by_its_parameters(leaf):
        return None
    num_pairs = max(MIN_PAIRS, -(-MIN_NUMBERS // max(leaf.batch_shape.numel(), 1)))
    try:
        # The draws to come stay as they are.
        with torch.no_grad(), torch.random.fork_rng(range(torch.cuda.device_count())):
            values = leaf.sample((1 + num_pairs,))
        # A transform that keeps its last draw would hold that still, and not the value.
        log_probs = leaf.log_prob(values.clone())
    except NotImplementedError:
        return None
    differences = log_probs[1:] - log_probs[:1]
    return (differences[differences.isfinite()],)


def _is_known_by_its_parameters(fn: Distribution) -> bool:
    while isinstance(fn, td.TransformedDistribution) and all(
        isinstance(transform, td.AffineTransform) for transform in fn.transforms
    ):
        fn = unwrapped(fn.base_dist)
    # Points, factors, and what has another support for other parameters.
    return isinstance(fn, dist.Delta | dist.Unit | td.Uniform)


def parameters_of(fn: Distribution) -> tuple[Tensor, ...]:
    """The tensors that make `fn` what it is; none of them may move where it is held fixed."""
    fn = unwrapped(fn)
    if isinstance(fn, dist.MixtureSameFamily):
        parts = fn.mixture_distribution, fn.component_distribution
        return tuple(value for part in parts for value in parameters_of(part))
    if isinstance(fn, td.TransformedDistribution):
        modules = [t for t in fn.transforms if isinstance(t, torch.nn.Module)]
        own = [value for transform in fn.transforms for value in vars(transform).values()]
        inner: list[Tensor] = [value for value in own if isinstance(value, Tensor)]
        inner += [value for module in modules for value in module.parameters()]
        return (*parameters_of(fn.base_dist), *inner)
    values = (fn.__dict__.get(name) for name in fn.arg_constraints)
    return tuple(value for value in values if isinstance(value, Tensor))


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(-1, keepdim=True)


_NATURAL: dict[type, Callable[[Any], Natural | None]] = {
    td.Normal: lambda fn: Natural((fn.loc / fn.scale**2, -0.5 / fn.scale**2)),
    td.MultivariateNormal: lambda fn: Natural(
        ((fn.precision_matrix @ fn.loc[..., None])[..., 0], fn.precision_matrix)
    ),
    td.LogNormal: lambda fn: Natural((fn.loc / fn.scale**2 - 1, -0.5 / fn.scale**2)),
    td.HalfNormal: lambda fn: Natural((-0.5 / fn.scale**2,)),
    td.Bernoulli: lambda fn: Natural((fn.logits,)),
    ContinuousBernoulli: lambda fn: Natural((fn.logits,)),
    td.ContinuousBernoulli: lambda fn: Natural((fn.logits,)),
    td.Categorical: lambda fn: Natural((_centred(fn.logits),)),
    td.OneHotCategorical: lambda fn: Natural((_centred(fn.logits),)),
    td.Geometric: lambda fn: Natural((torch.nn.functional.logsigmoid(-fn.logits),)),
    td.Gamma: lambda fn: Natural((fn.concentration - 1, -fn.rate)),
    td.InverseGamma: lambda fn: Natural((-fn.concentration - 1, -fn.rate)),
    td.Exponential: lambda fn: Natural((-fn.rate,)),
    td.Beta: lambda fn: Natural((fn.concentration1 - 1, fn.concentration0 - 1)),
    td.Dirichlet: lambda fn: Natural((fn.concentration - 1,)),
    td.Laplace: lambda fn: Natural((-1 / fn.scale,), (fn.loc,)),
    td.VonMises: lambda fn: Natural(
        (fn.concentration * fn.loc.cos(), fn.concentration * fn.loc.sin())
    ),
    td.Poisson: lambda fn: Natural((fn.rate.log(),)),
    td.Binomial: lambda fn: Natural((fn.logits,), (fn.total_count,)),
    td.NegativeBinomial: lambda fn: Natural(
        (torch.nn.functional.logsigmoid(fn.logits),), (fn.total_count,)
    ),
    # Rows without data have no density, and still the entropy of all.
    dist.NanMaskedNormal: lambda fn: None,
    dist.NanMaskedMultivariateNormal: lambda fn: None,
}
