"""Sites that only the model enumerates: summed out of the log-likelihood, or refused."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from scipy.special import logsumexp

from pyro_entropy import IWAE_ELBO, log_likelihood, to_datatree
from tests.support.helpers import data

X = torch.tensor(data()[:, 0])
SEEN = torch.arange(len(X)) % 3 > 0
K = 3
ENUMERATED = {"enumerate": "parallel"}


def mixture(x, mask):
    weights = pyro.sample("weights", dist.Dirichlet(x.new_ones(K)))
    with pyro.plate("classes", K):
        locs = pyro.sample("locs", dist.Normal(x.new_tensor(0.0), 1.0))
    with pyro.plate("data", len(x)):
        c = pyro.sample("c", dist.Categorical(weights), infer=ENUMERATED)
        z = pyro.sample("z", dist.Normal(locs[c], 1.0))
        with poutine.mask(mask=mask):
            pyro.sample("x", dist.Normal(z + locs[c], 1.0), obs=x)


def mixture_guide(x, mask):
    pyro.sample("weights", dist.Dirichlet(torch.arange(1.0, 1 + K, dtype=x.dtype)))
    with pyro.plate("classes", K):
        pyro.sample("locs", dist.Normal(x.new_tensor(0.0), 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x, 1.0))


def normal(value, loc):
    return -0.5 * (value - loc) ** 2 - 0.5 * np.log(2 * np.pi)


def test_a_mixture_is_summed_over_its_classes():
    tree = to_datatree(mixture, mixture_guide, [(X, SEEN), (X, SEEN)], num_draws=5)
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


def switch(x, name="c", given=0.5):
    probs = x.new_tensor(given) if isinstance(given, float) else given
    return pyro.sample(name, dist.Bernoulli(probs), infer=ENUMERATED)


def test_a_chain_before_one_observation_is_summed_over():
    def model(x):
        with pyro.plate("data", len(x)):
            first = switch(x, "first", 0.3)
            second = switch(x, "second", 0.2 + 0.6 * first)
            pyro.sample("x", dist.Normal(second, 1.0), obs=x)

    tree = to_datatree(model, nothing, [X], num_draws=2)
    second = 0.3 * 0.8 + 0.7 * 0.2
    terms = np.log([1 - second, second])[:, None] + normal(X.numpy(), np.arange(2)[:, None])
    np.testing.assert_allclose(tree["log_likelihood"]["x"][0], [logsumexp(terms, 0)] * 2)
    assert "posterior" not in tree.children
    with pytest.raises(ValueError, match="for `posterior_predictive`; got True and 'x'"):
        to_datatree(model, nothing, [X], num_draws=2, posterior_predictive=True)


def one_for_all(x):
    c = switch(x)
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(c, 1.0), obs=x)


def two_observations(x):
    with pyro.plate("data", len(x)):
        c = switch(x)
        pyro.sample("x", dist.Normal(c, 1.0), obs=x)
        pyro.sample("y", dist.Normal(c, 1.0), obs=x)


def wider_than_its_distribution(x):
    # As many elements as the enumerated site has values, in no plate.
    pyro.sample("x", dist.Normal(switch(x), 1.0), obs=x[:2])


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (one_for_all, "all that depends on them, in the plates of 'x' alone for `model`"),
        (two_observations, r"in the plates of 'x' alone for `model`; got \['y'\]"),
        (wider_than_its_distribution, "plates around all elements of 'x', beside sites"),
    ],
)
def test_what_no_data_point_has_alone_is_refused(model, match):
    with pyro.validation_enabled(False), pytest.raises(ValueError, match=match):
        to_datatree(model, nothing, [X])


# The host's own word of the same.
@pytest.mark.filterwarnings("ignore:Found vars in model but not guide")
def test_objectives_that_need_a_draw_say_what_to_do():
    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(switch(x), 1.0), obs=x)

    match = r"a sample site 'c', or a mixture distribution in its place .* for `guide`"
    for look in (
        lambda: log_likelihood(model, nothing, [X]),
        lambda: IWAE_ELBO(2).loss(model, nothing, X),
    ):
        with pytest.raises(ValueError, match=match):
            look()
