"""A trained guide as ArviZ's groups: draws of the latents, log-likelihoods, the data.

ArviZ's `from_numpyro_svi` needs the `SVI` object, takes one batch and a fixed key, and cannot make
the log-likelihood.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import xarray as xr
from jax import random
from jaxtyping import Array

from entropy_core.arguments import Arguments
from entropy_core.checks import check_positive_int
from entropy_core.evaluation import draws
from entropy_core.evaluation.draws import check_own_rows
from entropy_core.evaluation.shapes import BatchDraws, SiteShape, is_outside
from entropy_core.evaluation.summed_out import (
    check_predictive,
    shape_without_enumerated,
    shown_without_enumerated,
    summed_out,
)
from entropy_core.traces.sites import Pair
from entropy_core.traces.sums import check_guide
from numpyro_entropy.compiled import compiled
from numpyro_entropy.layouts import fetched
from numpyro_entropy.params import Params
from numpyro_entropy.traces.batches import checked_arguments
from numpyro_entropy.traces.enumerated import read_enumeration, summing_out
from numpyro_entropy.traces.modes import evaluating
from numpyro_entropy.traces.pairs import trace_pair

# What is no array is static where JAX traces, and each traced call keeps its own.
jax.tree_util.register_static(SiteShape)


def to_datatree(
    rng_key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    batches: Array | np.ndarray | Iterable,
    *,
    num_draws: int = 100,
    posterior_predictive: bool = False,
    data_plate: str | None = None,
    batch_size: int = 1000,
) -> xr.DataTree:
    """Draws from the guide, for ArviZ's functions and for `EntropyReport.with_groups`.

    The groups are `posterior`, the latents `z ~ q(z|x)`; `log_likelihood`, `log p(x_n|z)` for each
    data point, in nats; `observed_data`; and, if asked for, `posterior_predictive`, `x ~ p(x|z)`
    with those latents. The draws come from the guide: leave-one-out cross-validation and the like
    take it for the posterior. For a latent of its own for each data point they measure how well a
    data point is reconstructed, and large Pareto k are to be expected.

    What a mask hides is NaN in `observed_data` and, where a data point is hidden altogether, in
    `log_likelihood`. So are the rows of a batch that lacks a site which others have, and the ends
    of sequences that are shorter than others; integers become floats there. Hand `loo` of ArviZ
    the rows that have a log-likelihood,

        rows = tree["log_likelihood"]["x"][0, 0].notnull()
        arviz_stats.loo(tree.isel(data=rows.values), var_name="x", reff=1.0)

    A site that only the model enumerates is summed out of the log-likelihood, where this is exact
    for each data point: where it has the plates of the one observed site that depends on it.

    xarray allows no `/` in the name of a variable, which `scope` handlers put into those of sites:
    `trend/alpha` is the variable `trend::alpha`, whose attribute `site_name` is the site's name.

    Args:
        rng_key: The key for the draws.
        params: The parameters of model and guide.
        model: The model.
        guide: The guide. One draw of a latent of the whole data set holds for all batches.
        batches: See `EntropySumDiagnostic.run`.
        num_draws: The number of draws for each data point.
        posterior_predictive: Whether to draw data too: `num_draws` times the size of the data.
        data_plate: See `EntropySumDiagnostic`.
        batch_size: See `EntropySumDiagnostic.run`.

    Returns:
        The groups, with the dimensions `chain` (of size 1), `draw`, those of the plates by their
        names, and `<site>_dim_<i>`. A site called `chain`, `draw` or `sample` is `draw_site`, and
        a plate of such a name, or of that of a site, `draw_plate`, with the attribute `plate_name`
        of its coordinate.

    Raises:
        ValueError: If `num_draws` is no positive integer, there is no batch, or several and no
            plate holds the data, a batch has NaN or infinite entries, a plate draws the rows of a
            batch itself, `params` are not complete, the guide lacks a latent site of the model,
            a site that only the model enumerates cannot be summed out or, for
            `posterior_predictive`, would have to be drawn, a site has other dimensions
            in another batch, or the names of two sites become one.

    Example:
        >>> from numpyro_entropy import VAE1
        >>> vae, key = VAE1(4, 2), random.key(0)
        >>> x = random.uniform(key, (10, 4))
        >>> tree = to_datatree(key, vae.init(key), vae.model, vae.guide, x, num_draws=5)
        >>> dict(tree["posterior"].sizes)
        {'chain': 1, 'draw': 5, 'data': 10, 'z_dim_0': 2}
    """
    check_positive_int(num_draws, "num_draws")

    @compiled
    @partial(jax.vmap, in_axes=(0, 0, None, None))
    def draw(key: Array, shared: Params, params: Params, call: Arguments) -> tuple[Any, ...]:
        trace_key, predict_key = random.split(key)
        # A value given by name is no draw.
        pair = trace_pair(trace_key, params, model, guide, *call, values=shared)
        enumerated = summing_out(model, guide, pair)
        if enumerated != (model, guide):
            pair = trace_pair(trace_key, params, *enumerated, *call, values=shared)
        found = _read(pair, predict_key if posterior_predictive else None)
        return found, _outside_plate(pair, found.shapes, data_plate)

    done: list[BatchDraws] = []
    # For each draw what holds for the whole data set.
    shared: Params = {}
    with evaluating(model, guide):
        calls = checked_arguments(params, model, guide, batches, batch_size)
        for i, call in enumerate(calls):
            keys = random.split(random.fold_in(rng_key, i), num_draws)
            found, outside = fetched(draw(keys, shared, params, call))
            # A batch may have a latent of the whole data set that earlier ones lack.
            shared = outside | shared
            # The data are the same in each draw.
            groups = dict(found.groups)
            groups["observed_data"] = {n: v[0] for n, v in groups["observed_data"].items()}
            done.append(found._replace(groups=groups))
    return draws.to_datatree(done, data_plate, library=numpyro)


def _read(pair: Pair, predict_key: Array | None) -> BatchDraws:
    # One draw, without a dimension of draws.
    check_own_rows(pair.drawing_rows)
    # What only the model enumerates is summed out.
    sites = {n: s for n, s in pair.model.items() if not s.is_factor and s.enumerate_dim is None}
    check_guide({name: site for name, site in sites.items() if not site.is_observed}, pair.guide)
    groups: dict[str, dict[str, Any]] = {name: {} for name in draws.GROUPS}
    shapes, shown = {}, {}
    for i, (name, site) in enumerate(sites.items()):
        # Values may be wider than their distribution, as where there is no plate.
        fn, shape = site.fn, shape_without_enumerated(site)
        shapes[name] = SiteShape(site.is_observed, site.plates, len(shape))
        value = jnp.asarray(site.value)
        value = jnp.broadcast_to(value, shape + value.shape[value.ndim - fn.event_dim :])
        if not site.is_observed:
            groups["posterior"][name] = value
            continue
        groups["observed_data"][name] = value
        log_prob = summed_out(name, pair.model, lambda model: read_enumeration(model, pair.guide))
        groups["log_likelihood"][name] = log_prob
        if predict_key is not None:
            check_predictive(site)
            wide = fn if fn.batch_shape == shape else fn.expand(shape)
            groups["posterior_predictive"][name] = wide.sample(random.fold_in(predict_key, i))
        seen = shown_without_enumerated(site)
        if seen is not None:
            shown[name] = seen
    return BatchDraws(shapes, groups, shown)


def _outside_plate(pair: Pair, shapes: Mapping[str, SiteShape], data_plate: str | None) -> Params:
    return {
        name: site.value
        for name, site in pair.guide.items()
        if is_outside(site.plates, shapes, data_plate)
    }
