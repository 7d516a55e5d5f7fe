"""The objectives over a batch in NumPyro: the ways to train with them, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import lax, random
from numpyro import handlers
from numpyro.infer import SVI
from numpyro.optim import Adam

import numpyro_entropy
from numpyro_entropy import (
    BAGGINS_ELBO,
    BILBO_ELBO,
    EDVAE_ELBO,
    VAE1,
    BernoulliVAE,
    ConstantVarianceVAE,
    Profiled_ELBO,
    SigmaVAE,
)
from tests.support.cases import observations
from tests.support.helpers import HIDDEN, IDENTITY, B, D, H, mostly
from tests.support.objective_table import OBJECTIVES
from tests.support.objectives import NumPyroSide

X = jnp.asarray(observations("real"))
KEY = random.key(0)
SIZES = {"hidden": HIDDEN, "dtype": jnp.float64}
# One cheap cell an objective.
TRAINED = ["full BILBO", "BAGGINS", "profiled", "ED-VAE"]
FEW = ["BAGGINS", "ED-VAE"]


@pytest.mark.parametrize("name", mostly(TRAINED, FEW))
def test_trains_through_all_of_the_hosts_ways(name):
    here, elbo = NumPyroSide(OBJECTIVES[name].vae), OBJECTIVES[name].make(numpyro_entropy)
    svi = SVI(*here.pair(), Adam(1e-2), elbo, total=10 * B)
    state = jax.jit(svi.init)(KEY, X, init_params=here.params)
    _, losses = jax.jit(lambda state: lax.scan(lambda s, _: svi.update(s, X), state, length=60))(
        state
    )
    assert losses[-10:].mean() < losses[:10].mean()
    _, loss = jax.jit(svi.update)(state, X)
    assert loss.item() == pytest.approx(losses[0].item(), rel=IDENTITY)
    result = svi.run(KEY, 5, X, progress_bar=False, init_state=state)
    np.testing.assert_allclose(result.losses, losses[:5], rtol=1e-9)


@pytest.mark.parametrize("name", mostly(TRAINED, FEW))
def test_scale_handlers_and_several_particles(name):
    here, elbo = NumPyroSide(OBJECTIVES[name].vae), OBJECTIVES[name].make(numpyro_entropy)
    elbo.num_particles = 3

    @jax.jit
    def losses(params):
        elbo.num_particles = 3
        three = elbo.loss(KEY, params, *here.pair(), X)
        scaled = [handlers.scale(fn, scale=0.1) for fn in here.pair()]
        tenth = elbo.loss(KEY, params, *scaled, X)
        terms = elbo.terms(KEY, params, *scaled, X)
        elbo.num_particles = 1
        singles = [elbo.loss(key, params, *here.pair(), X) for key in random.split(KEY, 3)]
        return three, tenth, terms, jnp.stack(singles)

    three, tenth, terms, singles = losses(here.params)
    assert tenth.item() == pytest.approx(0.1 * three.item(), rel=IDENTITY)
    bound = terms.bound if hasattr(terms, "bound") else terms.elbo
    assert three.item() == pytest.approx(-B * bound.item(), rel=IDENTITY)
    if name == "profiled":
        # One optimum for all draws is below the mean of the optima of each.
        assert three > singles.mean()
    else:
        assert three.item() == pytest.approx(singles.mean().item(), rel=IDENTITY)


def test_positives_are_the_data_with_noise():
    x, seen = jnp.tile(X, (50, 1)), []

    def model(x):
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(0.0, 1.0))
            numpyro.sample("x", dist.Normal(z, 1.0), obs=x[:, 0])

    def guide(x):
        seen.append(x)
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(x[:, 0], 0.5))

    @jax.jit
    def noise(x):
        EDVAE_ELBO(positives=0.5).loss(KEY, {}, model, guide, x)
        (positive,) = (each for each in seen if each is not x)
        return positive - x

    found = np.asarray(noise(x))
    assert found.std() == pytest.approx(0.5, rel=0.05)
    assert abs(found.mean()) < 0.03


def rows(num=4):
    return numpyro.plate("data", num)


def model(mean=0.0, prior=None, likelihood=dist.Normal, num=4):
    def fn():
        with rows(num):
            z = numpyro.sample("z", prior or dist.Normal(jnp.zeros(2), 1.0).to_event(1))
            numpyro.sample("x", likelihood(mean * z.sum(-1), 1.0), obs=jnp.zeros(num))

    return fn


def guide(fn=None, num=4):
    def call():
        with rows(num):
            numpyro.sample("z", fn or dist.Normal(jnp.ones((num, 2)), 0.5).to_event(1))

    return call


def two_latents():
    with rows():
        z = numpyro.sample("z", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
        numpyro.sample("w", dist.Normal(0.0, 1.0))
        numpyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=jnp.zeros(4))


def two_latents_guide():
    with rows():
        numpyro.sample("z", dist.Normal(jnp.ones((4, 2)), 0.5).to_event(1))
        numpyro.sample("w", dist.Normal(0.0, 1.0))


def outside():
    z = numpyro.sample("z", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
    with rows():
        numpyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=jnp.zeros(4))


def outside_guide():
    numpyro.sample("z", dist.Normal(jnp.ones(2), 0.5).to_event(1))


def masked():
    with rows():
        z = numpyro.sample("z", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
        with handlers.mask(mask=jnp.arange(4) > 0):
            numpyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=jnp.zeros(4))


def weighted():
    with rows(), handlers.scale(scale=0.5):
        z = numpyro.sample("z", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
        numpyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=jnp.zeros(4))


def binary():
    return dist.Bernoulli(jnp.full((2,), 0.5)).to_event(1)


def mixture():
    components = dist.Normal(jnp.zeros((2, 2)), 1.0).to_event(1)
    return dist.MixtureSameFamily(dist.Categorical(jnp.ones(2) / 2), components)


NONE = {"mutual_information": "aggregate"}


@pytest.mark.parametrize(
    ("elbo", "pair", "error", "match"),
    [
        (BILBO_ELBO(), (model(num=1), guide(num=1)), ValueError, "at least 2 data points"),
        (BAGGINS_ELBO(), (model(num=1), guide(num=1)), ValueError, "at least 2 data points"),
        (Profiled_ELBO(), (model(num=1), guide(num=1)), ValueError, "at least 2 data points"),
        (EDVAE_ELBO(**NONE), (model(num=1), guide(num=1)), ValueError, "at least 2 data points"),
        (BILBO_ELBO(), (two_latents, two_latents_guide), ValueError, "one latent site for `guide`"),
        (BILBO_ELBO(), (outside, outside_guide), ValueError, "'z' in the plate 'data' alone"),
        (
            BILBO_ELBO(),
            (model(prior=mixture()), guide()),
            ValueError,
            "normal .* for `model`; got",
        ),
        (BILBO_ELBO(), (weighted, guide()), ValueError, "the same `scale` handler"),
        (BAGGINS_ELBO(), (model(mean=0.0), guide()), ValueError, "residuals that are not zero"),
        (
            BAGGINS_ELBO(),
            (model(1.0, likelihood=dist.Laplace), guide()),
            ValueError,
            "a normal distribution for `model`; got site 'x', Laplace",
        ),
        (Profiled_ELBO(), (masked, guide()), ValueError, "a normal distribution .* Masked"),
        (
            Profiled_ELBO(prior="diagonal"),
            (model(prior=mixture()), guide()),
            ValueError,
            "a normal distribution for `model`; got site 'z'",
        ),
        (
            Profiled_ELBO(prior="diagonal", decoder=None),
            (outside, outside_guide),
            ValueError,
            "a site to profile in the data plate",
        ),
        (
            Profiled_ELBO(prior="full", decoder=None, closed_form=False),
            (model(1.0, num=2), guide(num=2)),
            ValueError,
            "more than 2 data points for a full covariance of 'z'",
        ),
        (EDVAE_ELBO(), (model(), guide()), TypeError, "an array of floats to add noise to"),
        *(
            (elbo, (model(prior=binary()), guide(binary())), NotImplementedError, "reparameterised")
            for elbo in (BILBO_ELBO(), BAGGINS_ELBO(), Profiled_ELBO(), EDVAE_ELBO(**NONE))
        ),
    ],
)
def test_pairs_that_do_not_meet_the_conditions_are_refused(elbo, pair, error, match):
    def loss():
        return elbo.loss(KEY, {}, *pair)

    with pytest.raises(error, match=match):
        # Without values, which take time to compute, but where a value is what is refused.
        loss() if "zero" in match else jax.eval_shape(loss)


@pytest.mark.parametrize("vae", [VAE1, SigmaVAE])
@pytest.mark.parametrize("elbo", [BILBO_ELBO(), BAGGINS_ELBO()])
def test_a_guide_whose_variance_depends_on_the_data_is_refused(vae, elbo):
    made = vae(D, H, **SIZES)
    params = jax.eval_shape(made.init, KEY)
    with pytest.raises(ValueError, match=r"constant over the batch|a diagonal covariance"):
        jax.eval_shape(lambda params: elbo.loss(KEY, params, made.model, made.guide, X), params)


def test_fit_stops_at_a_zero_residual():
    vae = ConstantVarianceVAE(D, H, **SIZES)
    params = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(vae.init, KEY)
    )
    params["prior.variance"] = jnp.ones(H)
    with pytest.raises(FloatingPointError, match="a finite value for `loss`; got -inf at step 1"):
        numpyro_entropy.fit(
            KEY,
            vae.model,
            vae.guide,
            0 * X,
            init_params=params,
            loss=BAGGINS_ELBO(),
            progress_bar=False,
            num_epochs=1,
        )


def test_baggins_refuses_a_bernoulli_decoder():
    vae = BernoulliVAE(D, H, **SIZES)
    elbo, x = BAGGINS_ELBO(prior="model"), 1.0 * (X > 0)
    with pytest.raises(ValueError, match="a normal distribution for `model`; got site 'x'"):
        jax.eval_shape(
            lambda p: elbo.loss(KEY, p, vae.model, vae.guide, x), jax.eval_shape(vae.init, KEY)
        )


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: BAGGINS_ELBO(0.0), "positive numbers for `information_factor`; got 0.0"),
        (lambda: BAGGINS_ELBO(prior="fixed"), "for `prior`; got 'fixed'"),
        (lambda: Profiled_ELBO(decoder=None), "a site to profile"),
        (lambda: Profiled_ELBO(prior="scalar"), "for `prior`; got 'scalar'"),
        (lambda: EDVAE_ELBO(mutual_information="mine"), "for `mutual_information`; got 'mine'"),
        (lambda: EDVAE_ELBO(aggregate_entropy="exact"), "for `aggregate_entropy`; got 'exact'"),
        (lambda: EDVAE_ELBO(temperature=0.0), "positive numbers for `temperature`"),
        (lambda: EDVAE_ELBO(positives=-1.0), "positive numbers for `positives`"),
        (lambda: EDVAE_ELBO(weights=(1.0, 1.0)), "four finite numbers for `weights`"),
    ],
)
def test_bad_arguments_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
