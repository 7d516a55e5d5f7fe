"""`EntropySumDiagnostic` over batches, traces and models that are no VAE."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import random
from numpyro.handlers import replay, seed, substitute, trace
from numpyro.infer import TraceMeanField_ELBO

from entropy_core.theory.closed_form import gaussian_entropy
from numpyro_entropy import VAE1, EntropySumDiagnostic, Standard_ELBO
from tests.numpyro.models import USER_MODELS, initial_params
from tests.support.helpers import HIDDEN, IDENTITY, STANDARD_ERRORS, D, H, data
from tests.support.user_models import ENTROPIES

KEY = random.key(0)
X = jnp.asarray(data(50))
VAE_1 = VAE1(D, H, hidden=HIDDEN)
MODEL, GUIDE = VAE_1.model, VAE_1.guide


@pytest.fixture(scope="module")
def params():
    return jax.jit(VAE_1.init)(KEY)


@pytest.fixture(scope="module")
def whole(params):
    """The report on all the data at once."""
    return EntropySumDiagnostic(MODEL, GUIDE).run(KEY, params, X)


def estimate(report, name):
    return report.to_datatree()["entropy_sum"][name].values


def test_report_agrees_with_the_terms_of_the_elbo(params):
    report = EntropySumDiagnostic(MODEL, GUIDE, num_particles=50).run(KEY, params, X)
    elbo = Standard_ELBO(2000)
    terms = jax.jit(lambda key, params: elbo.terms(key, params, MODEL, GUIDE, X))(
        random.key(1), params
    )
    for name in ("encoder_entropy", "prior_entropy", "decoder_entropy", "prior_term"):
        assert report[name] == pytest.approx(getattr(terms, name).item(), rel=IDENTITY)
    mean, mcse = estimate(report, "elbo")
    assert 0 < mcse < 0.5
    assert abs(mean - terms.elbo.item()) < STANDARD_ERRORS * mcse


def test_batches_of_any_size_give_the_same_report(params, whole):
    diagnostic = EntropySumDiagnostic(MODEL, GUIDE)
    parts = diagnostic.run(KEY, params, X, batch_size=20)
    loader = ((np.asarray(X[i : i + 20]),) for i in range(0, 50, 20))
    for report in (parts, diagnostic.run(KEY, params, loader)):
        # What does not depend on draws is the same to the last digits.
        np.testing.assert_allclose(
            report.latents().select_dtypes("number"),
            whole.latents().select_dtypes("number"),
            rtol=IDENTITY,
        )
        mean, mcse = estimate(report, "gap")
        assert abs(mean - estimate(whole, "gap")[0]) < 2 * STANDARD_ERRORS * mcse
        assert report.to_datatree().attrs["num_data"] == 50


def test_the_key_decides_the_draws(params, whole):
    diagnostic = EntropySumDiagnostic(MODEL, GUIDE)
    assert diagnostic.run(KEY, params, X)["elbo"] == whole["elbo"]
    assert diagnostic.run(random.key(1), params, X)["elbo"] != whole["elbo"]


def test_latents_are_those_of_the_encoder(params, whole):
    latents, q = whole.latents(), VAE_1.encode(params, X).base_dist
    variance, mean = np.asarray(q.scale) ** 2, np.asarray(q.loc)
    np.testing.assert_allclose(
        latents["encoder_entropy"], gaussian_entropy(variance).mean(0), rtol=IDENTITY
    )
    np.testing.assert_allclose(latents["variance_of_mean"], mean.var(0), rtol=IDENTITY)
    np.testing.assert_allclose(
        latents["kl"],
        0.5 * (mean**2 + variance - 1 - np.log(variance)).mean(0),
        rtol=IDENTITY,
    )
    assert list(latents.index) == ["z[0]", "z[1]", "z[2]"]
    np.testing.assert_allclose(
        latents["channel_bits"], -0.5 * np.log2(variance).mean(0), rtol=IDENTITY, atol=IDENTITY
    )
    np.testing.assert_allclose(
        latents["capacity_bits"], -0.5 * np.log2(variance.mean(0)), rtol=IDENTITY, atol=IDENTITY
    )
    np.testing.assert_allclose(
        latents["second_moment"], (mean**2 + variance).mean(0), rtol=IDENTITY
    )


def traces(model, guide, params, key, x):
    """The traces of the draws that the objectives make with the same key."""
    model_key, guide_key = random.split(key)
    guide_trace = trace(substitute(seed(guide, guide_key), data=params)).get_trace(x)
    model = substitute(replay(seed(model, model_key), guide_trace), data=params)
    return trace(model).get_trace(x), guide_trace


def test_from_traces_reads_one_draw(params):
    report = EntropySumDiagnostic(MODEL, GUIDE).from_traces(*traces(MODEL, GUIDE, params, KEY, X))
    terms = jax.jit(lambda params: Standard_ELBO().terms(KEY, params, MODEL, GUIDE, X))(params)
    assert report["elbo"] == pytest.approx(terms.elbo.item(), rel=IDENTITY)
    assert np.isnan(estimate(report, "elbo")[1])


def test_from_traces_needs_a_key_where_an_entropy_is_sampled():
    def model(x):
        with numpyro.plate("rows", len(x)):
            weights, normals = jnp.full(2, 0.5), dist.Normal(jnp.zeros(2), 1)
            mixture = dist.MixtureSameFamily(dist.Categorical(weights), normals)
            z = numpyro.sample("z", mixture)
            numpyro.sample("y", dist.Normal(z, 1.0), obs=x[:, 0])

    def guide(x):
        with numpyro.plate("rows", len(x)):
            numpyro.sample("z", dist.Normal(x[:, 1], 0.5))

    diagnostic, pair = EntropySumDiagnostic(model, guide), traces(model, guide, {}, KEY, X)
    with pytest.raises(ValueError, match=r"H\['z'\] for `rng_key`; got None"):
        diagnostic.from_traces(*pair)
    report = diagnostic.from_traces(*pair, rng_key=KEY)
    # Ten draws for each of 50 points; -log p of a normal distribution deviates by less than 1.
    assert abs(report["prior_entropy"] - gaussian_entropy(1.0)) < STANDARD_ERRORS / 500**0.5


@pytest.mark.parametrize("name", USER_MODELS)
def test_user_models(name):
    model, guide = USER_MODELS[name]
    x = jnp.asarray(data())
    report = EntropySumDiagnostic(model, guide).run(KEY, initial_params(model, guide, x), [x])
    sites = report.sites()
    for entropy, by_hand in zip(("encoder", "prior"), ENTROPIES[name], strict=False):
        assert report[f"{entropy}_entropy"] == pytest.approx(by_hand, rel=IDENTITY)
    assert report.units == "nats per data point"
    latent = {site for site in sites["site_name"] if site != "y"}
    treated = {label.split("[")[0] for label in report.latents().index}
    assert treated | report.untreated.keys() == latent
    assert "Entropy report" in str(report)


def test_a_latent_outside_the_data_plate_is_listed_with_the_reason():
    def model(x):
        mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
        with numpyro.plate("rows", len(x)):
            numpyro.sample("y", dist.Normal(mean, 1.0), obs=x[:, 0])

    def guide(x):
        numpyro.sample("mean", dist.Normal(0.2, 0.5))

    report = EntropySumDiagnostic(model, guide).run(KEY, {}, [X])
    assert report.untreated == {"mean": "not in the data plate alone"}
    assert report["encoder_entropy"] == pytest.approx(gaussian_entropy(0.25).item() / 50)
    assert len(report.latents()) == 0


def test_a_model_without_a_plate_is_reported_in_totals():
    def model():
        z = numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("x", dist.Normal(z, 1.0), obs=2.0)

    def guide():
        numpyro.sample("z", dist.Normal(1.0, 0.7))

    report = EntropySumDiagnostic(model, guide, num_particles=3).run(KEY, {}, [()])
    assert report.units == "nats"
    assert report["encoder_entropy"] == pytest.approx(gaussian_entropy(0.49).item(), rel=IDENTITY)


def test_handler_scales_are_listed_and_not_used(params, whole):
    pair = [numpyro.handlers.scale(fn, scale=0.1) for fn in (MODEL, GUIDE)]
    scaled = EntropySumDiagnostic(*pair).run(KEY, params, X)
    for name in ("elbo", "entropy_sum", "encoder_entropy"):
        assert scaled[name] == pytest.approx(whole[name], rel=IDENTITY)
    assert set(scaled.sites()["handler_scale"]) == {"0.1"}
    assert scaled["scaled_elbo"] == pytest.approx(0.1 * scaled["elbo"], rel=IDENTITY)
    assert "scaled_elbo" not in whole.to_datatree()["entropy_sum"]


def test_a_scale_that_stands_for_subsampling_is_said_with_the_elbo_of_the_host():
    """Without a plate that subsamples, as some models weigh a minibatch."""

    def model(x):
        w = numpyro.sample("w", dist.Normal(0.0, 1.0))
        with numpyro.plate("data", len(x)), numpyro.handlers.scale(scale=100.0):
            numpyro.sample("x", dist.Normal(w, 1.0), obs=x)

    def guide(x):
        numpyro.sample("w", dist.Normal(0.5, 1e-12))

    x = X[:20, 0]
    report = EntropySumDiagnostic(model, guide).run(KEY, {}, x)
    host = TraceMeanField_ELBO().loss(KEY, {}, model, guide, x) / 20
    assert report["scaled_elbo"] == pytest.approx(-host.item(), rel=1e-9)
    (finding, *_) = report.findings()
    assert "scale 'x' by 100.0" in finding
    assert f"{-host.item():.5g} nats per data point" in finding
    assert finding in " ".join(str(report).split())


@pytest.mark.parametrize(
    ("batches", "match"),
    [
        ([], "at least one batch for `batches`"),
        (X[:0], "at least one data point for `batches`"),
        (jnp.full((50, D), jnp.nan), "finite values for `batches`"),
        ([(X,), (X / 0,)], "finite values for `batches`"),
    ],
    ids=["none", "empty", "nan", "infinite"],
)
def test_bad_batches_are_refused(params, batches, match):
    with pytest.raises(ValueError, match=match):
        EntropySumDiagnostic(MODEL, GUIDE, num_particles=1).run(KEY, params, batches)


@pytest.mark.parametrize("name", ["num_particles", "entropy_samples"])
def test_bad_numbers_are_refused(name):
    with pytest.raises(ValueError, match=f"positive integer for `{name}`"):
        EntropySumDiagnostic(MODEL, GUIDE, **{name: 0})


class Renamed(dist.Laplace):
    """Has the entropy of its base."""


class Mistaken(dist.Laplace):
    """Says an entropy that is not the one of its density."""

    def entropy(self):
        return 0.5 * super().entropy()


def test_the_closed_form_of_a_class_of_ones_own_is_checked_against_its_draws():
    def pair(kind):
        def model(x):
            with numpyro.plate("data", len(x)):
                z = numpyro.sample("z", dist.Normal(0.0, 1.0))
                numpyro.sample("x", kind(z, 2.0), obs=x)

        def guide(x):
            with numpyro.plate("data", len(x)):
                numpyro.sample("z", dist.Normal(x / 2, 1.0))

        return model, guide

    found = {}
    for kind in (dist.Laplace, Renamed, Mistaken):
        report = EntropySumDiagnostic(*pair(kind)).run(KEY, {}, X[:, 0])
        said = [finding for finding in report.findings() if "its own draws" in finding]
        found[kind] = report.sites(), said
    assert "check" not in found[dist.Laplace][0]
    right, wrong = found[Renamed][0].loc["decoder x"], found[Mistaken][0].loc["decoder x"]
    assert abs(right["check"]) < 6 * right["check_mcse"]
    half = 0.5 * (1 + np.log(2 * 2.0))
    assert abs(wrong["check"] - half) < 6 * wrong["check_mcse"]
    assert (found[Renamed][1], len(found[Mistaken][1])) == ([], 1)
    assert "The entropy of 'x' in closed form is not that of its own draws" in found[Mistaken][1][0]
