"""Independence of copies; weights; a user's own parts; bad input."""

import copy
import pickle

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import SVI
from torch import nn

import pyro_entropy
from pyro_entropy import (
    MLP,
    VAE,
    VAE1,
    LinearNormalEncoder,
    LinearVAE,
    NormalDecoder,
    NormalEncoder,
    Standard_ELBO,
    StandardNormalPrior,
)
from tests.support.cases import CASES
from tests.support.helpers import HIDDEN, B, D, H, data

VARIANTS = {
    "VAE1": lambda: VAE1(D, H, hidden=HIDDEN),
    "LinearVAE": lambda: LinearVAE(D, H),
    "VampPrior": lambda: CASES["VampPrior"].make(pyro_entropy, torch.float32),
}
TABLE = pytest.mark.parametrize("name", VARIANTS)


def batch(dtype=torch.float32):
    return torch.tensor(data(), dtype=dtype)


def step(vae, x):
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-2}), Standard_ELBO())
    return svi.step(x)


def moved(vae, others, x):
    """How many parameters of each VAE a training step of the first one moves."""
    before = [[p.detach().clone() for p in v.parameters()] for v in (vae, *others)]
    step(vae, x)
    return [
        sum(not torch.equal(p, q) for p, q in zip(v.parameters(), old, strict=True))
        for v, old in zip((vae, *others), before, strict=True)
    ]


@TABLE
def test_vaes_and_their_copies_train_independently(name):
    x, first = batch(), VARIANTS[name]()
    second, all_of_them = VARIANTS[name](), len(list(first.parameters()))
    step(first, x)
    copied, unpickled = copy.deepcopy(first), pickle.loads(pickle.dumps(first))
    vaes = [first, second, copied, unpickled]
    assert copied.state_dict().keys() == first.state_dict().keys()
    for vae in vaes:
        others = [other for other in vaes if other is not vae]
        assert moved(vae, others, x) == [all_of_them, 0, 0, 0]


def test_wrong_weights_change_nothing():
    vae, x = VARIANTS["VAE1"](), batch()
    before, weights = vae.encode(x).mean, vae.get_weights()
    weights["encoder.net.layer_0.bias"] = weights["encoder.net.layer_0.bias"] + 1
    del weights["decoder.log_variance"]
    with pytest.raises(ValueError, match=r"for `weights`; got no decoder\.log_variance"):
        vae.set_weights(weights)
    assert torch.equal(vae.encode(x).mean, before)


def test_weights_are_a_snapshot():
    vae, x = VARIANTS["VAE1"](), batch()
    before, snapshot = vae.encode(x).mean, vae.get_weights()
    step(vae, x)
    assert not torch.equal(vae.encode(x).mean, before)
    assert torch.equal(vae.set_weights(snapshot).encode(x).mean, before)


def test_copies_of_model_and_guide_alone_train():
    vae, x = VARIANTS["VAE1"](), batch()
    step(vae, x)
    model, guide = copy.deepcopy(vae.model), copy.deepcopy(vae.guide)
    before = [p.detach().clone() for m in (model, guide) for p in m.parameters()]
    SVI(model, guide, pyro.optim.Adam({"lr": 1e-2}), Standard_ELBO()).step(x)
    after = [p for m in (model, guide) for p in m.parameters()]
    assert not any(torch.equal(p, q) for p, q in zip(after, before, strict=True))


def test_moves_to_another_float_type():
    vae = VARIANTS["VAE1"]().to(torch.float64)
    assert vae.prior().mean.dtype == torch.float64
    assert step(vae, batch(torch.float64)) > 0


def test_a_users_own_modules_fit():
    encoder = NormalEncoder(nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, 2 * H)))
    decoder = NormalDecoder(nn.Linear(H, D), initial_log_variance=-2.0)
    vae = VAE(StandardNormalPrior(H), encoder, decoder)
    assert vae.decoder.log_variance.item() == -2
    assert vae.model.prior is vae.prior
    assert moved(vae, [], batch()) == [len(list(vae.parameters()))]


def test_the_linear_encoders_variance_does_not_depend_on_x():
    assert VARIANTS["LinearVAE"]().encode(batch()).base_dist.scale.stride(0) == 0


BAD = {
    "features": (torch.zeros(B, D + 1), ValueError, r"shape \(B, 6\) for `x`; got shape \(8, 7\)"),
    "no batch": (torch.zeros(D), ValueError, r"shape \(B, 6\) for `x`"),
    "empty": (torch.zeros(0, D), ValueError, "at least one data point for `x`"),
    "integers": (torch.zeros(B, D, dtype=torch.uint8), TypeError, "for `x`; got torch.uint8"),
    "float type": (torch.zeros(B, D, dtype=torch.float64), TypeError, "torch.float32 data for `x`"),
    "numpy": (np.zeros((B, D), np.float32), TypeError, "torch.Tensor for `x`; got ndarray"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("x", "error", "match"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("call", ["model", "guide", "encode"])
def test_bad_data_is_refused(call, x, error, match):
    with pytest.raises(error, match=match):
        getattr(VARIANTS["VAE1"](), call)(x)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("total", [0, -1, B - 1, True, 8.5])
def test_bad_totals_are_refused(total):
    vae = VARIANTS["VAE1"]()
    for call in (vae.model, vae.guide):
        with pytest.raises(ValueError, match="for `total`"):
            call(batch(), total=total)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_encode_refuses_values_that_are_not_finite(value):
    x = batch()
    x[2, 1] = value
    with pytest.raises(ValueError, match=r"finite values for `x`; got 1 .* first at \(2, 1\)"):
        VARIANTS["VAE1"]().encode(x)


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
        (lambda: NormalEncoder(nn.Linear(D, 3))(batch()), r"\(..., 2 H\) for `net`"),
    ],
)
def test_bad_parts_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
