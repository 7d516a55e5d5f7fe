"""`guide_error` on models whose posterior is known, in users' own styles, and what it refuses."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from flax import nnx
from jax import random
from numpyro import handlers
from numpyro.contrib.control_flow import scan
from numpyro.contrib.module import nnx_module
from numpyro.infer.autoguide import AutoNormal

from numpyro_entropy import BernoulliVAE
from numpyro_entropy.evaluation.guide_error import guide_error
from tests.support.conjugate_pairs import PAIRS, VARIANCE
from tests.support.guide_errors import check_calibration, check_flags, check_pair, check_right
from tests.support.helpers import mostly

KEY = random.key(0)
X = np.zeros(100)
FAST_PAIRS = ("scale 0.90, diagonal", "rotated, diagonal")


def gaussian_model(x):
    weight = numpyro.param("weight", jnp.zeros((3, 2)))
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
        numpyro.sample("x", dist.Normal(z @ weight.T, VARIANCE**0.5).to_event(1), obs=x)


def location(x):
    return x @ numpyro.param("slope", jnp.zeros((2, 3))).T + numpyro.param("shift", jnp.zeros(2))


def diagonal_guide(x):
    root = numpyro.param("root", jnp.zeros((2, 2)))
    with numpyro.plate("data", len(x)):
        numpyro.sample("z", dist.Normal(location(x), jnp.diagonal(root)).to_event(1))


def full_guide(x):
    root = numpyro.param("root", jnp.zeros((2, 2)))
    with numpyro.plate("data", len(x)):
        numpyro.sample("z", dist.MultivariateNormal(location(x), scale_tril=root))


def error_of(pair, key=KEY, dtype=np.float64, **options):
    """Parameters are arguments, so that all pairs are one program."""
    params = {name: jnp.asarray(array, dtype) for name, array in pair._asdict().items()}
    guide = diagonal_guide if np.count_nonzero(pair.root) == 2 else full_guide
    data = np.zeros((1000, 3), dtype)
    return guide_error(key, params, gaussian_model, guide, data, **options)


@pytest.mark.parametrize("name", mostly(PAIRS, FAST_PAIRS))
def test_gaussian_pairs(name):
    check_pair(PAIRS[name], error_of(PAIRS[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scale 1.10, diagonal", "shifted, full", "diagonal for full"])
def test_errors_are_calibrated(name):
    keys = random.split(KEY, 200)
    found = [error_of(PAIRS[name], key, num_simulations=2000) for key in keys]
    check_calibration(PAIRS[name], found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("right, diagonal", np.float64),
        ("right, full", np.float32),
        ("scale 1.10, diagonal", np.float32),
        ("scale 0.90, diagonal", np.float64),
    ],
)
def test_what_is_flagged(name, dtype):
    # In 200 runs of a right guide chance alone may flag three or four.
    num_runs = 600 if name.startswith("right") else 200
    check_flags(name, [error_of(PAIRS[name], k, dtype) for k in random.split(KEY, num_runs)])


def model(x, labels=0.0):
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.Normal(jnp.zeros(()), 1.0))
        numpyro.sample("x", dist.Normal(z + labels, 1.0), obs=x)


def guide(x, labels=0.0, scale=1.0):
    with numpyro.plate("data", len(x)):
        numpyro.sample("z", dist.Normal((x - labels) / 2, scale * 0.5**0.5))


def test_arguments_that_are_not_observed_stay_as_they_are():
    # Labels up to 99 would show: with others in their place the guide is far off.
    labels = np.arange(100.0)
    batches = iter([((X[:50],), {"labels": labels[:50]}), ((X[50:],), {"labels": labels[50:]})])
    # One argument of all that a data point has, the observations not the first by name.
    batches = [({"x": x[0], **labels},) for x, labels in batches]
    pair = lambda batch: model(**batch), lambda batch: guide(**batch)
    found = guide_error(KEY, {}, *pair, batches, num_simulations=1001)
    check_right(found)
    assert found.num_simulations == 1001


class Net(nnx.Module):
    """An encoder with statistics and draws of its own, in training mode."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.linear = nnx.Linear(6, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.dropout(self.norm(self.linear(x)))


