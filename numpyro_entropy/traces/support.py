"""Observations that their distribution cannot have: grey pixels under a Bernoulli, say."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from entropy_core.checks import check_outside
from entropy_core.traces.sites import Pair
from numpyro_entropy.params import Params
from numpyro_entropy.traces.pairs import trace_pair


def outside_support(pair: Pair) -> dict[str, Array]:
    """How many elements of its batch are outside its support, for each observed site not masked."""
    return {
        name: jnp.sum(~jnp.asarray(site.fn.support(site.value)))
        for name, site in pair.model.items()
        if site.is_observed and not site.is_masked
    }


def check_observations(
    rng_key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    data: Array | np.ndarray,
    batch_size: int,
) -> None:
    """Passes once over a data set and refuses observations outside their support.

    NumPyro itself looks at them where its validation is on, and then warns at most.

    Raises:
        ValueError: If an observed site has values outside its support.
    """

    @jax.jit
    def outside(params: Params, batch: Array) -> dict[str, Array]:
        return outside_support(trace_pair(rng_key, params, model, guide, (batch,)))

    for start in range(0, len(data), batch_size):
        # The last batch begins earlier, so that it has the size that has been compiled.
        batch = data[max(0, min(start, len(data) - batch_size)) :][:batch_size]
        check_outside(jax.device_get(outside(params, batch)))
