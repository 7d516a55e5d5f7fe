"""A file of weights says how its VAE was made: either package makes it again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import numpyro_entropy
import pyro_entropy
from entropy_core.vaes.weights import load_weights
from tests.support.cases import VARIANTS, observations, with_parts

KEY = jax.random.key(0)


def means(package, vae, params, x):
    if package is pyro_entropy:
        return vae.reconstruct(torch.tensor(x)).detach().numpy()
    return np.asarray(vae.reconstruct(params, x))


@pytest.mark.parametrize("name", VARIANTS)
def test_each_package_loads_what_either_has_saved(name, tmp_path):
    case, path = VARIANTS[name], tmp_path / "vae.safetensors"
    x = observations(case.kind)
    made = case.make(pyro_entropy, torch.float64)
    made.save_weights(path)
    found, params = numpyro_entropy.VAE.load(path)
    assert type(found).__name__ == type(made).__name__
    wanted = means(pyro_entropy, made, None, x)
    np.testing.assert_allclose(means(numpyro_entropy, found, params, x), wanted, rtol=1e-12)
    found.save_weights(params, path)
    again = type(made).load(path)
    assert means(pyro_entropy, again, None, x) == pytest.approx(wanted, rel=1e-15)


def test_what_is_no_weight_is_made_again_too(tmp_path):
    path = tmp_path / "vae.safetensors"
    options = {"hidden": [8], "activation": "tanh", "encoder_variance": np.array([0.1, 0.2])}
    vae = pyro_entropy.ConstantVarianceVAE(4, 2, compute_dtype=torch.bfloat16, **options)
    vae.save_weights(path)
    again = pyro_entropy.VAE.load(path)
    assert again.encoder.net.compute_dtype == torch.bfloat16
    assert torch.equal(again.encoder.scale, vae.encoder.scale)
    found, _ = numpyro_entropy.VAE.load(path)
    assert found.encoder.net.compute_dtype == jnp.bfloat16
    assert tuple(found.encoder.variance) == (0.1, 0.2)


def saved(package, vae, path):
    if package is pyro_entropy:
        vae.save_weights(path)
    else:
        vae.save_weights(vae.init(KEY), path)


@pytest.mark.parametrize("package", [pyro_entropy, numpyro_entropy], ids=["pyro", "numpyro"])
def test_variants_of_a_users_own(package, tmp_path):
    class Small(package.VAE1):
        def __init__(self, latent_dim=3):
            super().__init__(5, latent_dim, hidden=(4,))

    saved(package, Small(latent_dim=2), tmp_path / "vae")
    for cls in (Small, package.VAE):
        found = cls.load(tmp_path / "vae")
        found = found if package is pyro_entropy else found[0]
        assert isinstance(found, Small)


@pytest.mark.parametrize("package", [pyro_entropy, numpyro_entropy], ids=["pyro", "numpyro"])
def test_files_that_say_too_little_or_something_else(package, tmp_path):
    path = tmp_path / "vae"
    dtype = torch.float64 if package is pyro_entropy else jnp.float64
    saved(package, with_parts(package, dtype), path)
    with pytest.raises(ValueError, match=r"expected weights of a VAE that was made from numbers"):
        package.VAE.load(path)
    saved(package, package.VAE1(4, 2), path)
    with pytest.raises(ValueError, match=r"expected weights of a VAE2 for `path`; got .*VAE1"):
        package.VAE2.load(path)
    _, metadata = load_weights(path)
    for arguments in ('{"data_dim": 4}', '{"latent_dim": -1, "data_dim": 4}', "[]", "{"):
        save_file(load_file(path), tmp_path / "odd", {**metadata, "arguments": arguments})
        with pytest.raises(ValueError, match="expected the arguments of a VAE1 for `path`"):
            package.VAE.load(tmp_path / "odd")
    other = '{"data_dim": 4, "latent_dim": 3}'
    save_file(load_file(path), tmp_path / "odd", {**metadata, "arguments": other})
    with pytest.raises(ValueError, match="expected the weights of the model for `weights`"):
        package.VAE.load(tmp_path / "odd")