class Amortised:
    """Model and guide as methods of one object, of images that the model flattens."""

    def __init__(self):
        self.net = Net()

    def model(self, x):
        weight = numpyro.param("weight", jnp.ones((2, 6), np.float32))
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(jnp.zeros(2, np.float32), 1.0).to_event(1))
            likelihood = dist.Bernoulli(logits=z @ weight).to_event(1)
            numpyro.sample("x", likelihood, obs=x.reshape(-1, 6).astype(np.float32))

    def guide(self, x):
        net = nnx_module("net", self.net)
        loc, log_scale = jnp.split(net(x.reshape(-1, 6).astype(np.float32)), 2, -1)
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(loc, jnp.exp(log_scale)).to_event(1))


def test_methods_of_one_object_in_evaluation_mode():
    pair, images = Amortised(), np.zeros((50, 1, 2, 3), np.uint8)
    svi = numpyro.infer.SVI(
        pair.model, pair.guide, numpyro.optim.Adam(1e-3), numpyro.infer.Trace_ELBO()
    )
    with handlers.seed(rng_seed=0):
        state = svi.init(KEY, images)
    params = {**svi.get_params(state), **(state.mutable_state or {})}
    found = guide_error(KEY, params, pair.model, pair.guide, images, num_simulations=200)
    assert found.latents == ("z[0]", "z[1]")
    # In training mode its density would be another one at each look.
    again = guide_error(KEY, params, pair.model, pair.guide, images, num_simulations=200)
    assert again.divergence == found.divergence
    assert not pair.net.dropout.deterministic


def test_parts_of_sites_add_up_for_a_batch_of_a_larger_data_set():
    vae = BernoulliVAE(6, 2, dtype=jnp.float32)
    batch = [((np.zeros((50, 6), np.float32),), {"total": 1000})]
    params = vae.init(KEY)
    found = guide_error(KEY, params, vae.model, vae.guide, batch, num_simulations=200)
    assert list(found.sites) == ["z", "x"]
    np.testing.assert_allclose(sum(e.mean for e in found.sites.values()), found.divergence)
    assert 0.01 < found.divergence < 5


class Own(dist.Normal):
    """A class with a density of its own, whose distribution function is not asked for."""

    def log_prob(self, value):
        return super().log_prob(value)

    def cdf(self, value):
        raise AssertionError


def test_latents_that_depend_on_each_other_and_draws_for_ranks():
    def chain(x):
        with numpyro.plate("data", len(x)):
            a = numpyro.sample("a", dist.Normal(jnp.zeros(()), 1.0))
            b = numpyro.sample("b", dist.Normal(a, 1.0))
            numpyro.sample("x", dist.Normal(b, 1.0), obs=x)

    def backwards(x):
        with numpyro.plate("data", len(x)):
            b = numpyro.sample("b", dist.Normal(2 * x / 3, (2 / 3) ** 0.5))
            numpyro.sample("a", Own(0.3 * b, 0.5**0.5))

    wrong = guide_error(KEY, {}, chain, backwards, X)
    # a given b has the variance 1/2, and its mean is off by 0.2 b, where b has the variance 2.
    assert abs(wrong.divergence - 0.16) < 3 * wrong.std_error
    assert "a[0]" in "".join(wrong.findings())
    assert "b[0]" not in "".join(wrong.findings())


def test_a_site_in_a_loop_depends_on_itself():
    # The first observation says something of the first latent alone, and the second one nothing.
    def walk(x, informs):
        def step(z, row):
            with numpyro.plate("data", x.shape[1]):
                z = numpyro.sample("z", dist.Normal(0.8 * z, 1.0))
                numpyro.sample("x", dist.Normal(row[1] * z, 1.0), obs=row[0])
            return z, None

        scan(step, jnp.zeros(x.shape[1]), (x, informs))

    def backwards(x, informs):
        def step(z, row):
            scale = jnp.where(row[1] > 0, 0.5**0.5, 1.0)
            with numpyro.plate("data", x.shape[1]):
                z = numpyro.sample("z", dist.Normal(0.8 * z + row[1] * row[0] / 2, scale))
            return z, None

        scan(step, jnp.zeros(x.shape[1]), (x, informs))

    found = guide_error(KEY, {}, walk, backwards, [(np.zeros((2, 500)), np.array([1.0, 0.0]))])
    check_right(found)
    assert found.latents == ("z[0]", "z[1]")


