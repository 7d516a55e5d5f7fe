"""Variants and parts over one table; parameters and weights; bad input."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
import pytest
from flax import linen as nn
from jax import random
from numpyro.handlers import seed, substitute
from numpyro.infer import SVI
from numpyro.infer.util import log_density

from numpyro_entropy import (
    MLP,
    VAE,
    VAE1,
    LinearNormalEncoder,
    LinearVAE,
    NormalDecoder,
    NormalEncoder,
    Standard_ELBO,
)
from tests.support.helpers import HIDDEN, IDENTITY, B, D, H, data

KEY = random.key(0)
VARIANTS = {
    "VAE1": lambda dtype=None: VAE1(D, H, hidden=HIDDEN, dtype=dtype),
    "LinearVAE": lambda dtype=None: LinearVAE(D, H, dtype=dtype),
}
TABLE = pytest.mark.parametrize("name", VARIANTS)
DTYPES = pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
LEAVES = {"VAE1": 9, "LinearVAE": 6}


def batch(dtype=jnp.float64):
    return jnp.asarray(data(), dtype)


def init(vae):
    return jax.jit(vae.init)(KEY)


@cache
def params_of(name, dtype=None):
    """Compiled once; who changes them makes their own."""
    return init(VARIANTS[name](dtype))


def shapes_and_dtypes(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def loss_and_grads(vae, x):
    return jax.jit(
        jax.value_and_grad(
            lambda params: Standard_ELBO().loss(KEY, params, vae.model, vae.guide, x)
        )
    )


def test_vaes_of_different_shapes_train_side_by_side():
    # The same site names for parameters of other shapes: nothing is kept between them.
    vaes = [VAE1(D, H, hidden=HIDDEN), VAE1(D, H + 1, hidden=(8,))]
    svis = [SVI(vae.model, vae.guide, optax.adam(1e-2), Standard_ELBO()) for vae in vaes]
    states = [jax.jit(svi.init)(KEY, batch()) for svi in svis]
    before = [svi.get_params(state) for svi, state in zip(svis, states, strict=True)]
    for vae, svi, state, params in zip(vaes, svis, states, before, strict=True):
        state, _ = jax.jit(svi.update)(state, batch())
        after = svi.get_params(state)
        assert shapes_and_dtypes(after) == shapes_and_dtypes(params)
        for old, new in zip(*map(jax.tree.leaves, (params, after)), strict=True):
            assert np.any(old != new)
        q = jax.eval_shape(vae.encode, after, batch())
        assert q.event_shape == (vae.prior.latent_dim,)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"decoder.log_variance": None}, "no decoder.log_variance"),
        ({"prior.scale": np.ones(H)}, "an unknown prior.scale"),
        ({"decoder.net.bias": np.ones(D + 1)}, r"decoder.net.bias of shape \(7,\) for \(6,\)"),
        ({"encoder.net.weight": np.ones((D, H))}, r"encoder.net.weight of shape \(6, 3\) .*"),
        ({"decoder.net.bias": np.ones(D)}, "decoder.net.bias in float64 for float32"),
    ],
    ids=["missing", "extra", "misshapen", "transposed", "digits"],
)
def test_wrong_weights_are_refused(change, match):
    vae = VARIANTS["LinearVAE"](jnp.float32)
    weights = vae.get_weights(params_of("LinearVAE", jnp.float32)) | change
    with pytest.raises(ValueError, match=rf"for `weights`; got {match}$"):
        vae.set_weights({key: weight for key, weight in weights.items() if weight is not None})


def test_a_users_own_modules_fit():
    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2 * H)(nn.tanh(nn.Dense(8)(x)))

    def laplace_prior():
        return dist.Laplace(jnp.zeros(H), 1.0).to_event(1)

    decoder = NormalDecoder(nn.Dense(D), initial_log_variance=-2.0)
    vae, x = VAE(laplace_prior, NormalEncoder(Network()), decoder, (D,)), batch()
    params = init(vae)
    assert params["decoder.log_variance"] == -2
    _, grads = loss_and_grads(vae, x)(params)
    assert len(jax.tree.leaves(grads)) == 7
    assert all(np.abs(grad).max() > 0 for grad in jax.tree.leaves(grads))
    model = substitute(vae.model, {**params, "z": jnp.zeros((B, H))})
    log_joint, _ = log_density(model, (x,), {}, {})
    expected = vae.decode(params, jnp.zeros((B, H))).log_prob(x).sum() - B * H * np.log(2)
    assert log_joint.item() == pytest.approx(expected.item(), rel=IDENTITY)


def test_the_linear_encoders_variance_does_not_depend_on_x():
    vae = VARIANTS["LinearVAE"]()
    assert vae.encode(params_of("LinearVAE"), batch()).base_dist.scale.shape in {(H,), (1, H)}


BAD = {
    "features": (jnp.zeros((B, D + 1)), ValueError, r"\(B, 6\) for `x`; got shape \(8, 7\)"),
    "no batch": (jnp.zeros(D), ValueError, r"shape \(B, 6\) for `x`"),
    "empty": (jnp.zeros((0, D)), ValueError, "at least one data point for `x`"),
    "integers": (jnp.zeros((B, D), jnp.uint8), TypeError, "floating-point data .*; got uint8"),
    "numpy integers": (np.zeros((B, D), int), TypeError, "floating-point data .*; got int64"),
    "list": ([[0.0] * D] * B, TypeError, "an array for `x`; got list"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("x", "error", "match"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("call", ["model", "guide", "encode"])
def test_bad_data_is_refused(call, x, error, match):
    vae = VARIANTS["VAE1"]()
    encode = partial(vae.encode, params_of("VAE1"))
    function = encode if call == "encode" else seed(getattr(vae, call), KEY)
    with pytest.raises(error, match=match):
        function(x)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("total", [0, -1, B - 1, True, 8.5])
def test_bad_totals_are_refused(total):
    vae = VARIANTS["VAE1"]()
    for call in (vae.model, vae.guide):
        with pytest.raises(ValueError, match="for `total`"):
            seed(call, KEY)(batch(), total=total)


@pytest.mark.usefixtures("unchecked")
def test_a_traced_total_is_refused():
    vae = VARIANTS["LinearVAE"]()
    svi = SVI(vae.model, vae.guide, optax.adam(1e-2), Standard_ELBO())
    state = jax.jit(svi.init)(KEY, batch())
    with pytest.raises(ValueError, match="a positive integer for `total`"):
        jax.jit(svi.update)(state, batch(), total=10 * B)


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf])
def test_encode_refuses_values_that_are_not_finite(value):
    vae, x = VARIANTS["VAE1"](), batch().at[2, 1].set(value)
    with pytest.raises(ValueError, match=r"finite values for `x`; got 1 .* first at \(2, 1\)"):
        vae.encode(params_of("VAE1"), x)


@TABLE
def test_encode_and_decode_pass_through_jit(name):
    vae, x, params = VARIANTS[name](), batch(), params_of(name)
    q, mean = vae.encode(params, x), jax.jit(lambda p, x: vae.encode(p, x).mean)(params, x)
    np.testing.assert_allclose(mean, q.mean, rtol=IDENTITY, atol=IDENTITY)
    p, mean = vae.decode(params, mean), jax.jit(lambda p, z: vae.decode(p, z).mean)(params, mean)
    np.testing.assert_allclose(mean, p.mean, rtol=IDENTITY, atol=IDENTITY)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: VAE1(D, 0), "`latent_dim`"),
        (lambda: VAE1(-1, H), "`data_dim`"),
        (lambda: VAE1(D, H, hidden=(0,)), "`hidden`"),
        (lambda: MLP(2.5, 2), "`in_dim`"),
        (lambda: MLP(2, 2, activation="step"), "`activation`; got step"),
        (lambda: LinearNormalEncoder(0, 2), "`data_dim`"),
        (lambda: seed(NormalEncoder(nn.Dense(3)), KEY)(batch()), r"\(..., 2 H\) for `net`"),
    ],
)
def test_bad_parts_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
