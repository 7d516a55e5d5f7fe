"""`Standard_ELBO` is a drop-in for the host's objectives, by every route into Pyro's SVI."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from torch.testing import assert_close

from pyro_entropy import VAE1, LinearVAE, Standard_ELBO
from tests.pyro.models import USER_MODELS
from tests.support.helpers import DROP_IN, HIDDEN, IDENTITY, B, D, H, data, normal_entropy

X = torch.tensor(data())
VAES = {
    "VAE1": lambda: VAE1(D, H, hidden=HIDDEN, dtype=torch.float64),
    "LinearVAE": lambda: LinearVAE(D, H, dtype=torch.float64),
}
HOSTS = [
    pytest.param(Standard_ELBO, TraceMeanField_ELBO, id="closed"),
    pytest.param(lambda **kw: Standard_ELBO(closed_form=False, **kw), Trace_ELBO, id="sampled"),
]
PARTICLES = [
    pytest.param({"num_particles": 1}, id="1"),
    pytest.param({"num_particles": 3}, id="3"),
    pytest.param(
        {"num_particles": 3, "vectorize_particles": True, "max_plate_nesting": 2}, id="3 at once"
    ),
]


def make(name):
    if name in USER_MODELS:
        return USER_MODELS[name]
    vae = VAES[name]()
    return vae.model, vae.guide


def number(loss):
    return loss.item() if isinstance(loss, torch.Tensor) else loss


def loss_and_grads(elbo, model, guide):
    """The value and the gradient of each parameter, on the same draws every time."""
    pyro.set_rng_seed(1)
    model(X), guide(X)  # the parameters exist
    parameters = dict(pyro.get_param_store().named_parameters())
    for parameter in parameters.values():
        parameter.grad = None
    pyro.set_rng_seed(2)
    value = elbo.loss_and_grads(model, guide, X)
    return value, {name: p.grad.clone() for name, p in parameters.items()}


@pytest.mark.parametrize("particles", PARTICLES)
@pytest.mark.parametrize(("ours", "host"), HOSTS)
@pytest.mark.parametrize("name", [*VAES, *USER_MODELS])
def test_equals_the_host(name, ours, host, particles):
    if name == "subsampled plate" and "vectorize_particles" in particles:
        particles = {**particles, "max_plate_nesting": 1}
    model, guide = make(name)
    value, grads = loss_and_grads(ours(**particles), model, guide)
    host_value, host_grads = loss_and_grads(host(**particles), model, guide)
    assert value == pytest.approx(host_value, rel=DROP_IN)
    assert grads.keys() == host_grads.keys()
    for key, grad in grads.items():
        assert grad.abs().max() > 0
        assert_close(grad, host_grads[key], rtol=DROP_IN, atol=DROP_IN * grad.abs().max().item())


@pytest.mark.parametrize("name", [*VAES, *USER_MODELS])
def test_loss_is_that_of_loss_and_grads_and_differentiable_loss(name):
    model, guide = make(name)
    elbo = Standard_ELBO(num_particles=2)
    value, _ = loss_and_grads(elbo, model, guide)
    for loss in (elbo.loss, elbo.differentiable_loss):
        pyro.set_rng_seed(2)
        assert number(loss(model, guide, X)) == pytest.approx(value, rel=IDENTITY)


def trained(step, num_steps=5):
    pyro.set_rng_seed(3)
    return [number(step()) for _ in range(num_steps)]


@pytest.mark.parametrize("name", VAES)
def test_svi_step_trains_as_with_the_host(name):
    losses = {}
    for elbo in (Standard_ELBO(), TraceMeanField_ELBO()):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        model, guide = make(name)
        svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-2}), elbo)
        losses[type(elbo)] = trained(lambda svi=svi: svi.step(X, total=100))
    assert losses[Standard_ELBO] == pytest.approx(losses[TraceMeanField_ELBO], rel=DROP_IN)


@pytest.mark.parametrize("name", VAES)
def test_elbo_module_trains_with_a_torch_optimiser(name):
    losses = {}
    for elbo in (Standard_ELBO(), TraceMeanField_ELBO()):
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        module = elbo(*make(name))
        optim = torch.optim.Adam(module.parameters(), lr=1e-2)

        def step(module=module, optim=optim):
            optim.zero_grad()
            loss = module(X)
            loss.backward()
            optim.step()
            return loss

        before = [p.detach().clone() for p in module.parameters()]
        losses[type(elbo)] = trained(step)
        assert all((p != q).any() for p, q in zip(module.parameters(), before, strict=True))
    assert losses[Standard_ELBO] == pytest.approx(losses[TraceMeanField_ELBO], rel=DROP_IN)


def test_total_scales_the_loss_and_leaves_the_terms():
    model, guide = make("VAE1")
    elbo = Standard_ELBO()
    results = []
    for total in (None, 10 * B):
        pyro.set_rng_seed(0)
        loss = elbo.loss(model, guide, X, total=total)
        pyro.set_rng_seed(0)
        results.append((loss, elbo.terms(model, guide, X, total=total)))
    (loss, terms), (scaled_loss, scaled_terms) = results
    assert scaled_loss == pytest.approx(10 * loss, rel=IDENTITY)
    assert_close(scaled_terms.elbo, terms.elbo, rtol=IDENTITY, atol=0)
    assert loss == pytest.approx(-B * terms.elbo.item(), rel=IDENTITY)


def test_a_scale_handler_is_part_of_the_loss_and_not_of_the_terms():
    model, guide = make("VAE1")
    scaled = [pyro.poutine.scale(fn, scale=0.1) for fn in (model, guide)]
    elbo, results = Standard_ELBO(), []
    for pair in ((model, guide), scaled):
        pyro.set_rng_seed(0)
        loss = elbo.loss(*pair, X)
        pyro.set_rng_seed(0)
        results.append((loss, elbo.terms(*pair, X).elbo))
    (loss, term), (scaled_loss, scaled_term) = results
    assert scaled_loss == pytest.approx(0.1 * loss, rel=IDENTITY)
    assert_close(scaled_term, term, rtol=IDENTITY, atol=0)


@pytest.mark.parametrize("masked", ["model", "both"])
def test_masks_where_the_host_is_right(masked):
    mask = torch.arange(B) < B // 2

    def model(x):
        with pyro.plate("data", B), pyro.poutine.mask(mask=mask):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x[:, 0])

    def guide(x):
        loc = pyro.param("loc", x.new_tensor(0.3))
        with pyro.plate("data", B), pyro.poutine.mask(mask=mask if masked == "both" else True):
            pyro.sample("z", dist.Normal(loc, 0.5))

    # Where only the model masks, the host puts the guide's mask on the KL: its Trace_ELBO is right.
    host = TraceMeanField_ELBO() if masked == "both" else Trace_ELBO()
    ours = Standard_ELBO(closed_form=masked == "both")
    assert loss_and_grads(ours, model, guide)[0] == pytest.approx(
        loss_and_grads(host, model, guide)[0], rel=IDENTITY
    )
    with torch.no_grad():
        terms = Standard_ELBO().terms(model, guide, X)
    # Half of the rows are there.
    unit, encoder = normal_entropy(1.0) / 2, normal_entropy(0.25)
    expected = encoder / 2 if masked == "both" else encoder, unit, unit
    assert terms[3:6] == pytest.approx(expected, rel=IDENTITY)


def test_a_guide_in_another_order_than_the_model_is_sampled_where_it_must():
    def model(x):
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.Normal(x.new_zeros(()), 1.0))
            b = pyro.sample("b", dist.Normal(a, 1.0))
            pyro.sample("x", dist.Normal(b, 1.0), obs=x[:, 0])

    def guide(x):
        with pyro.plate("data", len(x)):
            b = pyro.sample("b", dist.Normal(x[:, 0], 0.5))
            pyro.sample("a", dist.Normal(0.5 * b, 0.5))

    elbo = Standard_ELBO(num_particles=4000, vectorize_particles=True, max_plate_nesting=1)
    host = Trace_ELBO(num_particles=4000, vectorize_particles=True, max_plate_nesting=1)
    x = X[:, :1]
    pyro.set_rng_seed(0)
    # 4,000 draws for each of 8 points: the standard error is below 0.05 nat.
    assert elbo.loss(model, guide, x) == pytest.approx(host.loss(model, guide, x), abs=0.3)


def test_a_guide_without_the_models_site_is_refused():
    vae = VAES["VAE1"]()

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("w", dist.Normal(x.new_zeros(()), 1.0), infer={"is_auxiliary": True})

    for call in (Standard_ELBO().loss, Standard_ELBO().terms):
        with (
            pytest.warns(UserWarning, match="in model but not guide"),
            pytest.raises(ValueError, match=r"expected a sample site 'z' for `guide`; got .*'w'"),
        ):
            call(vae.model, guide, X)


def test_a_guide_without_reparameterised_draws_is_refused():
    def model(x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Bernoulli(x.new_tensor(0.5)))
            pyro.sample("x", dist.Normal(k, 1.0), obs=x[:, 0])

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Bernoulli(x.new_tensor(0.3)))

    with pytest.raises(
        NotImplementedError, match="reparameterised draws for `guide`; got site 'k'"
    ):
        Standard_ELBO().loss(model, guide, X)
