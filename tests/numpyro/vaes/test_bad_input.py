"""Parts that do not fit and data that cannot be have clear errors, before anything has changed."""

import jax
import jax.numpy as jnp
import pytest

import numpyro_entropy
from numpyro_entropy import EntropySumDiagnostic, fit
from numpyro_entropy.params import from_weights, to_weights
from tests.support.bad_parts import OUTSIDE, PAIRS, PARTS
from tests.support.cases import CASES, observations
from tests.support.helpers import B, D, random_weights

KEY = jax.random.key(0)
pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.mark.parametrize(("make", "error", "match"), PAIRS.values(), ids=PAIRS)
def test_parts_that_do_not_fit_are_refused(make, error, match):
    vae = make(numpyro_entropy, jnp.float64)
    x = jnp.zeros((B, D))
    with pytest.raises(error, match=match):
        jax.eval_shape(
            lambda x: numpyro_entropy.Standard_ELBO().loss(KEY, {}, vae.model, vae.guide, x), x
        )


@pytest.mark.parametrize(("make", "match"), PARTS.values(), ids=PARTS)
def test_bad_parts_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make(numpyro_entropy)


@pytest.mark.filterwarnings("ignore:Out-of-support values")  # the host's own, in NumPyro 0.22
@pytest.mark.parametrize(("name", "bad", "support"), OUTSIDE.values(), ids=OUTSIDE)
def test_data_outside_the_support_are_refused(name, bad, support):
    vae = CASES[name].make(numpyro_entropy, jnp.float64)
    shapes = jax.eval_shape(vae.init, KEY)
    params = from_weights(random_weights(to_weights(shapes)), shapes)
    with pytest.raises(ValueError, match=rf"values in .*({support}).* for `x`; got \d+ outside"):
        vae.encode(params, bad)
    with pytest.raises(ValueError, match="support of their distribution for `x`; got 8 elements"):
        EntropySumDiagnostic(vae.model, vae.guide, num_particles=1).run(KEY, params, bad)


@pytest.mark.filterwarnings("ignore:Out-of-support values")
def test_fit_looks_at_all_data_before_the_first_step():
    vae = CASES["BernoulliVAE"].make(numpyro_entropy, jnp.float64)
    good = observations("binary")
    x = jnp.concatenate([good, good, jnp.full((B, D), 0.5)])
    with pytest.raises(ValueError, match="support of their distribution for `x`; got 8 elements"):
        fit(KEY, vae.model, vae.guide, x, batch_size=B, num_epochs=1, progress_bar=False)


def test_only_a_floating_prior_is_fitted():
    vae = CASES["VAE1"].make(numpyro_entropy, jnp.float64)
    with pytest.raises(TypeError, match="FloatingNormalPrior for `prior`; got StandardNormalPrior"):
        vae.fit_floating_prior({}, jnp.zeros((B, D)))
    with pytest.raises(ValueError, match="`num_samples`"):
        vae.generate(KEY, {}, 0)
    with pytest.raises(ValueError, match="for `params`"):
        vae.generate(KEY, {}, 3)


def test_the_encoder_of_a_vamp_prior_is_the_guides():
    # One set of parameters under the same names, in model and guide.
    vae = CASES["VampPrior"].make(numpyro_entropy, jnp.float64)
    assert sorted(jax.eval_shape(vae.init, KEY)) == [
        "decoder.log_variance",
        "decoder.net$params",
        "encoder.net$params",
        "prior.pseudo_inputs",
    ]
    assert jax.eval_shape(vae.init, KEY)["prior.pseudo_inputs"].shape == (4, D)
    assert vae.prior.encoder is vae.encoder
