"""`EntropySumDiagnostic` over batches, traces and models that are no VAE."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.contrib import gp
from pyro.infer import TraceMeanField_ELBO

from entropy_core.theory.closed_form import gaussian_entropy
from pyro_entropy import VAE1, EntropySumDiagnostic, Standard_ELBO
from tests.pyro.models import USER_MODELS
from tests.support.helpers import HIDDEN, IDENTITY, STANDARD_ERRORS, D, H, data
from tests.support.user_models import ENTROPIES

X = torch.tensor(data(50))


@pytest.fixture
def vae():
    return VAE1(D, H, hidden=HIDDEN, dtype=torch.float64)


def estimate(report, name):
    return report.to_datatree()["entropy_sum"][name].values


def test_report_agrees_with_the_terms_of_the_elbo(vae):
    report = EntropySumDiagnostic(vae.model, vae.guide, num_particles=50).run(X)
    terms = Standard_ELBO(2000, vectorize_particles=True, max_plate_nesting=1).terms(
        vae.model, vae.guide, X
    )
    for name in ("encoder_entropy", "prior_entropy", "decoder_entropy", "prior_term"):
        assert report[name] == pytest.approx(getattr(terms, name).item(), rel=IDENTITY)
    mean, mcse = estimate(report, "elbo")
    assert 0 < mcse < 0.5
    assert abs(mean - terms.elbo.item()) < STANDARD_ERRORS * mcse


def test_batches_of_any_size_give_the_same_report(vae):
    diagnostic = EntropySumDiagnostic(vae.model, vae.guide)
    whole, parts = diagnostic.run(X), diagnostic.run(X, batch_size=7)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X), batch_size=16)
    for report in (parts, diagnostic.run(loader)):
        # What does not depend on draws is the same to the last digits.
        np.testing.assert_allclose(
            report.latents().select_dtypes("number"),
            whole.latents().select_dtypes("number"),
            rtol=IDENTITY,
        )
        mean, mcse = estimate(report, "gap")
        assert abs(mean - estimate(whole, "gap")[0]) < 2 * STANDARD_ERRORS * mcse
        assert report.to_datatree().attrs["num_data"] == 50


def test_latents_are_those_of_the_encoder(vae):
    latents = EntropySumDiagnostic(vae.model, vae.guide).run(X).latents()
    q = vae.encode(X).base_dist
    variance = q.scale.detach().numpy() ** 2
    mean = q.loc.detach().numpy()
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


def test_from_traces_reads_one_draw(vae):
    pyro.set_rng_seed(0)
    guide_trace = poutine.trace(vae.guide).get_trace(X)
    model_trace = poutine.trace(poutine.replay(vae.model, trace=guide_trace)).get_trace(X)
    report = EntropySumDiagnostic(vae.model, vae.guide).from_traces(model_trace, guide_trace)
    pyro.set_rng_seed(0)
    terms = Standard_ELBO().terms(vae.model, vae.guide, X)
    assert report["elbo"] == pytest.approx(terms.elbo.item(), rel=IDENTITY)
    assert np.isnan(estimate(report, "elbo")[1])


@pytest.mark.parametrize("name", USER_MODELS)
def test_user_models(name):
    model, guide = USER_MODELS[name]
    report = EntropySumDiagnostic(model, guide).run([torch.tensor(data())])
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
        mean = pyro.sample("mean", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("rows", len(x)):
            pyro.sample("y", dist.Normal(mean, 1.0), obs=x[:, 0])

    def guide(x):
        pyro.sample("mean", dist.Normal(x.new_tensor(0.2), 0.5))

    report = EntropySumDiagnostic(model, guide).run([X])
    assert report.untreated == {"mean": "not in the data plate alone"}
    assert report["encoder_entropy"] == pytest.approx(gaussian_entropy(0.25).item() / 50)
    assert len(report.latents()) == 0


def test_a_model_without_a_plate_is_reported_in_totals():
    def model():
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=torch.tensor(2.0))

    def guide():
        pyro.sample("z", dist.Normal(1.0, 0.7))

    report = EntropySumDiagnostic(model, guide, num_particles=3).run([()])
    assert report.units == "nats"
    assert report["encoder_entropy"] == pytest.approx(gaussian_entropy(0.49).item(), rel=1e-6)


def test_handler_scales_are_listed_and_not_used(vae):
    pair = [poutine.scale(fn, scale=0.1) for fn in (vae.model, vae.guide)]
    scaled = EntropySumDiagnostic(*pair).run(X)
    plain = EntropySumDiagnostic(vae.model, vae.guide).run(X)
    assert scaled["encoder_entropy"] == pytest.approx(plain["encoder_entropy"], rel=IDENTITY)
    assert set(scaled.sites()["handler_scale"]) == {"0.1"}
    assert scaled["scaled_elbo"] == pytest.approx(0.1 * scaled["elbo"], rel=IDENTITY)
    assert "scaled_elbo" not in plain.to_datatree()["entropy_sum"]


def test_a_scale_that_stands_for_subsampling_is_said_with_the_elbo_of_the_host():
    """`pyro.contrib.gp` with `num_data` has no plate, and scales its likelihood."""
    x = torch.linspace(0.0, 4.0, 20, dtype=torch.float64)
    likelihood, kernel = gp.likelihoods.Gaussian(), gp.kernels.RBF(1)
    options = {"likelihood": likelihood, "num_data": 2000, "jitter": 1e-4}
    pair = gp.models.VariationalSparseGP(x, x.sin(), kernel, x[::4].clone(), **options).double()
    report = EntropySumDiagnostic(pair.model, pair.guide).run([()])
    host = TraceMeanField_ELBO().loss(pair.model, pair.guide)
    assert report["scaled_elbo"] == pytest.approx(-host, rel=IDENTITY)
    (finding, *_) = report.findings()
    assert "scale 'likelihood.y' by 100.0" in finding
    assert f"{-host:.5g} nats" in finding
    assert finding in " ".join(str(report).split())


def test_the_diagnostic_changes_neither_gradients_nor_modes(vae):
    vae.eval()
    EntropySumDiagnostic(vae.model, vae.guide).run(X)
    assert not vae.training
    assert all(parameter.grad is None for parameter in vae.parameters())
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("batches", "match"),
    [
        ([], "at least one batch for `batches`"),
        (X[:0], "at least one data point for `batches`"),
        (torch.full((4, D), torch.nan, dtype=torch.float64), "finite values for `batches`"),
        ([(X,), (X / 0,)], "finite values for `batches`"),
    ],
    ids=["none", "empty", "nan", "infinite"],
)
def test_bad_batches_are_refused(vae, batches, match):
    with pytest.raises(ValueError, match=match):
        EntropySumDiagnostic(vae.model, vae.guide).run(batches)


@pytest.mark.parametrize("name", ["num_particles", "entropy_samples"])
def test_bad_numbers_are_refused(vae, name):
    with pytest.raises(ValueError, match=f"positive integer for `{name}`"):
        EntropySumDiagnostic(vae.model, vae.guide, **{name: 0})


class Renamed(dist.Laplace):
    """Has the entropy of its base."""


class Mistaken(dist.Laplace):
    """Says an entropy that is not the one of its density."""

    def entropy(self):
        return 0.5 * super().entropy()


def test_the_closed_form_of_a_class_of_ones_own_is_checked_against_its_draws():
    def pair(kind):
        def model(x):
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
                pyro.sample("x", kind(z, 2.0), obs=x)

        def guide(x):
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(x / 2, 1.0))

        return model, guide

    found = {}
    for kind in (dist.Laplace, Renamed, Mistaken):
        report = EntropySumDiagnostic(*pair(kind)).run(X[:, 0])
        said = [finding for finding in report.findings() if "its own draws" in finding]
        found[kind] = report.sites(), said
    assert "check" not in found[dist.Laplace][0]
    right, wrong = found[Renamed][0].loc["decoder x"], found[Mistaken][0].loc["decoder x"]
    assert abs(right["check"]) < 6 * right["check_mcse"]
    half = 0.5 * (1 + np.log(2 * 2.0))
    assert abs(wrong["check"] - half) < 6 * wrong["check_mcse"]
    assert (found[Renamed][1], len(found[Mistaken][1])) == ([], 1)
    assert "The entropy of 'x' in closed form is not that of its own draws" in found[Mistaken][1][0]
