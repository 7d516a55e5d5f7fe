"""VAE-1 and VAE-2 are the same model: the same data, the same ELBO, entropies moved alike."""

import jax
import numpy as np
import pytest
import torch
from scipy.stats import kstest

import numpyro_entropy
import pyro_entropy
from entropy_core.vaes.conversion import vae1_to_vae2, vae2_to_vae1
from numpyro_entropy.params import to_weights
from tests.parity.noise import NumPyroNoise
from tests.support.helpers import HIDDEN, IDENTITY, B, D, H, data, random_weights
from tests.support.pyro_noise import PyroNoise

NOISE = {"z": np.random.default_rng(1).standard_normal((B, H))}
NETS = {
    "mlp": {"data_dim": D, "hidden": HIDDEN},
    "linear": {"data_dim": D, "hidden": ()},
    "dense block": {"data_dim": D, "hidden": (8, 8), "net": "dense_block"},
    "conv": {"data_dim": (1, 4, 4), "hidden": (3,), "net": "conv"},
}
TABLE = pytest.mark.parametrize("options", NETS.values(), ids=NETS)


def batch(options):
    return data(B, 16).reshape(B, 1, 4, 4) if options.get("net") == "conv" else data()


def pyro_terms(vae, x):
    guide = PyroNoise(NOISE)(vae.guide)
    return pyro_entropy.Standard_ELBO().terms(vae.model, guide, torch.tensor(x))


def numpyro_terms(vae, params, x):
    guide = NumPyroNoise(vae.guide, NOISE)
    terms = jax.jit(numpyro_entropy.Standard_ELBO().terms, static_argnums=(2, 3))
    return terms(jax.random.key(0), params, vae.model, guide, x)


def assert_moved(before, after, shift):
    """The ELBO stays, and the entropies of prior and encoder both grow by `shift`."""
    assert after.elbo.item() == pytest.approx(before.elbo.item(), rel=IDENTITY)
    for name, moved in (("encoder_entropy", shift), ("prior_entropy", shift)):
        change = getattr(after, name).item() - getattr(before, name).item()
        assert change == pytest.approx(moved, rel=1e-9)
    assert after.decoder_entropy.item() == pytest.approx(before.decoder_entropy.item())
    assert after.entropy_sum.item() == pytest.approx(before.entropy_sum.item(), rel=IDENTITY)


@TABLE
def test_vae1_to_vae2_and_back(options):
    x = batch(options)
    vae1 = pyro_entropy.VAE1(latent_dim=H, dtype=torch.float64, **options)
    vae2 = pyro_entropy.VAE2(latent_dim=H, dtype=torch.float64, **options)
    weights = random_weights(vae1.get_weights())
    converted = vae1_to_vae2(weights)
    vae1.set_weights(weights)
    vae2.set_weights(converted)
    shift = np.log(np.linalg.norm(weights["decoder.net.layer_0.weight"], axis=0)).sum()
    assert abs(shift) > 0.01
    assert_moved(pyro_terms(vae1, x), pyro_terms(vae2, x), shift)

    back = vae2_to_vae1(converted)
    assert back.keys() == weights.keys()
    for key, weight in weights.items():
        np.testing.assert_allclose(back[key], weight, rtol=1e-12, atol=1e-14)


def test_vae2_to_vae1_in_numpyro():
    # Raw columns of any length: the layer normalises them.
    options = NETS["mlp"]
    vae1 = numpyro_entropy.VAE1(latent_dim=H, **options)
    vae2 = numpyro_entropy.VAE2(latent_dim=H, **options)
    weights = random_weights(to_weights(jax.eval_shape(vae2.init, jax.random.key(0))))
    before = numpyro_terms(vae2, vae2.set_weights(weights), data())
    after = numpyro_terms(vae1, vae1.set_weights(vae2_to_vae1(weights)), data())
    assert_moved(before, after, -0.5 * weights["prior.log_variance"].sum())


def test_both_generate_the_same_distribution():
    options = NETS["mlp"]
    vae1, vae2 = (
        pyro_entropy.VAE1(latent_dim=H, **options),
        pyro_entropy.VAE2(latent_dim=H, **options),
    )
    weights = {k: w.astype(np.float32) for k, w in random_weights(vae1.get_weights()).items()}
    vae1.set_weights(weights)
    vae2.set_weights(vae1_to_vae2(weights))
    left, right = vae1.generate(20_000), vae2.generate(20_000)
    for d in range(D):
        assert kstest(left[:, d], right[:, d]).pvalue > 1e-4


def test_a_latent_without_a_column_is_refused():
    weights = random_weights(pyro_entropy.VAE1(D, H, hidden=HIDDEN).get_weights())
    weights["decoder.net.layer_0.weight"][:, 1] = 0
    with pytest.raises(ValueError, match=r"other than zero for `weights`; got \[1\]"):
        vae1_to_vae2(weights)
    weights["prior.log_variance"] = np.zeros(H)
    with pytest.raises(ValueError, match=r"other than zero for `weights`; got \[1\]"):
        vae2_to_vae1(weights)


def test_weights_of_other_variants_are_refused():
    weights = pyro_entropy.LinearVAE(D, H).get_weights()
    with pytest.raises(ValueError, match="the weights of a VAE1 for `weights`"):
        vae1_to_vae2(weights)
    with pytest.raises(ValueError, match="the weights of a VAE2 for `weights`"):
        vae2_to_vae1(weights)
