"""The terms of each site of a NumPyro pair; the reading itself is that of `entropy_core`.

Nothing here knows VAEs: it reads any model and guide that NumPyro itself can trace.
"""

import zlib
from typing import Any

import jax
import jax.numpy as jnp
from jax import random
from jaxtyping import Array
from numpyro.distributions import Distribution, Laplace, Normal

from entropy_core.checks import expected
from entropy_core.traces.reading import Estimate, Reader, read_all_sites, read_sites
from entropy_core.traces.records import LatentTerms, SiteTerms, TraceTerms
from entropy_core.traces.sites import Pair
from numpyro_entropy.entropies.estimate import (
    closed_cross_entropy,
    closed_entropy,
    entropy_check,
    entropy_estimate,
)
from numpyro_entropy.entropies.families import belongs_to
from numpyro_entropy.entropies.wrappers import unwrapped
from numpyro_entropy.traces.autoguides import path_entropy
from numpyro_entropy.traces.enumerated import read_enumeration
from numpyro_entropy.traces.sites import Site

# Records pass through jit; what is not an array is static there.
jax.tree_util.register_dataclass(
    SiteTerms,
    data_fields=[
        "log_prob",
        "term",
        "entropy",
        "handler_scale",
        "num_observed",
        "scaled_term",
        "check",
        "scale",
    ],
    meta_fields=[
        "name",
        "role",
        "term_method",
        "entropy_method",
        "plates",
        "num_elements",
        "family",
        "across",
    ],
)
jax.tree_util.register_dataclass(
    LatentTerms,
    data_fields=["entropy", "prior_entropy", "kl", "mean", "noise"],
    meta_fields=["site"],
)
jax.tree_util.register_dataclass(
    TraceTerms,
    data_fields=["sites", "latents"],
    meta_fields=["untreated", "data_plate"],
)


def site_terms(
    pair: Pair,
    *,
    closed_form: bool = True,
    entropies: bool = True,
    entropy_samples: int = 10,
    rng_key: Array | None = None,
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
        rng_key: The key for those draws, folded with the site's name.

    Raises:
        ValueError: If the guide lacks a latent site of the model, or if an entropy has to be
            sampled and there is no `rng_key`.
        NotImplementedError: If entropies are asked for, and a site of the model has none.
    """
    reader = _reader(entropy_samples, rng_key)
    return pair.with_records(read_sites(pair, reader, closed_form=closed_form, entropies=entropies))


def all_terms(
    pair: Pair,
    *,
    closed_form: bool = True,
    entropy_samples: int = 10,
    rng_key: Array | None = None,
) -> Pair:
    """Reads what `site_terms` reads, of any pair, and lists what no record or entropy is made of.

    Enumerated sites are averaged over: exactly, with the weights that `TraceEnum_ELBO` gives their
    values. The arguments are those of `site_terms`.

    Returns:
        The pair with its records, and with pairs of a site and the reason why it has no record or
        no entropy. A site without an entropy adds to the ELBO, and nothing to the entropy sum.

    Raises:
        ValueError: If the guide lacks a latent site of the model that is not enumerated, or if an
            entropy has to be sampled and there is no `rng_key`.
    """
    enumeration = read_enumeration(pair.model, pair.guide)
    reader = _reader(entropy_samples, rng_key)
    return read_all_sites(pair, pair.guide, enumeration, reader, closed_form=closed_form)


def _reader(entropy_samples: int, rng_key: Array | None) -> Reader:
    def entropy(site: Site) -> Estimate:
        closed = closed_entropy(site.fn)
        if closed is not None:
            return site.spread(closed), "closed form"
        values, _, method = entropy_estimate(key_of(site), site.fn, entropy_samples)
        return site.spread(values), method

    def check(site: Site) -> Array | None:
        if rng_key is None:
            return None
        difference = entropy_check(key_of(site), site.fn, entropy_samples)
        return None if difference is None else site.spread(difference)

    def key_of(site: Site) -> Array:
        if rng_key is None:
            raise ValueError(expected(f"a key to sample H['{site.name}']", "rng_key", None))
        return random.fold_in(rng_key, zlib.crc32(site.name.encode()))

    return Reader(
        closed_entropy=closed_entropy,
        cross_entropy=lambda q, p: closed_cross_entropy(q.fn, p.fn, p.value),
        path_entropy=path_entropy,
        entropy=entropy,
        zeros_like=jnp.zeros_like,
        check=check,
        family=_family,
    )


def _family(fn: Distribution) -> tuple[str, Array | None]:
    leaf: Any = unwrapped(fn)
    if not belongs_to(leaf, Normal, Laplace):
        # The two parametrisations of one family have names of their own.
        return type(leaf).__name__.removesuffix("Logits").removesuffix("Probs"), None
    name = "Normal" if belongs_to(leaf, Normal) else "Laplace"
    return name, jnp.stack([jnp.min(leaf.scale), jnp.max(leaf.scale)])
