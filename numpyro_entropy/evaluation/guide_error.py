"""How far a guide is from the posterior, from simulations of the model."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random
from jaxtyping import Array
from numpyro.distributions import LowRankMultivariateNormal, MultivariateNormal, Normal

from entropy_core.arguments import Arguments
from entropy_core.evaluation.simulations.carriers import (
    Carriers,
    carried_as_is,
    check_carried,
    find_carriers,
)
from entropy_core.evaluation.simulations.guide_error import GuideError
from entropy_core.evaluation.simulations.ranks import NUM_DRAWS
from entropy_core.evaluation.simulations.refusals import Flags, check_flags
from entropy_core.evaluation.simulations.scores import Scores, in_rows, observed_values
from entropy_core.evaluation.simulations.simulator import (
    Host,
    Plan,
    first_flags,
    plan_of,
    simulated,
)
from entropy_core.evaluation.simulations.sums import GuideErrorSums
from entropy_core.traces.records import Plate
from entropy_core.traces.sites import Pair
from numpyro_entropy.compiled import compiled
from numpyro_entropy.entropies.families import belongs_to, overrides_density
from numpyro_entropy.entropies.wrappers import elementwise
from numpyro_entropy.layouts import fetched
from numpyro_entropy.operations import OPERATIONS
from numpyro_entropy.params import Params
from numpyro_entropy.traces.batches import checked_arguments
from numpyro_entropy.traces.modes import evaluating
from numpyro_entropy.traces.pairs import simulate, trace_guide, trace_model, trace_pair
from numpyro_entropy.traces.sites import Site


def guide_error(
    rng_key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    batches: Array | np.ndarray | Iterable,
    *,
    num_simulations: int = 10_000,
    arguments: Callable[..., Any] | None = None,
    batch_size: int = 1000,
    data_plate: str | None = None,
) -> GuideError:
    """How far a guide is from the posterior, over simulations from the model, in nats.

    With `z, x ~ p(z) p(x|z)`, and `log w(z) = log p(z, x) - log q(z|x)` (Domke 2021),

        E_p(z,x)[log w(z)] - E_p(x) E_q(z|x)[log w(z)] = E_p(x)[KL(p(z|x) || q) + KL(q || p(z|x))]

    The evidence cancels, and no posterior is needed: each `z` that the model draws is one from the
    posterior of its `x`. Its ranks in the guide are those of simulation-based calibration (Talts et
    al. 2018), without a refit: the guide encodes any data that it is given.

    The model runs without its observations, and what it draws takes the place of those arguments
    whose values it observes: they are found by value. The other ones, such as labels and
    covariates, stay as they are, and results are averages over them. No scale of a plate or handler
    enters, and modules are in evaluation mode.

    Args:
        rng_key: The key for the draws.
        params: The parameters of model and guide.
        model: The model; one plate must hold all of its sites.
        guide: The guide, which must look at the data that it is given.
        batches: As in `log_likelihood`: data of the right shapes, of which only what the model does
            not observe matters. They are passed over as often as is needed.
        num_simulations: The number of simulated data points. What the last batch has more is left
            out.
        arguments: How to hand simulated data over, where no argument has the values of a site: from
            a dictionary of simulated values by site, and the arguments, to what a batch can be. It
            is compiled.
        batch_size: How many data points to simulate together, where `batches` is an array.
        data_plate: See `log_likelihood`.

    Returns:
        The divergence with its standard error, in all and by site, the ranks, and what they mean.

    Raises:
        ValueError: If `num_simulations` is no integer from 2, there is no batch, a batch has NaN or
            infinite entries, `params` are not complete, no argument has the values of an observed
            site, the model observes something else than was simulated, or is another one with it,
            the guide does not depend on the data, or lacks a latent site, or has a point in its
            place, a site is a factor, masked, enumerated or outside the plate over data points,
            plates draw the rows of a batch, a density is NaN, or batches have other sites.
        NotImplementedError: If the host cannot draw a site of the model.

    Example:
        >>> from numpyro_entropy import VAE1, guide_error
        >>> vae, key = VAE1(4, 2), random.key(0)
        >>> pair, x = (vae.init(key), vae.model, vae.guide), jnp.zeros((100, 4))
        >>> found = guide_error(key, *pair, x, num_simulations=500)
        >>> found.differs, list(found.sites), found.latents
        (True, ['z', 'x'], ('z[0]', 'z[1]'))
    """
    sums = GuideErrorSums(num_simulations)
    # A pass over what can be passed over once is kept for the next one.
    batches = list(batches) if isinstance(batches, Iterator) else batches
    shapes: dict[Any, Params] = {}
    programs: dict[Any, tuple[Callable, Mapping[str, str]]] = {}
    with evaluating(model, guide):
        calls = sums.until_complete(
            lambda: checked_arguments(params, model, guide, batches, batch_size, shapes)
        )
        for i, call in enumerate(calls):
            key, form, first = random.fold_in(rng_key, i), _form(call), jnp.asarray(False)
            if form not in programs:
                plan = _plan(key, params, model, guide, call, arguments, data_plate)
                programs[form] = _compiled(model, guide, plan), plan.untreated
                first = jnp.asarray(True)
            scores_of, untreated = programs[form]
            found, carried, flags = fetched(scores_of(key, params, call, first))
            check_carried(carried)
            check_flags(flags)
            sums.add(found, untreated)
    return sums.guide_error()


def _plan(
    key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    call: Arguments,
    arguments: Callable[..., Any] | None,
    data_plate: str | None,
) -> Plan:
    seen: list[tuple[Pair, Carriers]] = []

    # What a pair is made of is seen where it is traced, and nothing but its data is computed.
    def observed(key: Array, params: Params, call: Arguments) -> dict[str, Any]:
        pair = trace_pair(key, params, model, guide, *call)
        values = observed_values(pair.model)
        seen.append((pair, carried_as_is(values, call)))
        return values

    values = fetched(compiled(observed)(key, params, call))
    pair, as_is = seen[-1]
    return plan_of(
        pair, arguments, data_plate, lambda: find_carriers(values, call, np.asarray, as_is)
    )


def _compiled(model: Callable, guide: Callable, plan: Plan) -> Callable:
    def scores_of(
        key: Array, params: Params, call: Arguments, first: Array
    ) -> tuple[Scores, Mapping[str, Any], Flags]:
        host = _host(key, params, model, guide)
        found = simulated(host, plan, call)

        def closely() -> Flags:
            return jax.tree.map(jnp.asarray, first_flags(host, found, call))

        def fine() -> Flags:
            yes, no = jnp.asarray(True), jnp.asarray(False)
            return Flags(dict.fromkeys(found.truth.model, yes), no, no)

        return found.scores, found.carried, lax.cond(first, closely, fine)

    return compiled(scores_of)


def _host(key: Array, params: Params, model: Callable, guide: Callable) -> Host:
    keys = dict(zip(("simulate", "model", "guide", "below"), random.split(key, 4), strict=True))

    def guide_at(call: Arguments, values: Any) -> dict[str, Site]:
        return trace_guide(keys["guide"], params, guide, *call, values=values).sites

    return Host(
        simulate=lambda call: simulate(keys["simulate"], params, model, *call),
        model=lambda call, values: trace_model(keys["model"], params, model, *call, values=values),
        guide=guide_at,
        # The compiler computes once what both runs of the guide have in common. One site alone may
        # depend on itself, in the loop of a `scan`.
        hold=lambda own, values, call: guide_at(call, values),
        like=lambda value, leaf: jnp.reshape(value, leaf.shape).astype(jnp.result_type(leaf)),
        below=lambda site, plate: _below(keys["below"], site, plate),
        eps=OPERATIONS.eps,
    )


def _below(key: Array, site: Site, plate: Plate) -> Array:
    """What part of a guide's distribution is below the value of its site, of shape `(B, H)`."""
    base, value = elementwise(site.fn), site.value
    if belongs_to(base, MultivariateNormal, LowRankMultivariateNormal):
        base = Normal(base.mean, jnp.sqrt(base.variance))
    below = None
    if not base.event_shape and not overrides_density(base):
        with suppress(NotImplementedError):
            below = jnp.broadcast_to(base.cdf(value), value.shape)
    if below is None:
        below = _drawn_below(key, site.fn, value)
    return in_rows(below, value.ndim - len(site.fn.event_shape), plate, jnp.moveaxis)


def _drawn_below(key: Array, fn: Any, value: Array) -> Array:
    def add(count: Array, key: Array) -> tuple[Array, None]:
        return count + (fn.sample(key) < value), None

    last, *keys = random.split(key, NUM_DRAWS + 1)
    count, _ = lax.scan(add, jnp.zeros_like(value), jnp.stack(keys))
    # One draw is no more than another: within its part the rank is at random.
    return (count + random.uniform(last, value.shape, value.dtype)) / (NUM_DRAWS + 1)


def _form(call: Arguments) -> tuple:
    leaves, structure = jax.tree.flatten(call)
    return structure, tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