def steps(x):
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.Normal(jnp.zeros(()), 1.0))
        for t in range(2):
            numpyro.sample(f"x_{t}", dist.Normal(z, 1.0), obs=x[:, t])


def steps_guide(x):
    with numpyro.plate("data", len(x)):
        numpyro.sample("z", dist.Normal(x.sum(1) / 3, 3**-0.5))


@pytest.mark.slow
def test_a_function_hands_simulated_data_over():
    def stacked(values, x):
        assert x.shape == (50, 2)
        return jnp.stack([values["x_0"], values["x_1"]], 1)

    x = np.zeros((50, 2))
    check_right(guide_error(KEY, {}, steps, steps_guide, x, arguments=stacked))
    with pytest.raises(ValueError, match="an argument that has the values of 'x_0'"):
        guide_error(KEY, {}, steps, steps_guide, x)


def global_model(x):
    loc = numpyro.sample("loc", dist.Normal(0.0, 1.0))
    with numpyro.plate("data", len(x)):
        numpyro.sample("x", dist.Normal(loc, 1.0), obs=x)


def global_guide(x):
    numpyro.sample("loc", dist.Normal(x.mean(), 1.0))


def subsampled(x):
    with numpyro.plate("data", len(x), subsample_size=10) as rows:
        z = numpyro.sample("z", dist.Normal(jnp.zeros(()), 1.0))
        numpyro.sample("x", dist.Normal(z, 1.0), obs=x[rows])


def subsampled_guide(x):
    with numpyro.plate("data", len(x), subsample_size=10) as rows:
        numpyro.sample("z", dist.Normal(x[rows] / 2, 1.0))


def autoregressive(x):
    before = jnp.concatenate([jnp.zeros((len(x), 1)), x[:, :-1]], 1)
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.Normal(jnp.zeros(()), 1.0))
        numpyro.sample("x", dist.Normal(z[:, None] + before, 1.0).to_event(1), obs=x)


def mean_guide(x):
    with numpyro.plate("data", len(x)):
        numpyro.sample("z", dist.Normal(x.mean(1), 1.0))


def with_factor(x):
    model(x)
    numpyro.factor("f", x.sum())


def constant(x):
    with numpyro.plate("data", len(x)):
        numpyro.sample("z", dist.Normal(jnp.zeros(len(x)), 1.0))


DATA = np.random.default_rng(0).standard_normal((100, 3))
REFUSED = {
    "a guide of one data set": (model, constant, X, "the same densities whatever the data"),
    "AutoNormal": (model, AutoNormal(model), X, "whatever the data|site 'z', a point"),
    "a latent of all data": (global_model, global_guide, X, "site 'loc' outside of it"),
    "rows drawn": (subsampled, subsampled_guide, jnp.zeros(100), r"\['data'\], which draw rows"),
    "teacher forcing": (autoregressive, mean_guide, DATA, "'x' that depends on no observation"),
    "a factor": (with_factor, guide, X, "site 'f', a factor"),
    "a mask": (handlers.mask(model, mask=X == 0), guide, X, "site 'z', masked"),
    "the wrong way round": (guide, model, X, "the wrong way round"),
    "no argument": (lambda: model(X), lambda: guide(X), [()], "the values of 'x'"),
    "NaN": (model, guide, X * np.nan, "finite values for `batches`"),
    "no batch": (model, guide, [], "at least one batch for `batches`; got none"),
}


# Those that have to be compiled to be refused are in Pyro's tests.
COMPILED = ("a guide of one data set", "AutoNormal", "no argument", "teacher forcing")


@pytest.mark.parametrize("name", mostly(REFUSED, REFUSED.keys() - {*COMPILED}))
def test_refusals_say_why(name):
    *pair, data, why = REFUSED[name]
    params = {"z_auto_loc": jnp.zeros(100), "z_auto_scale": jnp.ones(100)}
    with pytest.raises(ValueError, match=why):
        guide_error(KEY, params if name == "AutoNormal" else {}, *pair, data, num_simulations=100)


def test_parameters_must_be_complete():
    with pytest.raises(ValueError, match="'weight'"):
        guide_error(KEY, {}, gaussian_model, diagonal_guide, np.zeros((10, 3)))
