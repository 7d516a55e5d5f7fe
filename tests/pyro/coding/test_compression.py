"""Codes of random models and of trained ones: what comes back, and how long they are."""

import subprocess
import sys

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import pyro_entropy as m
from entropy_core.coding.container import CompressedData
from entropy_core.datasets import digits, mnist_5k
from tests.support import coding
from tests.support.coding import Host, Sizes
from tests.support.helpers import STANDARD_ERRORS

DTYPES = {np.float32: torch.float32, np.float64: torch.float64}


def round_trip(prior, encoder, decoder, sizes, seed, dtype=np.float32, levels=256, **options):
    host = Host(m, DTYPES[dtype])
    vae = coding.make(host, prior, encoder, decoder, sizes, levels)
    params = host.draw(vae, seed, 0.5 + seed % 3)
    x = coding.observations(decoder, sizes, seed, dtype, levels)
    compressed = host.compress(vae, params, x, **options)
    found = host.decompress(vae, params, compressed.code)
    assert found.dtype == x.dtype
    np.testing.assert_array_equal(found, x)
    return compressed.rate


@pytest.mark.parametrize("seed", range(100))
def test_random_models_and_data(seed, unchecked):
    draw = coding.drawn(seed, Sizes(50, 100, 2))
    num_chains = -(-draw[-1].num // 2)
    rate = round_trip(*draw, seed, num_chains=num_chains)
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
        round_trip(*parts, sizes, seed, dtype, levels, num_chains=chains)


@pytest.mark.parametrize("precision", [1, 6, 20])
def test_any_precision_goes_back(precision):
    rate = round_trip("standard", "normal", "bernoulli", Sizes(3, 30, 3), 0, precision=precision)
    assert rate.precision == precision


def trained(decoder, x, latent, hidden, num_epochs):
    """A VAE after a short training."""
    dim = x.shape[1]
    encoder = m.NormalEncoder(m.MLP(dim, 2 * latent, hidden))
    prior = m.StandardNormalPrior(latent)
    vae = m.VAE(prior, encoder, decoder(m.MLP(latent, dim, hidden)), (dim,))
    bound = m.Standard_ELBO()(vae.model, vae.guide)
    optimiser = torch.optim.Adam(vae.parameters(), 3e-3)
    for _ in range(num_epochs):
        for rows in torch.randperm(len(x)).split(100):
            optimiser.zero_grad()
            bound(x[rows]).backward()
            optimiser.step()
    return vae, bound


DECODERS = {
    "binary": m.BernoulliDecoder,
    "levels": lambda net: m.DiscretizedLogisticDecoder(net, num_levels=17),
}


def check_rate(vae, bound, x, **options):
    compressed = m.compress(vae, x, **options)
    rate = compressed.rate
    assert torch.equal(m.decompress(vae, compressed), x)
    assert abs(rate.probability_precision) < 1e-4 * rate.negative_elbo
    assert 0 < rate.rounding / rate.num_chains < 16
    # The floats of the tables and those of the host's densities, on other draws.
    with torch.no_grad():
        draws = np.array([bound(x).item() for _ in range(30)]) / np.log(2)
    difference = rate.negative_elbo - draws.mean()
    assert abs(difference) < STANDARD_ERRORS * draws.std(ddof=1) * 1.02
    return rate


@pytest.mark.parametrize("kind", DECODERS)
def test_a_code_is_as_long_as_the_negative_elbo(kind):
    grey = np.round(digits().train * 16) / 16
    x = torch.tensor(grey if kind == "levels" else (grey > 0.5), dtype=torch.float32)
    vae, bound = trained(DECODERS[kind], x[500:1500], 4, (32,), 2)
    check_rate(vae, bound, x[500:600], num_chains=20)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["binary", "levels"])
def test_a_code_of_mnist_is_as_long_as_the_negative_elbo(kind, unchecked):
    grey = np.random.default_rng(0).permutation(mnist_5k().train)
    x = torch.tensor(grey if kind == "levels" else (grey > 0.5), dtype=torch.float32)
    decoder = {"binary": m.BernoulliDecoder, "levels": m.DiscretizedLogisticDecoder}[kind]
    vae, bound = trained(decoder, x, 10, (200,), 8)
    assert abs(check_rate(vae, bound, x[:1000]).excess) < 1e-3
    rate = check_rate(vae, bound, x[:2000])
    if kind == "binary":
        assert rate.code / rate.negative_elbo < 1.01


