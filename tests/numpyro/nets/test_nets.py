"""Modules of Linen, NNX and Equinox wherever a net goes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax import random
from numpyro.infer import SVI
from numpyro.optim import Adam

from numpyro_entropy import (
    VAE,
    BernoulliDecoder,
    EntropySumDiagnostic,
    NormalDecoder,
    NormalEncoder,
    Standard_ELBO,
    StandardNormalPrior,
)
from tests.support.helpers import B, D, H, data

KEY = random.key(0)


class Centred(nnx.Module):
    """Takes a running mean off, as batch normalisation does, in JAX's own float type."""

    def __init__(self, features):
        self.mean = nnx.BatchStat(jnp.zeros(features))

    def __call__(self, x):
        self.mean[...] = 0.9 * self.mean[...] + 0.1 * x.mean(tuple(range(x.ndim - 1)))
        return x - self.mean[...]


class Stack(nnx.Module):
    """Two layers of NNX with running statistics between them."""

    def __init__(self, in_dim, out_dim, rngs):
        self.layers = nnx.List(
            [
                nnx.Linear(in_dim, 8, rngs=rngs, param_dtype=jnp.float64),
                Centred(8),
                nnx.Linear(8, out_dim, rngs=rngs, param_dtype=jnp.float64),
            ]
        )

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def linen(in_dim, out_dim):
    del in_dim
    return nn.Sequential([nn.Dense(8, param_dtype=float), nn.tanh, nn.Dense(out_dim)])


NETS = {
    "Linen": linen,
    "NNX": lambda in_dim, out_dim: nnx.Linear(in_dim, out_dim, rngs=nnx.Rngs(0)),
    "NNX with state": lambda in_dim, out_dim: Stack(in_dim, out_dim, nnx.Rngs(0)),
    "Equinox": lambda in_dim, out_dim: eqx.nn.MLP(in_dim, out_dim, 8, 1, key=KEY),
}
TABLE = pytest.mark.parametrize("net", NETS.values(), ids=NETS)


def made(net):
    return VAE(StandardNormalPrior(H), NormalEncoder(net(D, 2 * H)), NormalDecoder(net(H, D)), (D,))


@TABLE
def test_nets_of_every_kind_train(net):
    vae, x = made(net), jnp.asarray(data())
    svi = SVI(vae.model, vae.guide, Adam(1e-2), Standard_ELBO(), total=10 * B)
    state = jax.jit(svi.init)(KEY, x)
    before = svi.get_params(state)
    assert {name.partition("$")[0] for name in before} >= {"encoder.net", "decoder.net"}
    update = jax.jit(svi.update)
    losses = []
    for _ in range(30):
        state, loss = update(state, x)
        losses.append(loss)
    assert np.mean(losses[-5:]) < losses[0]
    params = svi.get_params(state)
    for old, new in zip(*map(jax.tree.leaves, (before, params)), strict=True):
        assert np.any(old != new)
    params = {**params, **(state.mutable_state or {})}
    # Any leading batch shape for latents; Equinox's modules take one data point.
    decoded = jax.eval_shape(vae.decode, params, jnp.zeros((2, B, H)))
    assert decoded.batch_shape == (2, B)
    assert jax.eval_shape(vae.reconstruct, params, x).shape == (B, D)
    report = EntropySumDiagnostic(vae.model, vae.guide, num_particles=1).run(KEY, params, x)
    assert np.isfinite(report["elbo"])


@TABLE
def test_their_weights_are_kept_under_their_own_paths(net, tmp_path):
    vae = made(net)
    params = vae.init(KEY)
    vae.save_weights(params, tmp_path / "vae.safetensors")
    loaded = vae.load_weights(tmp_path / "vae.safetensors")
    assert jax.tree.structure(loaded) == jax.tree.structure(params)
    for old, new in zip(*map(jax.tree.leaves, (params, loaded)), strict=True):
        np.testing.assert_array_equal(old, new)
    keys = {key for key in vae.get_weights(params) if key.startswith("decoder.net")}
    expected = {
        "Linen": {"decoder.net.layers_0.weight", "decoder.net.layers_2.bias"},
        "NNX": {"decoder.net.weight", "decoder.net.bias"},
        "NNX with state": {"decoder.net.layers.0.weight", "decoder.net.layers.1.mean"},
        "Equinox": {"decoder.net.layers.0.weight", "decoder.net.layers.1.bias"},
    }
    assert keys >= next(paths for name, paths in expected.items() if NETS[name] is net)


def test_an_equinox_net_takes_images():
    net = eqx.nn.Sequential(
        [eqx.nn.Conv2d(1, 2, 2, key=KEY), eqx.nn.Lambda(jnp.ravel), eqx.nn.Linear(18, 4, key=KEY)]
    )
    decoder = eqx.nn.Sequential(
        [eqx.nn.Linear(2, 16, key=KEY), eqx.nn.Lambda(lambda x: x.reshape(1, 4, 4))]
    )
    shape = (1, 4, 4)
    vae = VAE(StandardNormalPrior(2), NormalEncoder(net), BernoulliDecoder(decoder), shape)
    params = jax.eval_shape(vae.init, KEY)
    reconstructed = jax.eval_shape(vae.reconstruct, params, jnp.zeros((B, *shape)))
    assert reconstructed.shape == (B, *shape)


def test_what_is_no_net_is_refused():
    vae = VAE(StandardNormalPrior(H), NormalEncoder(jnp.tanh), NormalDecoder(nn.Dense(D)), (D,))
    with pytest.raises(TypeError, match=r"Linen, NNX or Equinox for `encoder\.net`; got"):
        vae.init(KEY)
