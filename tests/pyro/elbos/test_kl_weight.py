"""A weight of the KL divergence, and free bits, beside numbers made by hand."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from numpy.testing import assert_allclose
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from torch.distributions import constraints
from torch.fx.experimental.proxy_tensor import make_fx

from entropy_core.training import linear_annealing
from pyro_entropy import IWAE_ELBO, VAE1, EntropySumDiagnostic, Standard_ELBO, fit
from pyro_entropy.vaes.data import data_plate
from tests.support.helpers import DROP_IN, HIDDEN, IDENTITY, B, D, H, data
from tests.support.kl_weight import FLAT, HALF_A_BIT, KL, LOC, SCALE, X

XT = torch.tensor(X)
TOTAL = 10 * B


def make(weights=(0.0, 1.0, -1.0), factors=()):
    """A pair whose data depends on the latents by `weights`."""
    weights = torch.tensor(weights, dtype=torch.float64)

    def model(x, total=None):
        for name in set(factors) & {"model"}:
            pyro.factor(name, torch.tensor(3.0))
        with data_plate(x, total):
            prior = dist.Normal(torch.zeros(H, dtype=x.dtype), 1.0)
            z = pyro.sample("z", prior.to_event(1))
            pyro.sample("x", dist.Normal(z @ weights, 1.0), obs=x)

    def guide(x, total=None):
        loc = pyro.param("loc", lambda: torch.tensor(LOC))
        scale = pyro.param("scale", lambda: torch.tensor(SCALE), constraint=constraints.positive)
        for name in set(factors) & {"guide"}:
            pyro.factor(name, torch.tensor(2.0), has_rsample=True)
        with data_plate(x, total):
            pyro.sample("z", dist.Normal(loc, scale).to_event(1))

    return model, guide


def seeded(call, *args, **kwargs):
    pyro.set_rng_seed(2)
    value = call(*args, **kwargs)
    return value.item() if isinstance(value, torch.Tensor) else value


def gradients(elbo, model, guide, **kwargs):
    guide(XT)
    parameters = dict(pyro.get_param_store().named_parameters())
    for parameter in parameters.values():
        parameter.grad = None
    seeded(elbo.loss_and_grads, model, guide, XT, **kwargs)
    return {name: parameter.grad.clone() for name, parameter in parameters.items()}


@pytest.fixture
def vae():
    return VAE1(D, H, hidden=HIDDEN, dtype=torch.float64)


@pytest.mark.parametrize("closed_form", [True, False])
@pytest.mark.parametrize("weight", [None, 1.0, torch.tensor(1.0)], ids=["default", "1", "tensor"])
def test_a_weight_of_one_is_the_hosts_elbo(vae, weight, closed_form):
    x = torch.tensor(data())
    elbo = Standard_ELBO(closed_form=closed_form)
    host = TraceMeanField_ELBO() if closed_form else Trace_ELBO()
    found = seeded(elbo.loss, vae.model, vae.guide, x, total=TOTAL, kl_weight=weight)
    assert found == pytest.approx(
        seeded(host.loss, vae.model, vae.guide, x, total=TOTAL), rel=DROP_IN
    )


@pytest.mark.parametrize("closed_form", [True, False])
def test_the_weight_multiplies_prior_and_encoder(vae, closed_form):
    x = torch.tensor(data())
    elbo = Standard_ELBO(closed_form=closed_form, kl_weight=0.5, num_particles=2)
    terms = seeded(lambda: elbo.terms(vae.model, vae.guide, x))
    divergence = -(terms.prior_term + terms.encoder_entropy).item()
    assert abs(divergence) > 0.01
    by_hand = -TOTAL * (terms.reconstruction_term.item() - 0.5 * divergence)
    found = seeded(elbo.loss_and_grads, vae.model, vae.guide, x, total=TOTAL)
    assert found == pytest.approx(by_hand, rel=IDENTITY)
    # The terms are those of the ELBO.
    plain = Standard_ELBO(closed_form=closed_form, num_particles=2)
    assert seeded(lambda: plain.terms(vae.model, vae.guide, x).elbo) == terms.elbo.item()


@pytest.mark.parametrize(("factor", "value"), [("model", -3.0), ("guide", 0.5 * 2.0)])
def test_a_factor_of_the_guide_has_the_weight_and_one_of_the_model_has_not(factor, value):
    elbo = Standard_ELBO(kl_weight=0.5)
    plain, found = (seeded(elbo.loss, *make(factors=names), XT) for names in ((), (factor,)))
    assert found - plain == pytest.approx(value, rel=IDENTITY)


def test_the_weight_of_one_call_stands_in_for_the_option(vae):
    x, optim = torch.tensor(data()), pyro.optim.SGD({"lr": 0.0})
    pair = vae.model, vae.guide
    fixed, free = Standard_ELBO(kl_weight=0.3), Standard_ELBO(kl_weight=0.9)
    wanted = seeded(fixed.loss, *pair, x)
    assert abs(seeded(free.loss, *pair, x) - wanted) > 0.1
    assert seeded(SVI(*pair, optim, fixed).step, x) == pytest.approx(wanted, rel=IDENTITY)
    assert seeded(fixed(*pair), x) == pytest.approx(wanted, rel=IDENTITY)
    for weight in (0.3, torch.tensor(0.3, dtype=torch.float64), np.float64(0.3)):
        for loss in (free.loss, free.differentiable_loss, free.loss_and_grads):
            found = seeded(loss, *pair, x, kl_weight=weight)
            assert found == pytest.approx(wanted, rel=IDENTITY)
        for call in (SVI(*pair, optim, free).step, free(*pair)):
            assert seeded(call, x, kl_weight=weight) == pytest.approx(wanted, rel=IDENTITY)


@pytest.mark.parametrize("handler_scale", [1.0, 0.1])
@pytest.mark.parametrize("total", [None, TOTAL])
def test_free_bits_by_hand(total, handler_scale):
    model, guide = make()
    scaled = [poutine.scale(fn, scale=handler_scale) for fn in (model, guide)]
    reconstruction = seeded(lambda: Standard_ELBO().terms(model, guide, XT).reconstruction_term)
    num = total or B
    for weight in (1.0, 0.5):
        elbo = Standard_ELBO(free_bits=0.5, kl_weight=weight)
        divergence = HALF_A_BIT + KL[1] + KL[2]
        by_hand = -handler_scale * num * (reconstruction - weight * divergence)
        assert seeded(elbo.loss, *scaled, XT, total=total) == pytest.approx(by_hand, rel=IDENTITY)


def test_free_bits_that_bind_nowhere_are_the_elbo():
    pair = make()
    found = seeded(Standard_ELBO(free_bits=0.9 * KL.min() / np.log(2)).loss, *pair, XT)
    assert found == pytest.approx(seeded(Standard_ELBO().loss, *pair, XT), rel=IDENTITY)


def test_the_gradient_of_a_latent_below_the_floor_is_zero():
    # The data does not depend on that latent, so that its KL is all that it adds.
    pair = make()
    free, plain = (gradients(Standard_ELBO(free_bits=b), *pair, total=TOTAL) for b in (0.5, 0.0))
    # d KL / d loc = loc, scaled as the loss is.
    assert_allclose(plain["loc"][:, 0], TOTAL / B * LOC[:, 0], rtol=IDENTITY)
    for name in ("loc", "scale"):
        assert (free[name][:, 0] == 0).all()
        assert (free[name][:, 1:] != 0).all()
        assert_allclose(free[name][:, 1:], plain[name][:, 1:], rtol=IDENTITY)


def test_a_captured_loss_takes_any_weight():
    pair, elbo = make(), Standard_ELBO(free_bits=0.5)
    pair[1](XT)

    def loss(weight):
        return elbo.differentiable_loss(*pair, XT, kl_weight=weight)

    weights = [torch.tensor(w, dtype=torch.float64) for w in (0.3, 0.8)]
    with pyro.validation_enabled(False):
        captured = make_fx(loss)(weights[0])
        for weight in weights:
            assert seeded(captured, weight) == pytest.approx(seeded(loss, weight), rel=IDENTITY)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf"), "0.5", True, [0.5]])
@pytest.mark.parametrize("name", ["kl_weight", "free_bits"])
def test_bad_options_are_refused(name, bad):
    with pytest.raises(ValueError, match=f"a non-negative finite number for `{name}`; got"):
        Standard_ELBO(**{name: bad})
    if name == "kl_weight":
        with pytest.raises(ValueError, match="a non-negative finite number for `kl_weight`"):
            Standard_ELBO().loss(*make(), XT, kl_weight=bad)


def test_a_weight_with_dimensions_is_refused():
    with pytest.raises(ValueError, match=r"one number for `kl_weight`; got shape \(2,\)"):
        Standard_ELBO().loss(*make(), XT, kl_weight=torch.ones(2))


@pytest.mark.parametrize("option", [{"closed_form": False}, {"vectorize_particles": True}])
def test_free_bits_need_closed_forms_of_single_draws(option):
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"0 with {name}={value} for `free_bits`; got 0.5"):
        Standard_ELBO(free_bits=0.5, **option)


def joint(x):
    with pyro.plate("data", B):
        matrix = torch.eye(H, dtype=x.dtype)
        pyro.sample("z", dist.MultivariateNormal(torch.zeros(H, dtype=x.dtype), matrix))


def auxiliary(x):
    with pyro.plate("data", B):
        pyro.sample("z", dist.Normal(x.new_zeros(H), 0.5).to_event(1))
        pyro.sample("a", dist.Normal(x.new_zeros(()), 1.0), infer={"is_auxiliary": True})


def masked(x):
    with poutine.mask(mask=torch.arange(B) > 2):
        make()[1](x)


@pytest.mark.parametrize(
    ("guide", "why"),
    [
        (joint, "'z': no closed form for single dimensions"),
        (masked, "'z': masked"),
        (auxiliary, "'a': not in the model"),
        (make(factors=("guide",))[1], "'guide': a factor"),
    ],
    ids=["joint", "masked", "auxiliary", "factor"],
)
def test_free_bits_need_latents_that_come_apart(guide, why):
    what = r"latent sites that come apart into dimensions \(for free bits\) for `guide`"
    with pytest.raises(ValueError, match=rf"{what}; got site {why}"):
        Standard_ELBO(free_bits=0.5).loss(make()[0], guide, XT)


def test_free_bits_need_the_divergence_of_the_elbo():
    # In the guide the parent of `b` descends from it, and its KL is that of one draw.
    def model(x):
        with pyro.plate("data", B):
            a = pyro.sample("a", dist.Normal(x.new_zeros(()), 1.0))
            b = pyro.sample("b", dist.Normal(a, 1.0))
            pyro.sample("x", dist.Normal(b, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", B):
            b = pyro.sample("b", dist.Normal(x, 0.5))
            pyro.sample("a", dist.Normal(0.5 * b, 0.5))

    with pytest.raises(ValueError, match="site 'b': no closed form for its KL divergence"):
        Standard_ELBO(free_bits=0.5).loss(model, guide, XT)


def test_free_bits_need_latents_data_in_a_plate_and_one_scale():
    elbo, (model, guide) = Standard_ELBO(free_bits=0.5), make()
    with pytest.raises(ValueError, match="the same `scale` handler around all sites"):
        elbo.loss(poutine.scale(model, scale=0.5), guide, XT)

    def no_latents(x):
        with pyro.plate("data", B):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    with pytest.raises(ValueError, match=r"one latent site \(for free bits\) for `model`"):
        elbo.loss(no_latents, lambda x: None, XT)

    def no_plate(x):
        pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(0.0, 1.0).expand([B]).to_event(1), obs=x)

    with pytest.raises(ValueError, match="a plate that holds all observed sites for `model`"):
        elbo.loss(no_plate, lambda x: pyro.sample("z", dist.Normal(0.0, 2.0)), XT)


REASONS = [
    (Standard_ELBO(), None),
    (Standard_ELBO(kl_weight=0.5), "KL weight 0.5"),
    (Standard_ELBO(free_bits=0.25), "free bits"),
    (Standard_ELBO(kl_weight=2.0, free_bits=0.25), "KL weight 2 and free bits"),
    (IWAE_ELBO(), None),
    (IWAE_ELBO(2), "the importance weighted bound is another objective"),
]


@pytest.mark.parametrize(("elbo", "reason"), REASONS)
def test_an_objective_says_where_the_theorem_is_silent_and_so_does_the_report(elbo, reason):
    assert elbo.no_claim == reason
    pair = make()
    report = EntropySumDiagnostic(*pair, num_particles=1, objective=elbo).run(XT)
    assert report.no_claim == reason
    guide_trace = poutine.trace(pair[1]).get_trace(XT)
    model_trace = poutine.trace(poutine.replay(pair[0], trace=guide_trace)).get_trace(XT)
    diagnostic = EntropySumDiagnostic(*pair, objective=elbo)
    assert diagnostic.from_traces(model_trace, guide_trace).no_claim == reason


@pytest.mark.parametrize("objective", [None, Trace_ELBO()])
def test_the_hosts_objectives_have_no_such_reason(objective):
    report = EntropySumDiagnostic(*make(), num_particles=1, objective=objective).run(XT)
    assert report.no_claim is None


@pytest.mark.parametrize("own", [True, False], ids=["own diagnostic", "default diagnostic"])
@pytest.mark.parametrize(("elbo", "reason"), REASONS[:2])
def test_the_report_of_fit_carries_the_reason_of_its_loss(elbo, reason, own):
    pair = make()
    diagnostic = EntropySumDiagnostic(*pair, num_particles=1) if own else None
    report = fit(
        *pair, XT, loss=elbo, diagnostic=diagnostic, num_epochs=1, progress_bar=False
    ).report
    assert report.no_claim == reason
    assert "history" in report.to_datatree().children


def annealed(**kwargs):
    return fit(
        *make(weights=(0.0, 0.0, 0.0)),
        XT,
        optim=pyro.optim.SGD({"lr": 0.0}),
        num_epochs=4,
        progress_bar=False,
        **kwargs,
    )


def test_fit_anneals_the_weight_step_by_step():
    losses, report = annealed(kl_weight=linear_annealing(2, start=0.5, end=2.0))
    # The data does not depend on the draws, so that each loss is known.
    assert_allclose(losses, -FLAT + np.array([0.5, 1.25, 2.0, 2.0]) * KL.sum(), rtol=IDENTITY)
    assert report.no_claim == "annealed KL weight"
    assert report["elbo"] == pytest.approx(FLAT - KL.sum(), rel=IDENTITY)


def test_the_steps_of_all_epochs_are_counted_from_zero():
    steps = []

    def weight(step):
        steps.append(step)
        return 1.0

    vae = VAE1(D, H, hidden=HIDDEN)
    x = torch.tensor(data(25), dtype=torch.float32)
    kwargs = {"num_epochs": 3, "batch_size": 10, "progress_bar": False}
    fit(vae.model, vae.guide, x, kl_weight=weight, **kwargs)
    # Each epoch has the fewest batches of at most ten.
    assert steps == [*range(9)]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"loss": Trace_ELBO()}, ValueError, "a `kl_weight`.* for `loss`; got Trace_ELBO"),
        ({"loss": IWAE_ELBO(2)}, ValueError, "a `kl_weight`.* for `loss`; got IWAE_ELBO"),
        ({"kl_weight": 0.5}, TypeError, "a function of the step for `kl_weight`; got 0.5"),
        ({"kl_weight": lambda step: -1.0}, ValueError, "a non-negative .*`kl_weight`; got -1.0"),
    ],
    ids=["host", "IWAE", "number", "negative"],
)
def test_fit_refuses_to_anneal_what_has_no_weight(kwargs, error, match):
    with pytest.raises(error, match=match):
        annealed(**{"kl_weight": linear_annealing(2)} | kwargs)
    if error is TypeError or "loss" in kwargs:
        assert not pyro.get_param_store().keys()
