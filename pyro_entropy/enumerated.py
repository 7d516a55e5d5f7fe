"""Enumerated sites: the exact weight of each value, and what they make of other sites' terms.

A site that the guide enumerates has the weights `q(c)`; one that only the model enumerates has the
responsibilities `p(c | x, z)`, for which its part of the ELBO is the log of the sum over its values
that `TraceEnum_ELBO` computes: `log sum_c p(c, x|z) = sum_c r_c (log p(c, x|z) - log r_c)`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.util import get_rng_state, set_rng_state
from torch import Tensor

from pyro_entropy.sites import Site, log_prob_of, plates_of, sample_sites, unmasked

CHAIN = "depends on several enumerated sites at once: left out of all sums"


@dataclass(frozen=True)
class Enumeration:
    """The weights of the enumerated sites of a pair of traces.

    Args:
        weights: By the dimension of each site: the log of the weights, which has the values in that
            dimension and the site's plates in theirs.
        marginalised: The sites that only the model enumerates, and the dimension of each.
        untreated: Pairs of a site whose terms no single dimension's weights average, and the
            reason.
    """

    weights: dict[int, Tensor] = field(default_factory=dict)
    marginalised: dict[str, int] = field(default_factory=dict)
    untreated: tuple[tuple[str, str], ...] = ()

    def is_marginal(self, values: Tensor) -> bool:
        """Whether the weights of `values` are responsibilities, which depend on all draws."""
        return any(_has(values, dim) for dim in self.marginalised.values())

    def mean(self, values: Tensor) -> Tensor:
        """Averages over the values of the enumerated sites, whose dimensions are left with size 1.

        Shapes: any batch shape, with dimensions of enumerated sites to the left.
        """
        for dim, log_weights in self.weights.items():
            if _has(values, dim):
                weights = log_weights.exp()
                # What cannot happen has a log-probability of minus infinity, and adds nothing.
                products = torch.where(weights > 0, weights * values, 0.0)
                values = products.sum(dim, keepdim=True)
        return values


def read_enumeration(model_sites: dict[str, Site], guide_sites: dict[str, Site]) -> Enumeration:
    """Finds the enumerated sites of a pair of traces, and the weights of their values.

    Args:
        model_sites: The sample sites of the model's trace.
        guide_sites: Those of the guide's trace.
    """
    owners: dict[int, set[str]] = {}
    for site in (*guide_sites.values(), *model_sites.values()):
        dim = site["infer"].get("_enumerate_dim")
        if dim is not None:
            owners.setdefault(dim, set()).add(site["name"])
    if not owners:
        return Enumeration()
    log_probs = [
        (site, log_prob_of(site)) for site in (*guide_sites.values(), *model_sites.values())
    ]
    entangled = _entangled(owners, [_dims(log_prob, owners) for _, log_prob in log_probs])
    untreated = {s["name"]: CHAIN for s, lp in log_probs if entangled & _dims(lp, owners)}
    for sites in (guide_sites, model_sites):
        for name, site in sites.items():
            if site["infer"].get("num_samples") is not None and name not in untreated:
                untreated[name] = "several draws at once, which are no enumeration"
    weights, marginalised = {}, {}
    for dim, names in owners.items():
        (name, *_) = names
        if dim in entangled:
            continue
        if name in guide_sites:
            weights[dim] = log_prob_of(unmasked(guide_sites[name]))
        else:
            around = {plate.dim for plate in plates_of(model_sites[name])}
            parts = [log_prob_of(unmasked(model_sites[name]))]
            # The plate's scale stays outside of the sum over values, as in the host.
            parts += [
                _summed_into(lp, around, dim)
                for site, lp in log_probs
                if _has(lp, dim) and site["name"] != name
            ]
            joint: Any = sum(parts)
            weights[dim] = joint - joint.logsumexp(dim, keepdim=True)
            marginalised[name] = dim
    return Enumeration(weights, marginalised, tuple(untreated.items()))


def enumerating(
    model: Callable, guide: Callable, args: tuple
) -> tuple[Callable, Callable, int | float]:
    """Makes a model and guide draw as `TraceEnum_ELBO` does, where they ask for it.

    They ask with `infer={"enumerate": "parallel"}`, which `config_enumerate` sets. The draws to
    come stay as they are.

    Args:
        model: The model.
        guide: The guide.
        args: The arguments of both.

    Returns:
        The model and guide, and how many dimensions plates may take; the very same and infinity
        where nothing asks for enumeration.
    """
    state = get_rng_state()
    with poutine.block():
        guide_trace = poutine.trace(guide).get_trace(*args)
        model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(*args)
    set_rng_state(state)
    sites = [site for t in (model_trace, guide_trace) for site in sample_sites(t).values()]
    if not any(site["infer"].get("enumerate") == "parallel" for site in sites):
        return model, guide, float("inf")
    dims = (frame.dim for s in sites for frame in s["cond_indep_stack"] if frame.vectorized)
    nesting = -min(dims, default=0)
    # The model keeps clear of the dimensions that the guide has taken.
    return EnumMessenger()(model), EnumMessenger(-1 - nesting)(guide), nesting


def _entangled(owners: dict[int, set[str]], dims_of_sites: Iterable[set[int]]) -> set[int]:
    # Dimensions that sites share one after the other (`pyro.markov`), or that one site has several
    # of: no weights of a single site average over them.
    shared = {dim for dim, names in owners.items() if len(names) > 1}
    return shared.union(*(dims for dims in dims_of_sites if len(dims) > 1))


def _dims(values: Tensor, owners: Iterable[int]) -> set[int]:
    return {dim for dim in owners if _has(values, dim)}


def _has(values: Tensor, dim: int) -> bool:
    return values.dim() >= -dim and values.shape[dim] > 1


def _summed_into(values: Tensor, plate_dims: set[int | None], dim: int) -> Tensor:
    kept = plate_dims | {dim}
    inner = [d for d in range(-values.dim(), 0) if d not in kept and values.shape[d] > 1]
    return values.sum(inner, keepdim=True) if inner else values
