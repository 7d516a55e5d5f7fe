"""Sites that only the model enumerates: summed out of the log-likelihood, or refused."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import random
from numpyro import handlers
from scipy.special import logsumexp

from numpyro_entropy import IWAE_ELBO, log_likelihood, to_datatree
from tests.support.helpers import data

KEY = random.key(0)
X = jnp.asarray(data()[:, 0])
SEEN = jnp.arange(len(X)) % 3 > 0
K = 3
ENUMERATED = {"enumerate": "parallel"}


def mixture(x, mask):
    weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(K)))
    with numpyro.plate("classes", K):
        locs = numpyro.sample("locs", dist.Normal(0.0, 1.0))
    with numpyro.plate("data", len(x)):
        c = numpyro.sample("c", dist.Categorical(weights), infer=ENUMERATED)
        z = numpyro.sample("z", dist.Normal(locs[c], 1.0))
        with handlers.mask(mask=mask):
            numpyro.sample("x", dist.Normal(z + locs[c], 1.0), obs=x)


def mixture_guide(x, mask):
    numpyro.sample("weights", dist.Dirichlet(jnp.arange(1.0, 1 + K)))
    with numpyro.plate("classes", K):
        numpyro.sample("locs", dist.Normal(0.0, 1.0))
    with numpyro.plate("data", len(x)):
        numpyro.sample("z", dist.Normal(x, 1.0))


def normal(value, loc):
    return -0.5 * (value - loc) ** 2 - 0.5 * np.log(2 * np.pi)


def test_a_mixture_is_summed_over_its_classes():
    tree = to_datatree(KEY, {}, mixture, mixture_guide, [(X, SEEN), (X, SEEN)], num_draws=5)
    assert set(tree["posterior"].data_vars) == {"weights", "locs", "z"}
    assert tree["posterior"]["z"].dims == ("chain", "draw", "data")
    x, seen = np.tile(X, 2), np.tile(SEEN, 2)
    np.testing.assert_array_equal(tree["observed_data"]["x"], np.where(seen, x, np.nan))
    weights, locs, z = (tree["posterior"][n].values[0] for n in ("weights", "locs", "z"))
    # The class depends on the latent: p(x|z) = sum_c p(c|z) p(x|c, z).
    given = np.log(weights)[:, :, None] + normal(z[:, None], locs[:, :, None])
    both = given + normal(x, z[:, None] + locs[:, :, None])
    wanted = np.where(seen, logsumexp(both, 1) - logsumexp(given, 1), np.nan)
    np.testing.assert_allclose(tree["log_likelihood"]["x"][0], wanted)


def nothing(*_):
    pass


def switch(name="c", given=0.5):
    return numpyro.sample(name, dist.Bernoulli(given), infer=ENUMERATED)


def test_a_chain_before_one_observation_is_summed_over():
    def model(x):
        with numpyro.plate("data", len(x)):
            first = switch("first", 0.3)
            second = switch("second", 0.2 + 0.6 * first)
            numpyro.sample("x", dist.Normal(second, 1.0), obs=x)

    tree = to_datatree(KEY, {}, model, nothing, [X], num_draws=2)
    second = 0.3 * 0.8 + 0.7 * 0.2
    terms = np.log([1 - second, second])[:, None] + normal(np.asarray(X), np.arange(2)[:, None])
    np.testing.assert_allclose(tree["log_likelihood"]["x"][0], [logsumexp(terms, 0)] * 2)
    assert "posterior" not in tree.children
    with pytest.raises(ValueError, match="for `posterior_predictive`; got True and 'x'"):
        to_datatree(KEY, {}, model, nothing, [X], num_draws=2, posterior_predictive=True)


def one_for_all(x):
    c = switch()
    with numpyro.plate("data", len(x)):
        numpyro.sample("x", dist.Normal(c, 1.0), obs=x)


def two_observations(x):
    with numpyro.plate("data", len(x)):
        c = switch()
        numpyro.sample("x", dist.Normal(c, 1.0), obs=x)
        numpyro.sample("y", dist.Normal(c, 1.0), obs=x)


def wider_than_its_distribution(x):
    # As many elements as the enumerated site has values, in no plate.
    numpyro.sample("x", dist.Normal(switch(), 1.0), obs=x[:2])


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (one_for_all, "all that depends on them, in the plates of 'x' alone for `model`"),
        (two_observations, r"in the plates of 'x' alone for `model`; got \['y'\]"),
        (wider_than_its_distribution, "plates around all elements of 'x', beside sites"),
    ],
)
def test_what_no_data_point_has_alone_is_refused(model, match):
    with pytest.raises(ValueError, match=match):
        to_datatree(KEY, {}, model, nothing, [X])


def test_objectives_that_need_a_draw_say_what_to_do():
    def model(x):
        with numpyro.plate("data", len(x)):
            numpyro.sample("x", dist.Normal(switch(), 1.0), obs=x)

    match = r"a sample site 'c', or a mixture distribution in its place .* for `guide`"
    for look in (
        lambda: log_likelihood(KEY, {}, model, nothing, [X]),
        lambda: IWAE_ELBO(2).loss(KEY, {}, model, nothing, X),
    ):
        with pytest.raises(ValueError, match=match):
            look()
