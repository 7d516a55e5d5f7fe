"""Variances in closed form: right after, the residuals of their sites are zero."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

import pyro_entropy
from pyro_entropy import EntropySumDiagnostic, clear_state, closed_form_variances
from tests.support.helpers import IDENTITY, data, normal_entropy

N, D, H = 50, 4, 2
X = torch.tensor(data(N, D))


def residuals(model, guide, x, **options):
    """The residuals on the pass that has set the variances."""
    state = torch.get_rng_state()
    found = closed_form_variances(model, guide, x, batch_size=30, **options)
    torch.set_rng_state(state)
    report = EntropySumDiagnostic(model, guide, **{"num_particles": 1, **options}).run(
        x, batch_size=30
    )
    sites = report.sites()
    return found, dict(sites[sites["role"] != "encoder"].set_index("site_name")["residual"])


def linear(out):
    return nn.Linear(H, out, dtype=torch.float64)


def diagonal():
    decoder = pyro_entropy.DiagonalNormalDecoder(linear(D), D, dtype=torch.float64)
    net = nn.Linear(D, 2 * H, dtype=torch.float64)
    prior = pyro_entropy.StandardNormalPrior(H, dtype=torch.float64)
    return pyro_entropy.VAE(prior, pyro_entropy.NormalEncoder(net), decoder, (D,))


VAES = {
    "VAE1": (lambda: pyro_entropy.VAE1(D, H, dtype=torch.float64), {"x"}),
    "VAE2": (lambda: pyro_entropy.VAE2(D, H, dtype=torch.float64), {"z", "x"}),
    "full covariance": (lambda: pyro_entropy.SigmaVAE(D, H, dtype=torch.float64), {"x"}),
    "diagonal": (diagonal, {"x"}),
}


@pytest.mark.parametrize("name", VAES)
def test_the_residual_is_zero_on_the_same_pass(name):
    make, wanted = VAES[name]
    vae = make()
    found, left = residuals(vae.model, vae.guide, X, num_particles=2)
    assert {site for sites in found.sites.values() for site in sites} == wanted
    for site, residual in left.items():
        assert (abs(residual) < IDENTITY) == (site in wanted)
    for param in found.params.values():
        assert any(param is p for p in vae.parameters())


def test_a_prior_has_the_moments_of_the_guide():
    vae = pyro_entropy.VAE2(D, H, dtype=torch.float64)
    closed_form_variances(vae.model, vae.guide, X)
    q = vae.encode(X)
    moments = (q.mean**2 + q.variance).mean(0)
    assert torch.allclose(vae.prior().variance, moments, rtol=1e-12)


def masked(decoder, shown, *, rows=None):
    """A model of which a mask hides elements, and a handler rows."""

    def model(x):
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(H), 1.0).to_event(1))
            hides = dist.Normal(decoder(z).mean, decoder(z).stddev).mask(shown[: len(x)])
            with poutine.mask(mask=torch.tensor(True) if rows is None else rows[: len(x)]):
                pyro.sample("x", hides.to_event(1), obs=torch.where(shown[: len(x)], x, 1e6))

    return model


def guide(x):
    with pyro.plate("data", len(x)):
        loc = x[:, :H] * pyro.param("units", x.new_ones(()))
        pyro.sample("z", dist.Normal(loc, 0.5).to_event(1))


def test_hidden_elements_do_not_count():
    decoder = pyro_entropy.DiagonalNormalDecoder(linear(D), D, dtype=torch.float64)
    shown = torch.tensor(data(N, D, 1) > -0.5)
    # One dimension is never seen: its variance stays.
    shown[:, 3] = False
    rows = torch.arange(N) < 20
    model = masked(decoder, shown, rows=rows)
    closed_form_variances(model, guide, X, batch_size=N)
    assert decoder.log_variance[3] == 0
    assert (decoder.log_variance[:3] != 0).all()
    pyro.set_rng_seed(0)
    found, left = residuals(model, guide, X[:30])
    assert found.sites == {"decoder$$$log_variance": ("x",)}
    assert abs(left["x"]) < IDENTITY
    # The same as without what is hidden, by hand.
    z = poutine.trace(guide).get_trace
    pyro.set_rng_seed(0)
    draws = z(X[:30]).nodes["z"]["value"]
    seen = shown[:30] & rows[:30, None]
    squares = torch.where(seen, (X[:30] - decoder(draws).mean) ** 2, 0.0)
    wanted = squares.sum(0)[:3] / seen.sum(0)[:3]
    assert torch.allclose(decoder.log_variance.exp()[:3], wanted, rtol=1e-10)


def two(x, y_scale=1.0):
    """Two sites with one decoder, whose variance they share."""
    decoder = SHARED
    pyro.module("decoder", decoder)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(H), 1.0).to_event(1))
        w = pyro.sample("w", dist.Normal(x.new_zeros(H), 1.0).to_event(1))
        pyro.sample("x", decoder(z), obs=x)
        y = decoder(w)
        pyro.sample("y", dist.Normal(y.mean, y_scale * y.stddev).to_event(1), obs=2 * x)


SHARED = pyro_entropy.NormalDecoder(linear(D), dtype=torch.float64)


def two_guide(x):
    with pyro.plate("data", len(x)):
        loc = x[:, :H] * pyro.param("units", x.new_ones(()))
        pyro.sample("z", dist.Normal(loc, 0.5).to_event(1))
        pyro.sample("w", dist.Normal(-loc, 0.3).to_event(1))


def test_sites_that_share_a_variance():
    found, left = residuals(two, two_guide, X)
    assert found.sites == {"decoder$$$log_variance": ("x", "y")}
    assert abs(left["x"] + left["y"]) < IDENTITY
    assert abs(left["x"]) > 1e-3
    # What the variance does besides has no closed form of this kind.
    with pytest.raises(ValueError, match="log-variance of a normal site"):
        closed_form_variances(lambda x: two(x, 2.0), two_guide, X)


def steps(optim, vae, num=3):
    svi = pyro.infer.SVI(vae.model, vae.guide, optim, pyro_entropy.Standard_ELBO())
    for _ in range(num):
        svi.step(X)


@pytest.mark.parametrize(
    ("optim", "key"),
    [
        (lambda: pyro.optim.Adam({"lr": 0.01}), "exp_avg"),
        (lambda: pyro.optim.ClippedAdam({"lr": 0.01}), "exp_avg"),
        (lambda: pyro.optim.AdagradRMSProp({"eta": 0.01}), "sum"),
        (
            lambda: pyro.optim.ExponentialLR(
                {"optimizer": torch.optim.Adagrad, "optim_args": {"lr": 0.1}, "gamma": 0.9}
            ),
            "sum",
        ),
    ],
    ids=["Adam", "ClippedAdam", "AdagradRMSProp", "a schedule of Adagrad"],
)
def test_an_optimiser_of_pyro_forgets_these_alone(optim, key):
    vae, optim = pyro_entropy.VAE1(D, H, dtype=torch.float64), optim()
    steps(optim, vae)

    def state(param):
        held = optim.optim_objs[param]
        return getattr(held, "optimizer", held).state.get(param, {})

    before = {name: state(p)[key].clone() for name, p in vae.named_parameters()}
    found = closed_form_variances(vae.model, vae.guide, X)
    clear_state(optim, found)
    for name, p in vae.named_parameters():
        if name.endswith("log_variance"):
            assert before[name].abs().max() > 0
            assert not state(p) or (state(p)[key] == 0).all()
        else:
            assert torch.equal(state(p)[key], before[name])
    before = {name: p.clone() for name, p in vae.named_parameters()}
    steps(optim, vae, 1)
    assert all(not torch.equal(p, before[name]) for name, p in vae.named_parameters())


def test_an_optimiser_of_torch_forgets_these_alone():
    vae = pyro_entropy.VAE1(D, H, dtype=torch.float64)
    loss = pyro_entropy.Standard_ELBO()(vae.model, vae.guide)
    optim = torch.optim.Adam(loss.parameters(), lr=0.01)
    loss(X).backward()
    optim.step()
    num = len(optim.state)
    found = closed_form_variances(vae.model, vae.guide, X)
    clear_state(optim, found)
    clear_state(optim, found)
    assert len(optim.state) == num - 1
    assert vae.decoder.log_variance not in optim.state
    lbfgs = torch.optim.LBFGS(loss.parameters())
    lbfgs.step(lambda: _closure(lbfgs, loss))
    clear_state(lbfgs, found)
    assert not lbfgs.state
    with pytest.raises(TypeError, match="`optim`"):
        clear_state(object(), found)


def _closure(optim, loss):
    optim.zero_grad()
    value = loss(X)
    value.backward()
    return value


def test_bad_input_is_refused():
    vae = pyro_entropy.VAE1(D, H, dtype=torch.float64)
    with pytest.raises(ValueError, match="`num_particles`"):
        closed_form_variances(vae.model, vae.guide, X, num_particles=0)
    with pytest.raises(ValueError, match="finite values"):
        closed_form_variances(vae.model, vae.guide, X * np.nan)
    fixed = pyro_entropy.VAE0(D, H, dtype=torch.float64)
    with pytest.raises(ValueError, match="log-variance of a normal site"):
        closed_form_variances(fixed.model, fixed.guide, X)
    with torch.no_grad():
        for p in vae.parameters():
            p.zero_()
    # All data are where the decoder has them.
    with pytest.raises(ValueError, match="positive variances"):
        closed_form_variances(vae.model, vae.guide, torch.zeros_like(X))
    assert vae.decoder.log_variance == 0

    def classes(x):
        with pyro.plate("data", len(x)):
            every = {"enumerate": "parallel"}
            c = pyro.sample("c", dist.Categorical(torch.ones(2)), infer=every)
            pyro.sample("x", dist.Normal(c[..., None] * x.new_ones(D), 1.0).to_event(1), obs=x)

    with pytest.raises(NotImplementedError, match="no enumerated sites"):
        closed_form_variances(classes, lambda x: None, X)


def test_the_entropy_of_the_decoder_is_that_of_the_errors():
    vae = diagonal()
    state = torch.get_rng_state()
    closed_form_variances(vae.model, vae.guide, X)
    torch.set_rng_state(state)
    z = poutine.trace(vae.guide).get_trace(X).nodes["z"]["value"]
    errors = ((X - vae.decode(z).mean) ** 2).mean(0)
    report = EntropySumDiagnostic(vae.model, vae.guide, num_particles=1)
    assert report.run(X)["decoder_entropy"] == pytest.approx(
        normal_entropy(errors.detach(), 0), abs=1e-10
    )
