"""Enumerated sites: the exact weight of each value, and what they make of other sites' terms.

A site that the guide enumerates has the weights `q(c)`; one that only the model enumerates has the
responsibilities `p(c | x, z)`, for which its part of the ELBO is the log of the sum over its values
that `TraceEnum_ELBO` computes: `log sum_c p(c, x|z) = sum_c r_c (log p(c, x|z) - log r_c)`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array
from numpyro.primitives import Messenger

from numpyro_entropy.entropies import elementwise
from numpyro_entropy.sites import Site, Trace, log_prob_of, plates_of, sample_sites, unmasked

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

    weights: dict[int, Array] = field(default_factory=dict)
    marginalised: dict[str, int] = field(default_factory=dict)
    untreated: tuple[tuple[str, str], ...] = ()

    def is_marginal(self, values: Array) -> bool:
        """Whether the weights of `values` are responsibilities, which depend on all draws."""
        return any(_has(values, dim) for dim in self.marginalised.values())

    def mean(self, values: Array) -> Array:
        """Averages over the values of the enumerated sites, whose dimensions are left with size 1.

        Shapes: any batch shape, with dimensions of enumerated sites to the left.
        """
        for dim, log_weights in self.weights.items():
            if _has(values, dim):
                weights = jnp.exp(log_weights)
                # What cannot happen has a log-probability of minus infinity, and adds nothing.
                products = jnp.where(weights > 0, weights * values, 0.0)
                values = products.sum(dim, keepdims=True)
        return values


def read_enumeration(model_sites: dict[str, Site], guide_sites: dict[str, Site]) -> Enumeration:
    """Finds the enumerated sites of a pair of traces, and the weights of their values.

    Args:
        model_sites: The sample sites of the model's trace.
        guide_sites: Those of the guide's trace.
    """
    untreated = {
        name: "marked for enumeration where it cannot be enumerated, as inside of a scan"
        for name, site in model_sites.items()
        if not site["is_observed"]
        and name not in guide_sites
        and site["infer"].get("enumerate") == "parallel"
        and "_enumerate_dim" not in site["infer"]
    }
    owners: dict[int, set[str]] = {}
    for site in (*guide_sites.values(), *model_sites.values()):
        dim = site["infer"].get("_enumerate_dim")
        if dim is not None:
            owners.setdefault(dim, set()).add(site["name"])
    if not owners:
        return Enumeration(untreated=tuple(untreated.items()))
    log_probs = [
        (site, log_prob_of(site)) for site in (*guide_sites.values(), *model_sites.values())
    ]
    # Dimensions that one site has several of: no weights of a single site average over them.
    entangled = set().union(*(d for _, lp in log_probs if len(d := _dims(lp, owners)) > 1))
    untreated |= {s["name"]: CHAIN for s, lp in log_probs if entangled & _dims(lp, owners)}
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
            weights[dim] = joint - logsumexp(joint, dim, keepdims=True)
            marginalised[name] = dim
    return Enumeration(weights, marginalised, tuple(untreated.items()))


def enumerating(
    model: Callable, guide: Callable, model_trace: Trace, guide_trace: Trace
) -> tuple[Callable, Callable]:
    """Makes a model and guide draw as `TraceEnum_ELBO` does, where they ask for it.

    They ask with `infer={"enumerate": "parallel"}`, which `config_enumerate` sets.

    Args:
        model: The model.
        guide: The guide.
        model_trace: A trace of the model, replayed against `guide_trace`, without enumeration.
        guide_trace: The trace of the guide.

    Returns:
        The model and guide; the very same where nothing asks for enumeration.
    """
    guide_sites, model_sites = sample_sites(guide_trace), sample_sites(model_trace)
    marked = [
        [
            name
            for name, site in sites.items()
            if site["infer"].get("enumerate") == "parallel" and not site["is_observed"]
        ]
        for sites in (guide_sites, model_sites)
    ]
    names = [*marked[0], *(name for name in marked[1] if name not in guide_sites)]
    if not names:
        return model, guide
    dims = [p.dim for s in (guide_sites | model_sites).values() for p in plates_of(s) if p.dim]
    places = {name: min(dims, default=0) - 1 - i for i, name in enumerate(names)}
    in_model = {name: dim for name, dim in places.items() if name not in guide_sites}
    return _Enumerate(model, in_model), _Enumerate(guide, places)


class _Enumerate(Messenger):
    """Gives each of some sites all of its values, in a dimension of their own."""

    def __init__(self, fn: Callable, dims: dict[str, int]) -> None:
        super().__init__(fn)
        self.dims = dims

    def process_message(self, msg: Site) -> None:
        if msg["type"] != "sample" or msg["value"] is not None or msg["name"] not in self.dims:
            return
        dim, fn = self.dims[msg["name"]], elementwise(msg["fn"])
        values = fn.enumerate_support(expand=False)
        msg["value"] = values.reshape(values.shape[:1] + (1,) * (-dim - 1) + fn.event_shape)
        msg["infer"] = {**msg["infer"], "_enumerate_dim": dim}


def _dims(values: Array, owners: Iterable[int]) -> set[int]:
    return {dim for dim in owners if _has(values, dim)}


def _has(values: Array, dim: int) -> bool:
    return values.ndim >= -dim and values.shape[dim] > 1


def _summed_into(values: Array, plate_dims: set[int | None], dim: int) -> Array:
    kept = plate_dims | {dim}
    inner = tuple(d for d in range(-values.ndim, 0) if d not in kept and values.shape[d] > 1)
    return values.sum(inner, keepdims=True) if inner else values
