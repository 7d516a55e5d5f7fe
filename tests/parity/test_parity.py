"""The same weights, data and noise give the same terms, losses and gradients in both backends."""

import jax
import numpy as np
import pytest
import torch

import numpyro_entropy
import pyro_entropy
from entropy_core.weights import load_weights
from numpyro_entropy.params import to_weights
from tests.helpers import HIDDEN, PARITY, STANDARD_ERRORS, B, D, H, data, random_weights
from tests.parity.noise import NumPyroNoise, PyroNoise

VARIANTS = {"VAE1": {"hidden": HIDDEN, "activation": "tanh"}, "LinearVAE": {}}
TABLE = pytest.mark.parametrize("name", VARIANTS)
CLOSED = pytest.mark.parametrize("closed_form", [True, False])
TOTAL = pytest.mark.parametrize("total", [None, 10 * B])
NOISE = {"z": np.random.default_rng(1).standard_normal((B, H))}
KEY = jax.random.key(0)


class Pair:
    """One variant in both backends, with the same random weights, through a file."""

    def __init__(self, name, folder):
        self.vae = getattr(pyro_entropy, name)(D, H, dtype=torch.float64, **VARIANTS[name])
        self.twin = getattr(numpyro_entropy, name)(D, H, **VARIANTS[name])
        self.vae.set_weights(random_weights(self.vae.get_weights()))
        self.vae.save_weights(folder / "vae.safetensors")
        self.params = self.twin.load_weights(folder / "vae.safetensors")
        self.guide = PyroNoise(NOISE)(self.vae.guide)
        self.twin_guide = NumPyroNoise(self.twin.guide, NOISE)


@pytest.fixture
def pair(name, tmp_path):
    return Pair(name, tmp_path)


def assert_same(left, right):
    left, right = np.asarray(left), np.asarray(right)
    assert left.dtype == right.dtype == np.float64
    np.testing.assert_allclose(left, right, rtol=PARITY, atol=PARITY * np.abs(left).max())


@TABLE
@CLOSED
@TOTAL
def test_loss_and_all_gradients(pair, closed_form, total):
    x = data()
    elbo = pyro_entropy.Standard_ELBO(closed_form=closed_form)
    loss = elbo.loss_and_grads(pair.vae.model, pair.guide, torch.tensor(x), total=total)
    twin_elbo = numpyro_entropy.Standard_ELBO(closed_form=closed_form)
    twin_loss, twin_grads = jax.value_and_grad(twin_elbo.loss, argnums=1)(
        KEY, pair.params, pair.twin.model, pair.twin_guide, x, total=total
    )
    assert_same(loss, twin_loss)
    grads = {
        name.partition(".")[2]: parameter.grad.numpy()
        for name, parameter in pair.vae.named_parameters()
    }
    twin_grads = to_weights(twin_grads)
    assert grads.keys() == twin_grads.keys()
    for key, grad in grads.items():
        assert np.abs(grad).max() > 0
        assert_same(grad, twin_grads[key])


@TABLE
@CLOSED
def test_every_term(pair, closed_form):
    x = data()
    terms = pyro_entropy.Standard_ELBO(closed_form=closed_form).terms(
        pair.vae.model, pair.guide, torch.tensor(x)
    )
    twin = numpyro_entropy.Standard_ELBO(closed_form=closed_form).terms(
        KEY, pair.params, pair.twin.model, pair.twin_guide, x
    )
    assert terms._fields == twin._fields
    for field in terms._fields[:-1]:
        assert_same(getattr(terms, field).detach(), getattr(twin, field))
    assert terms.residuals.keys() == twin.residuals.keys() == {"z", "x"}
    for site, residual in terms.residuals.items():
        assert_same(residual.detach(), twin.residuals[site])


@TABLE
def test_every_number_of_a_report(pair):
    x = data()
    report = pyro_entropy.EntropySumDiagnostic(pair.vae.model, pair.guide, num_particles=2).run(
        torch.tensor(x)
    )
    twin = numpyro_entropy.EntropySumDiagnostic(
        pair.twin.model, pair.twin_guide, num_particles=2
    ).run(KEY, pair.params, x)
    assert_same(report.summary()["mean"], twin.summary()["mean"])
    for table in ("sites", "latents"):
        left, right = getattr(report, table)(), getattr(twin, table)()
        numbers = left.select_dtypes("number").columns.drop("handler_scale", errors="ignore")
        np.testing.assert_allclose(left[numbers], right[numbers], rtol=PARITY, atol=PARITY)
        assert left.drop(columns=numbers).equals(right.drop(columns=numbers))
    assert report.to_datatree().groups == twin.to_datatree().groups


@TABLE
def test_encode_and_decode(pair):
    x, z = data(), NOISE["z"]
    for fn, twin in (
        (pair.vae.encode(torch.tensor(x)), pair.twin.encode(pair.params, x)),
        (pair.vae.decode(torch.tensor(z)), pair.twin.decode(pair.params, z)),
    ):
        assert fn.event_shape == twin.event_shape
        assert_same(fn.mean.detach(), twin.mean)
        assert_same(fn.variance.detach(), twin.variance)


@TABLE
def test_weights_saved_by_either_side_are_the_same(pair, tmp_path):
    pair.vae.save_weights(tmp_path / "left.safetensors")
    pair.twin.save_weights(pair.params, tmp_path / "right.safetensors")
    (left, header), (right, twin_header) = (
        load_weights(tmp_path / f"{side}.safetensors") for side in ("left", "right")
    )
    assert header == twin_header
    assert left.keys() == right.keys()
    for key, array in left.items():
        assert array.dtype == right[key].dtype
        assert np.array_equal(array, right[key])


@TABLE
def test_each_sides_own_draws_agree_in_distribution(pair):
    x = data()
    report = pyro_entropy.EntropySumDiagnostic(
        pair.vae.model, pair.vae.guide, num_particles=300
    ).run(torch.tensor(x))
    twin = numpyro_entropy.EntropySumDiagnostic(
        pair.twin.model, pair.twin.guide, num_particles=300
    ).run(KEY, pair.params, x)
    (mean, mcse), (twin_mean, twin_mcse) = (r.summary().loc["ELBO"] for r in (report, twin))
    assert mcse > 0
    assert abs(mean - twin_mean) < STANDARD_ERRORS * np.hypot(mcse, twin_mcse)
