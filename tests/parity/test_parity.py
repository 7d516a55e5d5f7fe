"""The same weights, data and noise give the same terms, losses and gradients in both backends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from numpyro.handlers import substitute

import numpyro_entropy
import pyro_entropy
from entropy_core.vaes.weights import load_weights
from numpyro_entropy.params import to_weights
from tests.parity.noise import NumPyroNoise
from tests.support.cases import CASES, VARIANTS, observations
from tests.support.helpers import PARITY, STANDARD_ERRORS, B, H, mostly, random_weights
from tests.support.pyro_noise import PyroNoise

# The variants, and the parts whose formulas are the library's own.
SOME = VARIANTS.keys() | {
    "full floating prior",
    "given full mixture",
    "VampPrior",
    "continuous Bernoulli",
    "discretised logistic",
    "Gamma",
    "convolutional VAE3",
}
TABLE = pytest.mark.parametrize("name", mostly(CASES, SOME))
FEW = pytest.mark.parametrize("name", ["VAE1", "LinearVAE"])
NOISE = {"z": np.random.default_rng(1).standard_normal((B, H))}
KEY = jax.random.key(0)
TOTAL = 10 * B


class Pair:
    """One variant in both backends, with the same random weights, through a file."""

    def __init__(self, name, folder):
        self.case = CASES[name]
        self.vae = self.case.make(pyro_entropy, torch.float64)
        self.twin = self.case.make(numpyro_entropy, jnp.float64)
        self.vae.set_weights(random_weights(self.vae.get_weights()))
        self.vae.save_weights(folder / "vae.safetensors")
        self.params = self.twin.load_weights(folder / "vae.safetensors")
        self.guide = PyroNoise(NOISE)(self.vae.guide)
        self.twin_guide = NumPyroNoise(self.twin.guide, NOISE)
        self.x = observations(self.case.kind)


@pytest.fixture
def pair(name, tmp_path):
    return Pair(name, tmp_path)


def assert_same(left, right):
    left, right = np.asarray(left), np.asarray(right)
    assert left.dtype == right.dtype == np.float64
    np.testing.assert_allclose(left, right, rtol=PARITY, atol=PARITY * np.abs(left).max())


@TABLE
def test_loss_all_gradients_and_every_term(pair):
    x = torch.tensor(pair.x)

    @jax.jit
    def everything(params, x):
        found = {}
        for closed_form in (True, False):
            twin_elbo = numpyro_entropy.Standard_ELBO(closed_form=closed_form)
            found[closed_form] = (
                jax.value_and_grad(twin_elbo.loss, argnums=1)(
                    KEY, params, pair.twin.model, pair.twin_guide, x, total=TOTAL
                ),
                twin_elbo.terms(KEY, params, pair.twin.model, pair.twin_guide, x),
            )
        return found

    found = everything(pair.params, pair.x)
    for closed_form, ((twin_loss, twin_grads), twin) in found.items():
        elbo = pyro_entropy.Standard_ELBO(closed_form=closed_form)
        pair.vae.zero_grad()
        loss = elbo.loss_and_grads(pair.vae.model, pair.guide, x, total=TOTAL)
        assert_same(loss, twin_loss)
        weights = to_weights(twin_grads)
        for name, parameter in pair.vae.named_parameters():
            assert parameter.grad.abs().max() > 0
            assert_same(parameter.grad.numpy(), weights.pop(name.partition(".")[2]))
        assert weights.keys() == pair.case.constants & weights.keys()

        terms = elbo.terms(pair.vae.model, pair.guide, x)
        assert terms._fields == twin._fields
        # Sampled entropies are each side's own.
        skipped = {"entropy_sum"} if pair.case.sampled else set()
        skipped |= {{"z": "prior_entropy", "x": "decoder_entropy"}[s] for s in pair.case.sampled}
        for field in set(terms._fields[:-1]) - skipped:
            assert_same(getattr(terms, field).detach(), getattr(twin, field))
        assert terms.residuals.keys() == twin.residuals.keys() == {"z", "x"}
        for site in terms.residuals.keys() - pair.case.sampled:
            assert_same(terms.residuals[site].detach(), twin.residuals[site])


@FEW
def test_every_number_of_a_report(pair):
    report = pyro_entropy.EntropySumDiagnostic(pair.vae.model, pair.guide, num_particles=2).run(
        torch.tensor(pair.x)
    )
    twin = numpyro_entropy.EntropySumDiagnostic(
        pair.twin.model, pair.twin_guide, num_particles=2
    ).run(KEY, pair.params, pair.x)
    assert_same(report.summary()["mean"], twin.summary()["mean"])
    for table in ("sites", "latents"):
        left, right = getattr(report, table)(), getattr(twin, table)()
        numbers = left.select_dtypes("number").columns.drop("handler_scale", errors="ignore")
        np.testing.assert_allclose(left[numbers], right[numbers], rtol=PARITY, atol=PARITY)
        assert left.drop(columns=numbers).equals(right.drop(columns=numbers))
    assert report.to_datatree().groups == twin.to_datatree().groups


# Each prior and each decoder, since this takes little time.
PARTS = {"given mixture", "variance by dimension", "categorical", "Poisson", "Laplace"}


@pytest.mark.parametrize("name", mostly(CASES, SOME | PARTS))
def test_distributions_and_reconstructions(pair):
    x, z = pair.x, NOISE["z"]

    @jax.jit
    def moments(params, x, z):
        decoded = pair.twin.decode(params, z)
        found = [
            (fn.mean, fn.variance)
            for fn in (substitute(pair.twin.prior, params)(), pair.twin.encode(params, x))
        ]
        return [*found, (decoded.mean, decoded.variance), (pair.twin.reconstruct(params, x),)]

    with torch.no_grad():
        fns = pair.vae.prior(), pair.vae.encode(torch.tensor(x)), pair.vae.decode(torch.tensor(z))
        left = [(fn.mean, fn.variance) for fn in fns]
        left.append((pair.vae.reconstruct(torch.tensor(x)),))
    for ours, twins in zip(left, moments(pair.params, x, z), strict=True):
        for value, twin in zip(ours, twins, strict=True):
            assert_same(value, twin)


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


@pytest.mark.parametrize("name", ["ConstantVarianceVAE", "full floating prior"])
def test_the_floating_prior(pair):
    x = torch.tensor(pair.x)
    # One batch, or several.
    for batch_size in (1000, 3):
        pair.vae.fit_floating_prior(x, batch_size=batch_size)
        params = pair.twin.fit_floating_prior(pair.params, pair.x, batch_size=batch_size)
        key = pair.twin.prior.site
        moments = pair.vae.get_weights()[key]
        assert_same(moments, params[key])
        mean = pair.vae.encode(x).mean.detach().numpy()
        expected = mean.T @ mean / B + np.diag(pair.vae.encode(x).variance[0].detach())
        np.testing.assert_allclose(
            moments, expected if moments.ndim == 2 else np.diag(expected), rtol=1e-12
        )
    # The residual of a prior with the moments of its latents is zero.
    report = pyro_entropy.EntropySumDiagnostic(pair.vae.model, pair.vae.guide).run(x)
    assert abs(report.sites().loc["prior z", "residual"]) < 1e-12


@pytest.mark.parametrize("name", ["VAE1"])
def test_each_sides_own_draws_agree_in_distribution(pair):
    report = pyro_entropy.EntropySumDiagnostic(
        pair.vae.model, pair.vae.guide, num_particles=100
    ).run(torch.tensor(pair.x))
    twin = numpyro_entropy.EntropySumDiagnostic(
        pair.twin.model, pair.twin.guide, num_particles=100
    ).run(KEY, pair.params, pair.x)
    (mean, mcse), (twin_mean, twin_mcse) = (r.summary().loc["ELBO"] for r in (report, twin))
    assert mcse > 0
    assert abs(mean - twin_mean) < STANDARD_ERRORS * np.hypot(mcse, twin_mcse)
