"""Parameters are values: how they are drawn, and that none is missing where they are used."""

import jax
import jax.numpy as jnp
import pytest
from jax import random

from numpyro_entropy import (
    MLP,
    VAE,
    VAE1,
    EntropySumDiagnostic,
    LinearVAE,
    NormalDecoder,
    NormalEncoder,
    Standard_ELBO,
    StandardNormalPrior,
    fit,
)
from tests.numpyro.models import initial_params
from tests.support.helpers import HIDDEN, D, H, data

KEY = random.key(0)
X = jnp.asarray(data())
VAES = {"VAE1": VAE1(D, H, hidden=HIDDEN), "LinearVAE": LinearVAE(D, H)}


@pytest.fixture(scope="module")
def params():
    return jax.jit(VAES["VAE1"].init)(KEY)


@pytest.mark.parametrize("name", VAES)
def test_init_draws_parameters_as_svi_does(name):
    vae = VAES[name]
    init = jax.jit(vae.init)
    draws = [init(KEY), init(random.key(1)), initial_params(vae.model, vae.guide, X)]
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), params) for params in draws]
    assert shapes[0] == shapes[1] == shapes[2]
    # Each net and each key draws anew: no two kernels are the same.
    kernels = [leaf for params in draws for leaf in jax.tree.leaves(params) if leaf.ndim == 2]
    assert len({kernel.sum().item() for kernel in kernels}) == len(kernels)


def test_init_needs_the_shape_of_the_data():
    parts = NormalEncoder(MLP(D, 2 * H)), NormalDecoder(MLP(H, D))
    with pytest.raises(ValueError, match="for `data_shape`; got None"):
        VAE(StandardNormalPrior(H), *parts).init(KEY)


def train(vae, params):
    return fit(KEY, vae.model, vae.guide, X, init_params=params, progress_bar=False)


def diagnose(vae, params):
    return EntropySumDiagnostic(vae.model, vae.guide).run(KEY, params, X)


FAULTS = {
    "nothing": lambda params: {},
    "no net": lambda params: {"decoder.log_variance": params["decoder.log_variance"]},
    "no layer": lambda params: {
        name: {"layer_0": value["layer_0"]} if name.endswith("net$params") else value
        for name, value in params.items()
    },
    "misshapen": lambda params: jax.tree.map(lambda leaf: leaf[..., None], params),
}
CALLS = {
    "encode": lambda vae, params: vae.encode(params, X),
    "decode": lambda vae, params: vae.decode(params, jnp.zeros((2, H))),
    "get_weights": lambda vae, params: vae.get_weights(params),
    "terms": lambda vae, params: Standard_ELBO().terms(KEY, params, vae.model, vae.guide, X),
    "run": diagnose,
    "fit": train,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_incomplete_params_are_refused(call, fault, params):
    vae = VAES["VAE1"]
    with pytest.raises(ValueError, match=r"expected .*(encoder|decoder).* for `(init_)?params`"):
        call(vae, fault(params))


def test_one_fault_is_named(params):
    vae = VAES["VAE1"]
    missing = {name: value for name, value in params.items() if name != "decoder.log_variance"}
    with pytest.raises(ValueError, match=r"the parameters \['decoder.log_variance'\] for"):
        vae.get_weights(missing)
    misshapen = params | {"decoder.log_variance": jnp.zeros(2)}
    with pytest.raises(ValueError, match=r"'decoder.log_variance' of shapes .*\(\).*\(2,\)"):
        vae.get_weights(misshapen)


def test_incomplete_params_are_not_saved(tmp_path):
    with pytest.raises(ValueError, match="for `params`"):
        VAES["VAE1"].save_weights({}, tmp_path / "vae.safetensors")
    assert not any(tmp_path.iterdir())