@pytest.mark.slow
def test_a_file_of_another_process_is_read(tmp_path):
    model = (
        "import torch, pyro_entropy as m; torch.set_num_threads(1); torch.manual_seed(5); "
        "vae = m.BernoulliVAE(20, 3, hidden=(8,)); x = torch.bernoulli(torch.full((50, 20), 0.3)); "
    )
    path = tmp_path / "code"
    write = f"{model} m.compress(vae, x).save({str(path)!r})"
    subprocess.run([sys.executable, "-c", write], check=True)
    names = {}
    exec(model, names)
    assert torch.equal(m.decompress(names["vae"], path), names["x"])


def bernoulli(dim=6):
    return m.BernoulliVAE(dim, 2, hidden=(4,)), torch.bernoulli(torch.full((9, dim), 0.5))


def test_other_weights_shapes_and_numbers_of_threads_are_refused(monkeypatch):
    vae, x = bernoulli()
    code = m.compress(vae, x)
    assert isinstance(code, CompressedData)
    with pytest.raises(ValueError, match="expected the weights that the code was written with"):
        m.decompress(bernoulli()[0], code)
    with pytest.raises(ValueError, match=r"a VAE of data of shape \(6,\)"):
        m.decompress(bernoulli(7)[0], code)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    with pytest.raises(ValueError, match="got here threads 7 for 1"):
        m.decompress(vae, code)


def test_the_same_weights_in_another_net_are_refused():
    vae, x = bernoulli()
    code = m.compress(vae, x)
    other = m.BernoulliVAE(6, 2, hidden=(4,), activation="tanh")
    other.load_state_dict(vae.state_dict())
    with pytest.raises(ValueError, match="one with these weights and other outputs"):
        m.decompress(other, code)


def test_nothing_changes_by_a_look():
    vae, x = bernoulli()
    vae.train()
    state, before = pyro.get_param_store().get_state(), torch.get_rng_state()
    m.decompress(vae, m.compress(vae, x))
    assert vae.training
    assert torch.equal(torch.get_rng_state(), before)
    assert pyro.get_param_store().get_state() == state


class Cauchy(nn.Module):
    """Returns a distribution that has no code."""

    def forward(self, x):
        return dist.Cauchy(torch.zeros(len(x), 2), torch.ones(2)).to_event(1)


class Masked(nn.Module):
    """Hides elements from the density."""

    def forward(self, z):
        return dist.Bernoulli(logits=torch.zeros(len(z), 6)).mask(False).to_event(1)


class Lower(dist.Normal):
    """A subclass with another density."""

    def log_prob(self, value):
        return super().log_prob(value) - 1


class LowerEncoder(nn.Module):
    """Encodes by it."""

    def forward(self, x):
        return Lower(torch.zeros(len(x), 2), torch.ones(len(x), 2)).to_event(1)


@pytest.mark.parametrize(
    ("part", "make", "got"),
    [
        ("decoder", lambda: m.NormalDecoder(m.MLP(2, 6)), "Normal"),
        ("decoder", lambda: m.GammaDecoder(m.MLP(2, 6)), "Gamma"),
        ("decoder", Masked, "MaskedDistribution"),
        ("encoder", Cauchy, "Cauchy"),
        ("encoder", LowerEncoder, "Lower"),
    ],
)
def test_parts_without_a_code_are_refused(part, make, got):
    vae, x = bernoulli()
    parts = {"prior": vae.prior, "encoder": vae.encoder, "decoder": vae.decoder, part: make()}
    with pytest.raises(TypeError, match=f"distribution.* for `{part}`; got {got}"):
        m.compress(m.VAE(**parts, data_shape=(6,)), x)


def test_data_that_a_code_cannot_hold_are_refused():
    vae, x = bernoulli()
    with pytest.raises(ValueError, match="values in 0 and 1 for `data`"):
        m.compress(vae, x / 2)
    with pytest.raises(ValueError, match="at least one data point"):
        m.compress(vae, x[:0])
    with pytest.raises(TypeError, match=r"expected float16, float32 or float64 for `data`"):
        m.compress(vae.bfloat16(), x.bfloat16())


def test_parts_that_do_not_fit_are_refused():
    vae, x = bernoulli()
    wide = m.VAE(vae.prior, vae.encoder, m.BernoulliDecoder(m.MLP(2, 7)))
    with pytest.raises(ValueError, match=r"event shape \(6,\) for `decoder`"):
        m.compress(wide, x)
    other = m.VAE(m.StandardNormalPrior(3), vae.encoder, m.BernoulliDecoder(m.MLP(3, 6)))
    with pytest.raises(ValueError, match=r"prior's shape \(3,\) for `encoder`; got shape \(2,\)"):
        m.compress(other, x)


def test_a_net_that_returns_nan_is_named():
    vae, x = bernoulli()
    with torch.no_grad():
        vae.encoder.net.layer_0.bias.fill_(torch.nan)
    with pyro.validation_enabled(False), pytest.raises(ValueError, match="for `encoder`"):
        m.compress(vae, x)
