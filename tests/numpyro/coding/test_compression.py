"""Codes of random models and of trained ones: what comes back, and how long they are."""

import subprocess
import sys
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
import pytest
from jax import random

import numpyro_entropy as m
from entropy_core.datasets import mnist_5k
from tests.support import coding
from tests.support.coding import Host, Sizes
from tests.support.helpers import STANDARD_ERRORS

HOST = Host(m, jnp.float64)
# One batch shape, so that few programs are compiled.
FEW = Sizes(6, 12, 3)
# Each prior, encoder and decoder at least once.
COMBINATIONS = [
    ("standard", "normal", "bernoulli"),
    ("learned", "linear", "poisson"),
    ("floating", "full", "categorical"),
    ("mixture", "constant", "logistic"),
    ("full mixture", "full", "normal"),
    ("vamp", "normal", "bernoulli"),
]


@cache
def model(prior, encoder, decoder):
    return coding.make(HOST, prior, encoder, decoder, FEW)


def round_trip(host, vae, decoder, sizes, seed, dtype, levels=256, **options):
    params = host.draw(vae, seed, 0.5 + seed % 3)
    x = coding.observations(decoder, sizes, seed, dtype, levels)
    compressed = host.compress(vae, params, x, **options)
    found = host.decompress(vae, params, compressed.code)
    assert found.dtype == x.dtype
    np.testing.assert_array_equal(found, x)
    return compressed.rate


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("parts", COMBINATIONS)
def test_random_models_and_data(parts, seed, unchecked):
    vae = model(*parts)
    rate = round_trip(HOST, vae, parts[-1], FEW, seed, np.float64, num_chains=4)
    # A decision costs 24 bits at most: what is very improbable may cost less than it should.
    assert rate.probability_precision < 0.01 * (rate.exact_data + rate.exact_latents)
    assert -1 < rate.rounding / rate.num_chains < 16


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_a_thousand_random_models_and_data(block, unchecked):
    for seed in range(50 * block, 50 * (block + 1)):
        *parts, sizes = coding.drawn(1000 + seed, Sizes(2000, 784, 20))
        rng = np.random.default_rng(seed)
        dtype = [np.float32, np.float64][seed % 2]
        chains = [None, int(rng.integers(1, 40) + sizes.num // 50)][seed // 2 % 2]
        levels = int(rng.choice([2, 5, 256]))
        host = Host(m, jnp.dtype(dtype))
        vae = coding.make(host, *parts, sizes, levels)
        round_trip(host, vae, parts[-1], sizes, seed, dtype, levels, num_chains=chains)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["binary", "levels"])
def test_a_code_of_mnist_is_as_long_as_the_negative_elbo(kind, unchecked):
    grey = np.random.default_rng(0).permutation(mnist_5k().train)
    x = grey if kind == "levels" else (grey > 0.5).astype(np.float32)
    decoder = {"binary": m.BernoulliDecoder, "levels": m.DiscretizedLogisticDecoder}[kind]
    options = {} if kind == "binary" else {"dtype": jnp.float32}
    vae = m.VAE(
        m.StandardNormalPrior(10, dtype=jnp.float32),
        m.NormalEncoder(m.MLP(784, 20, (200,), dtype=jnp.float32)),
        decoder(m.MLP(10, 784, (200,), dtype=jnp.float32), **options),
        (784,),
    )
    result = m.fit(
        random.key(0),
        vae.model,
        vae.guide,
        x,
        optim=optax.adam(1e-3),
        num_epochs=2,
        batch_size=100,
        diagnose_every=2,
        progress_bar=False,
    )
    params, bound = result.params, m.Standard_ELBO(closed_form=False)
    compressed = m.compress(vae, params, x[:1000])
    np.testing.assert_array_equal(m.decompress(vae, params, compressed), x[:1000])
    rate = compressed.rate
    assert abs(rate.excess) < 1e-3
    keys = random.split(random.key(1), 30)
    loss = jax.jit(lambda key: bound.loss(key, params, vae.model, vae.guide, x[:1000]))
    draws = np.array([loss(key) for key in keys]) / np.log(2)
    difference = rate.negative_elbo - draws.mean()
    assert abs(difference) < STANDARD_ERRORS * draws.std(ddof=1) * 1.02


@pytest.mark.slow
def test_a_file_of_another_process_is_read(tmp_path):
    model = (
        "import numpy as np, numpyro_entropy as m; from jax import random; "
        "vae = m.BernoulliVAE(20, 3, hidden=(8,)); params = vae.init(random.key(0)); "
        "x = (np.random.default_rng(0).random((50, 20)) < 0.3) * np.float32(1); "
    )
    write = f"{model} m.compress(vae, params, x).save('code')"
    read = f"{model} assert (m.decompress(vae, params, 'code') == x).all()"
    for code in (write, read):
        subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def bernoulli(seed=0, **options):
    vae = m.BernoulliVAE(FEW.dim, 2, hidden=(4,), **options)
    x = np.random.default_rng(0).integers(0, 2, (9, FEW.dim)).astype(float)
    return vae, vae.init(random.key(seed)), x


def test_other_weights_and_nets_are_refused(monkeypatch):
    vae, params, x = bernoulli()
    code = m.compress(vae, params, x, num_chains=4)
    with pytest.raises(ValueError, match="expected the weights that the code was written with"):
        m.decompress(vae, bernoulli(1)[1], code)
    with pytest.raises(ValueError, match="one with these weights and other outputs"):
        m.decompress(bernoulli(activation="tanh")[0], params, code)
    with pytest.raises(ValueError, match="for `params`; got"):
        m.decompress(vae, {}, code)
    # More parameters than the model's are no other ones.
    more = {**params, "another": jnp.zeros(3)}
    np.testing.assert_array_equal(m.decompress(vae, more, code), x)
    monkeypatch.setattr("os.cpu_count", lambda: 77)
    with pytest.raises(ValueError, match="got here threads 77 for"):
        m.decompress(vae, params, code)


def test_a_code_of_the_other_backend_is_refused():
    import torch

    import pyro_entropy

    vae, params, x = bernoulli()
    other = pyro_entropy.BernoulliVAE(FEW.dim, 2, hidden=(4,), dtype=torch.float64)
    other.set_weights(vae.get_weights(params))
    code = pyro_entropy.compress(other, torch.from_numpy(x), num_chains=4)
    with pytest.raises(ValueError, match="got here backend numpyro for pyro"):
        m.decompress(vae, params, code)


def with_parts(**parts):
    vae = bernoulli()[0]
    kept = {"prior": vae.prior, "encoder": vae.encoder, "decoder": vae.decoder}
    return m.VAE(**{**kept, **parts}, data_shape=(FEW.dim,))


class Lower(dist.Normal):
    """A subclass with another density."""

    def log_prob(self, value):
        return super().log_prob(value) - 1


@pytest.mark.parametrize(
    ("part", "make", "got"),
    [
        ("decoder", lambda: m.NormalDecoder(m.MLP(2, FEW.dim)), "Normal"),
        (
            "decoder",
            lambda: (
                lambda z: (
                    dist.Bernoulli(logits=jnp.zeros((len(z), FEW.dim))).mask(False).to_event(1)
                )
            ),
            "MaskedDistribution",
        ),
        (
            "encoder",
            lambda: lambda x: dist.Cauchy(jnp.zeros((len(x), 2)), 1.0).to_event(1),
            "Cauchy",
        ),
        ("encoder", lambda: lambda x: Lower(jnp.zeros((len(x), 2)), 1.0).to_event(1), "Lower"),
    ],
)
def test_parts_without_a_code_are_refused(part, make, got):
    vae, x = with_parts(**{part: make()}), bernoulli()[2]
    params = vae.init(random.key(0))
    with pytest.raises(TypeError, match=f"distribution.* for `{part}`; got {got}"):
        m.compress(vae, params, x)


def test_data_that_a_code_cannot_hold_are_refused():
    vae, params, x = bernoulli()
    with pytest.raises(ValueError, match="values in 0 and 1 for `data`"):
        m.compress(vae, params, x / 2)
    with pytest.raises(ValueError, match="at least one data point"):
        m.compress(vae, params, x[:0])


def test_parts_that_do_not_fit_are_refused():
    vae, params, x = bernoulli()
    wide = m.VAE(
        vae.prior,
        vae.encoder,
        lambda z: dist.Bernoulli(logits=jnp.zeros((len(z), FEW.dim + 1))).to_event(1),
    )
    with pytest.raises(ValueError, match=r"event shape \(12,\) for `decoder`"):
        m.compress(wide, params, x)
    other = m.VAE(
        m.StandardNormalPrior(3),
        vae.encoder,
        lambda z: dist.Bernoulli(logits=jnp.zeros((len(z), FEW.dim))).to_event(1),
    )
    with pytest.raises(ValueError, match=r"prior's shape \(3,\) for `encoder`; got shape \(2,\)"):
        m.compress(other, params, x)


def test_a_net_that_returns_nan_is_named():
    vae, params, x = bernoulli()
    bad = jax.tree.map(lambda a: jnp.full_like(a, jnp.nan), params)
    with pytest.raises(ValueError, match=r"finite values for `(en|de)coder`"):
        m.compress(vae, bad, x)
