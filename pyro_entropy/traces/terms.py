"""The terms of each site of a Pyro pair; the reading itself is that of `entropy_core`.

Nothing here knows VAEs: it reads any model and guide that Pyro itself can trace.
"""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Laplace, Normal

from entropy_core.checks import expected
from entropy_core.traces.reading import Estimate, Reader, read_all_sites, read_sites
from entropy_core.traces.sites import Pair
from pyro_entropy.entropies.estimate import (
    closed_cross_entropy,
    closed_entropy,
    entropy_check,
    entropy_estimate,
)
from pyro_entropy.entropies.families import belongs_to
from pyro_entropy.entropies.wrappers import unwrapped
from pyro_entropy.traces.autoguides import folded, path_entropy
from pyro_entropy.traces.enumerated import read_enumeration
from pyro_entropy.traces.sites import Site


def site_terms(
    pair: Pair, *, closed_form: bool = True, entropies: bool = True, entropy_samples: int = 10
) -> Pair:
    """Reads every sample site of a pair.

    A latent site whose `kl_divergence(q, p)` is registered adds `-KL`, so that its cross-entropy
    term is `-(KL + H[q])`; without one, `log p` is taken at the draw, and `H[q]` in closed form
    where the host has it.

    Args:
        pair: The pair.
        closed_form: `False` takes every term at the draws.
        entropies: `False` leaves out the entropies of the model's sites, which no loss needs.
        entropy_samples: The number of fresh draws for the entropy of a model site that has none in
            closed form. The draw of the trace will not do: it comes from the guide.

    Raises:
        ValueError: If the guide lacks a latent site of the model.
        NotImplementedError: If a site is enumerated.
    """
    for where, sites in (("model", pair.model), ("guide", pair.guide)):
        for name, site in sites.items():
            if site.enumerate_dim is not None:
                got = f"site '{name}', enumerated"
                raise NotImplementedError(expected("no enumerated sites", where, got))
    reader = _reader(entropy_samples)
    return pair.with_records(read_sites(pair, reader, closed_form=closed_form, entropies=entropies))


def all_terms(pair: Pair, *, closed_form: bool = True, entropy_samples: int = 10) -> Pair:
    """Reads what `site_terms` reads, of any pair, and lists what no record or entropy is made of.

    Auxiliary sites of AutoGuides are put into the site that they stand for, and enumerated sites
    are averaged over: exactly, with the weights that `TraceEnum_ELBO` gives their values. The
    arguments are those of `site_terms`.

    Returns:
        The pair with its records, and with pairs of a site and the reason why it has no record or
        no entropy. A site without an entropy adds to the ELBO, and nothing to the entropy sum.

    Raises:
        ValueError: If the guide lacks a latent site of the model that is not enumerated.
    """
    guide = folded(pair.guide, pair.model)
    enumeration = read_enumeration(pair.model, guide)
    reader = _reader(entropy_samples)
    return read_all_sites(pair, guide, enumeration, reader, closed_form=closed_form)


def _reader(entropy_samples: int) -> Reader:
    def entropy(site: Site) -> Estimate:
        closed = closed_entropy(site.fn, site.value if site.is_observed else None)
        if closed is not None:
            return site.spread(closed), "closed form"
        values, _, method = entropy_estimate(site.fn, entropy_samples)
        return site.spread(values), method

    def check(site: Site) -> Tensor | None:
        difference = entropy_check(site.fn, entropy_samples)
        return None if difference is None else site.spread(difference)

    return Reader(
        closed_entropy=closed_entropy,
        cross_entropy=lambda q, p: closed_cross_entropy(q.fn, p.fn, p.value),
        path_entropy=path_entropy,
        entropy=entropy,
        zeros_like=torch.zeros_like,
        check=check,
        family=_family,
    )


def _family(fn: Distribution) -> tuple[str, Tensor | None]:
    leaf: Any = unwrapped(fn)
    if not belongs_to(leaf, Normal, Laplace):
        return type(leaf).__name__, None
    name = "Normal" if belongs_to(leaf, Normal) else "Laplace"
    return name, torch.stack([leaf.scale.min(), leaf.scale.max()])
