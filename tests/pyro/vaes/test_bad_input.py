"""Parts that do not fit and data that cannot be have clear errors, before anything has changed."""

import pyro
import pytest
import torch
from pyro.infer import SVI

import pyro_entropy
from pyro_entropy import EntropySumDiagnostic, Standard_ELBO, fit
from tests.support.bad_parts import OUTSIDE, PAIRS, PARTS
from tests.support.cases import CASES, observations
from tests.support.helpers import B, data

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.mark.parametrize(("make", "error", "match"), PAIRS.values(), ids=PAIRS)
def test_parts_that_do_not_fit_are_refused(make, error, match):
    vae = make(pyro_entropy, torch.float32)
    x = torch.tensor(data(), dtype=torch.float32)
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-2}), Standard_ELBO())
    with pytest.raises(error, match=match):
        svi.step(x)


@pytest.mark.parametrize(("make", "match"), PARTS.values(), ids=PARTS)
def test_bad_parts_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make(pyro_entropy)


@pytest.mark.parametrize(("name", "bad", "support"), OUTSIDE.values(), ids=OUTSIDE)
def test_data_outside_the_support_are_refused(name, bad, support):
    vae = CASES[name].make(pyro_entropy, torch.float32)
    good = torch.tensor(observations(CASES[name].kind), dtype=torch.float32)
    bad = torch.tensor(bad, dtype=torch.float32)
    with pytest.raises(ValueError, match=rf"values in .*({support}).* for `x`; got \d+ outside"):
        vae.encode(bad)
    # Wherever in the data set: no step is taken before the last batch has been looked at.
    before = vae.get_weights()
    with pytest.raises(ValueError, match="support of their distribution for `x`; got 8 elements"):
        fit(
            vae.model,
            vae.guide,
            torch.cat([good, good, bad]),
            batch_size=B,
            num_epochs=1,
            progress_bar=False,
        )
    for key, weight in vae.get_weights().items():
        assert (weight == before[key]).all()
    with pytest.raises(ValueError, match="support"):
        EntropySumDiagnostic(vae.model, vae.guide).run(bad)


def test_only_a_floating_prior_is_fitted():
    vae = CASES["VAE1"].make(pyro_entropy, torch.float32)
    with pytest.raises(TypeError, match="FloatingNormalPrior for `prior`; got StandardNormalPrior"):
        vae.fit_floating_prior(torch.zeros(B, 6))
    with pytest.raises(ValueError, match="`num_samples`"):
        vae.generate(0)


def test_a_report_leaves_running_statistics_alone():
    norm = torch.nn.BatchNorm1d(6)
    encoder = pyro_entropy.NormalEncoder(torch.nn.Sequential(torch.nn.Linear(6, 6), norm))
    vae = CASES["VAE1"].make(pyro_entropy, torch.float32)
    vae = pyro_entropy.VAE(vae.prior, encoder, vae.decoder, (6,))
    before = norm.running_mean.clone()
    EntropySumDiagnostic(vae.model, vae.guide).run(torch.rand(B, 6))
    assert torch.equal(norm.running_mean, before)
    assert norm.training
    assert encoder.training


def test_buffers_are_saved(tmp_path):
    def made():
        norm = torch.nn.BatchNorm1d(6)
        encoder = pyro_entropy.NormalEncoder(torch.nn.Sequential(torch.nn.Linear(6, 6), norm))
        vae = CASES["VAE1"].make(pyro_entropy, torch.float32)
        return pyro_entropy.VAE(vae.prior, encoder, vae.decoder, (6,)), norm

    vae, norm = made()
    vae.encode(torch.rand(B, 6))
    vae.save_weights(tmp_path / "vae.safetensors")
    other, other_norm = made()
    other.load_weights(tmp_path / "vae.safetensors")
    assert torch.equal(norm.running_mean, other_norm.running_mean)
    assert other_norm.num_batches_tracked == 1
