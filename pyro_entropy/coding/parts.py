"""What a VAE's three parts return, as arrays that a code can be made from."""

from typing import Any

import numpy as np
import torch
import torch.distributions as td
from numpy.typing import NDArray
from torch import Tensor

from entropy_core.checks import expected
from entropy_core.coding.bins import NORMALS, Mixture, Normals
from entropy_core.coding.levels import CODED, Likelihood
from pyro_entropy.distributions.discretized import DiscretizedLogistic, DiscretizedNormal
from pyro_entropy.entropies.families import belongs_to


def read_prior(fn: Any) -> Mixture:
    """The prior.

    Raises:
        TypeError: If it is neither a normal distribution nor a mixture of normal ones.
    """
    if belongs_to(fn, td.MixtureSameFamily):
        weights = fn.mixture_distribution.logits
        components = read_normals(fn.component_distribution, "prior")
        return Mixture(_array(torch.log_softmax(weights, -1)), components)
    normal = read_normals(fn, "prior")
    return Mixture(np.zeros(1), Normals(normal.loc[None], normal.scale[None]))


def read_normals(fn: Any, name: str) -> Normals:
    """A normal distribution of a vector.

    Raises:
        TypeError: If it is another one.
    """
    base = _base(fn)
    if len(fn.event_shape) == 1 and belongs_to(base, td.MultivariateNormal):
        return Normals(_array(base.loc), _array(base.scale_tril))
    if len(fn.event_shape) == 1 and belongs_to(base, td.Normal):
        return Normals(_array(base.loc), _array(base.scale))
    raise TypeError(expected(NORMALS, name, type(base).__name__))


def read_likelihood(fn: Any) -> Likelihood:
    """The likelihood of a batch of data points.

    Raises:
        TypeError: If it is of a family that has no code.
    """
    base = _base(fn)
    batch = len(fn.batch_shape)
    if belongs_to(base, td.Bernoulli):
        return Likelihood("bernoulli", (_flat(base.logits, batch),), 2)
    if belongs_to(base, td.OneHotCategorical):
        logits = _flat(base.logits, batch, keep=1)
        return Likelihood("categorical", (logits,), logits.shape[-1])
    if belongs_to(base, td.Poisson):
        return Likelihood("poisson", (_flat(base.rate, batch),), 0)
    for cls, family in ((DiscretizedLogistic, "logistic"), (DiscretizedNormal, "normal")):
        if belongs_to(base, cls):
            arrays = _flat(base.loc, batch), _flat(base.scale, batch)
            return Likelihood(family, arrays, base.num_levels)
    raise TypeError(expected(CODED, "decoder", type(base).__name__))


def _base(fn: Any) -> Any:
    # A mask hides elements, which would be lost: it is no part of what a code knows.
    while belongs_to(fn, td.Independent):
        fn = fn.base_dist
    return fn


def _flat(tensor: Tensor, batch: int, keep: int = 0) -> NDArray[np.float64]:
    array = _array(tensor)
    shape = array.shape[:batch], array.shape[array.ndim - keep :]
    return array.reshape(*shape[0], -1, *shape[1])


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().double().cpu().numpy()
