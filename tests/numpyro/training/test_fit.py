"""`fit`: the linear VAE reaches probabilistic PCA; what a training loop must refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from jax import random
from numpyro.infer import TraceMeanField_ELBO

from entropy_core.theory.closed_form import optimal_decoder_variance
from numpyro_entropy import VAE1, EntropySumDiagnostic, LinearVAE, fit
from tests.support.helpers import HIDDEN, IDENTITY, STANDARD_ERRORS, D, H, data
from tests.support.ppca_oracle import PPCA, likelihood, optimum_weights

KEY = random.key(0)


def test_at_the_optimum_the_entropy_sum_is_the_log_likelihood():
    vae = LinearVAE(10, 2)
    params = vae.set_weights(optimum_weights())
    report = EntropySumDiagnostic(vae.model, vae.guide, num_particles=100).run(KEY, params, PPCA)
    expected = likelihood(optimum_weights())
    assert report["entropy_sum"] == pytest.approx(expected, abs=IDENTITY)
    summary = report.summary()
    assert abs(summary.loc["residual of z", "mean"]) < IDENTITY  # closed: no draws, no error
    mean, mcse = summary.loc["residual of x"]
    assert 0 < mcse < 0.01
    assert abs(mean) < STANDARD_ERRORS * mcse


@pytest.mark.slow  # the other side trains one in each run
def test_a_trained_linear_vae_has_the_log_likelihood_of_ppca():
    start = float(np.log(optimal_decoder_variance(PPCA, PPCA.mean(0))))
    vae = LinearVAE(10, 2, initial_log_variance=start)
    params, _, report = fit(
        KEY,
        vae.model,
        vae.guide,
        PPCA,
        optim=optax.adam(optax.cosine_decay_schedule(0.05, 500, 0.01)),
        num_epochs=500,
        batch_size=1000,
        diagnostic=EntropySumDiagnostic(vae.model, vae.guide, num_particles=200),
        diagnose_every=250,
        progress_bar=False,
    )
    expected = likelihood(vae.get_weights(params))
    assert report["elbo"] == pytest.approx(expected, abs=0.01)
    assert report["entropy_sum"] == pytest.approx(expected, abs=0.01)
    # And the model is a good one: nearly that of the closed form, which nothing exceeds.
    assert expected == pytest.approx(likelihood(optimum_weights()), abs=0.01)


X = jnp.asarray(data(50), jnp.float32)
VAE_1 = VAE1(D, H, hidden=HIDDEN, dtype=jnp.float32)
# For tests that look at training alone.
GLANCE = EntropySumDiagnostic(VAE_1.model, VAE_1.guide, num_particles=1)


def train(x=X, key=KEY, **kwargs):
    defaults = {"num_epochs": 3, "batch_size": 25, "diagnostic": GLANCE, "progress_bar": False}
    defaults["diagnose_every"] = kwargs.get("num_epochs", 3)
    return fit(key, VAE_1.model, VAE_1.guide, x, **defaults | kwargs)


@pytest.fixture(scope="module")
def losses():
    return train().losses


def test_losses_history_and_report():
    result = train(num_epochs=5, batch_size=16, diagnose_every=2, diagnostic=None)
    assert len(result.losses) == 5 * 4
    history = result.report.to_datatree()["history"]
    assert history["epoch"].values.tolist() == [2, 4, 5]
    np.testing.assert_allclose(
        history["loss"].values, result.losses.reshape(5, -1).mean(1)[[1, 3, 4]]
    )
    assert history["latent_encoder_entropy"].shape == (3, H)
    # The loss is the negative ELBO in nats per data point, whatever the size of the batch.
    assert result.losses[-1] == pytest.approx(-result.report["elbo"], rel=0.3)


def test_each_epoch_goes_once_through_the_data_in_an_order_of_its_own():
    # Row n adds 2^n to the loss, so that a loss in binary shows the rows of its batch.
    def model(x, total=None):
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(0.0, 1.0))
            numpyro.sample("x", dist.Exponential(1.0), obs=x)

    def guide(x, total=None):
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(numpyro.param("loc", 0.0), 1.0))

    kwargs = {"num_epochs": 5, "batch_size": 2, "diagnose_every": 5, "progress_bar": False}
    losses = fit(KEY, model, guide, 2.0 ** np.arange(7), optim=optax.sgd(0.0), **kwargs).losses
    epochs = np.rint(7 * losses).astype(int).reshape(5, 4)
    rows = [{n for n in range(7) for loss in epoch if loss >> n & 1} for epoch in epochs]
    assert rows == [set(range(7))] * 5
    assert [[int(loss).bit_count() for loss in epoch] for epoch in epochs] == [[2, 2, 2, 1]] * 5
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 5


def test_a_batch_size_beyond_the_data_takes_all_of_it():
    assert len(train(batch_size=64).losses) == 3


def test_the_key_decides_the_training(losses):
    np.testing.assert_array_equal(train(np.asarray(X)).losses, losses)
    assert np.all(train(key=random.key(1)).losses != losses)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"optim": numpyro.optim.Adam(1e-3)},
        {"optim": optax.adam(1e-3)},
        {"loss": TraceMeanField_ELBO()},
    ],
    ids=["NumPyro's optimiser", "optax's optimiser", "NumPyro's loss"],
)
def test_what_is_of_the_host_trains_as_the_defaults_do(losses, kwargs):
    np.testing.assert_allclose(train(**kwargs).losses, losses, rtol=1e-5)  # float32


def test_training_starts_from_the_given_params():
    params = jax.jit(VAE_1.init)(random.key(7))
    result = train(init_params=params, optim=optax.sgd(0.0), num_epochs=1)
    assert jax.tree.structure(result.params) == jax.tree.structure(params)
    for left, right in zip(*map(jax.tree.leaves, (result.params, params)), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_loss_that_is_not_finite_stops_the_training():
    # The third update spoils the parameters.
    optim = optax.sgd(lambda count: jnp.where(count < 2, 1e-5, jnp.nan))
    with pytest.raises(FloatingPointError, match="finite value for `loss`; got nan at step 4"):
        train(optim=optim)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"x": X[:0]}, ValueError, "at least one data point for `data`"),
        ({"x": X / 0}, ValueError, "finite values for `data`"),
        ({"x": X.tolist()}, TypeError, "an array for `data`; got list"),
        ({"x": X[:, 1:]}, ValueError, r"shape \(B, 6\) for `x`"),
        ({"x": (9 * X).astype(int)}, TypeError, "floating-point data for `x`; got int64"),
        ({"num_epochs": 0}, ValueError, "`num_epochs`"),
        ({"batch_size": 0}, ValueError, "`batch_size`"),
        ({"diagnose_every": 2.5}, ValueError, "`diagnose_every`"),
    ],
    ids=["empty", "infinite", "list", "features", "integers", "epochs", "batch", "every"],
)
def test_bad_arguments_are_refused(kwargs, error, match):
    with pytest.raises(error, match=match):
        train(**kwargs)
