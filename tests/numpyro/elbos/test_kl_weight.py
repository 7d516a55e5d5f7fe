"""A weight of the KL divergence, and free bits, beside numbers made by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
import pytest
from jax import lax, random
from numpy.testing import assert_allclose
from numpyro import handlers
from numpyro.distributions import constraints
from numpyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO

from entropy_core.traces.sites import Pair
from entropy_core.training import linear_annealing
from numpyro_entropy import IWAE_ELBO, VAE1, EntropySumDiagnostic, Standard_ELBO, fit
from numpyro_entropy.vaes.data import data_plate
from tests.core.records import site
from tests.numpyro.models import initial_params
from tests.support.helpers import DROP_IN, HIDDEN, IDENTITY, B, D, H, data
from tests.support.kl_weight import FLAT, HALF_A_BIT, KL, LOC, SCALE, X

KEY = random.key(2)
XJ = jnp.asarray(X)
TOTAL = 10 * B
PARAMS = {"loc": jnp.asarray(LOC), "scale": jnp.asarray(SCALE)}


def make(weights=(0.0, 1.0, -1.0), factors=()):
    """A pair whose data depends on the latents by `weights`."""

    def model(x, total=None):
        for name in set(factors) & {"model"}:
            numpyro.factor(name, 3.0)
        with data_plate(x, total):
            z = numpyro.sample("z", dist.Normal(jnp.zeros(H), 1.0).to_event(1))
            numpyro.sample("x", dist.Normal(z @ jnp.asarray(weights), 1.0), obs=x)

    def guide(x, total=None):
        loc = numpyro.param("loc", PARAMS["loc"])
        scale = numpyro.param("scale", PARAMS["scale"], constraint=constraints.positive)
        for name in set(factors) & {"guide"}:
            numpyro.factor(name, 2.0)
        with data_plate(x, total):
            numpyro.sample("z", dist.Normal(loc, scale).to_event(1))

    return model, guide


MODEL, GUIDE = make()


def loss(elbo, params=PARAMS, pair=(MODEL, GUIDE), **kwargs):
    return elbo.loss(KEY, params, *pair, XJ, **kwargs)


@pytest.mark.parametrize("closed_form", [True, False])
def test_a_weight_of_the_vae(closed_form):
    vae, x = VAE1(D, H, hidden=HIDDEN), jnp.asarray(data())
    params = initial_params(vae.model, vae.guide, x)
    elbo = partial(Standard_ELBO, closed_form=closed_form, num_particles=2)

    @jax.jit
    def everything(params, one):
        def loss(elbo, **kwargs):
            return elbo.loss(KEY, params, vae.model, vae.guide, x, total=TOTAL, **kwargs)

        host = (TraceMeanField_ELBO if closed_form else Trace_ELBO)(2)
        ones = [loss(elbo(), **kwargs) for kwargs in ({}, {"kl_weight": 1.0}, {"kl_weight": one})]
        terms = [
            e.terms(KEY, params, vae.model, vae.guide, x) for e in (elbo(), elbo(kl_weight=0.5))
        ]
        return loss(host), ones, loss(elbo(kl_weight=0.5)), terms

    host, ones, half, (terms, terms_of_half) = everything(params, 1.0)
    # A weight of one is the host's ELBO.
    assert_allclose(ones, host, rtol=DROP_IN)
    # The weight multiplies prior and encoder.
    divergence = -(terms.prior_term + terms.encoder_entropy)
    assert abs(divergence) > 0.01
    by_hand = -TOTAL * (terms.reconstruction_term - 0.5 * divergence)
    assert half.item() == pytest.approx(by_hand.item(), rel=IDENTITY)
    # The terms are those of the ELBO.
    for term, other in zip(*map(jax.tree.leaves, (terms, terms_of_half)), strict=True):
        assert term.item() == other.item()


@pytest.mark.parametrize(("factor", "value"), [("model", -3.0), ("guide", 0.5 * 2.0)])
def test_a_factor_of_the_guide_has_the_weight_and_one_of_the_model_has_not(factor, value):
    elbo, pairs = Standard_ELBO(kl_weight=0.5), [make(factors=names) for names in ((), (factor,))]
    plain, found = jax.jit(lambda: [loss(elbo, pair=pair) for pair in pairs])()
    assert (found - plain).item() == pytest.approx(value, rel=IDENTITY)


@pytest.fixture(scope="module")
def flat():
    """SVI that stays where it is, on data that does not depend on the draws; and its losses."""
    model, guide = make(weights=(0.0, 0.0, 0.0))
    svi = SVI(model, guide, optax.sgd(0.0), Standard_ELBO(kl_weight=0.9), total=TOTAL)
    state = jax.jit(svi.init)(KEY, XJ)
    return svi, state, lambda weight: TOTAL * (-FLAT + np.asarray(weight) * KL.sum())


@pytest.mark.parametrize("weight", [0.3, np.float64(0.3), 0, jnp.asarray(0.3)])
def test_the_weight_of_one_call_stands_in_for_the_option(flat, weight):
    svi, state, by_hand = flat

    @jax.jit
    def losses(state):
        calls = svi.update, svi.stable_update
        plain = [call(state, XJ)[1] for call in calls]
        weighted = [call(state, XJ, kl_weight=weight)[1] for call in calls]
        return plain, [*weighted, svi.evaluate(state, XJ, kl_weight=weight)]

    plain, weighted = losses(state)
    assert_allclose(plain, by_hand(0.9), rtol=IDENTITY)
    assert_allclose(weighted, by_hand(weight), rtol=IDENTITY)


def test_the_weight_may_be_traced_under_jit_and_scan(flat):
    svi, state, by_hand = flat
    weights = jnp.linspace(0.0, 1.0, 5)
    traced = []

    def step(state, weight):
        traced.append(weight)
        return svi.update(state, XJ, kl_weight=weight)

    update = jax.jit(step)
    found = [update(state, weight)[1] for weight in weights]
    assert len(traced) == 1
    assert_allclose(found, by_hand(weights), rtol=IDENTITY)
    assert_allclose(lax.scan(step, state, weights)[1], by_hand(weights), rtol=IDENTITY)


def test_the_bound_keeps_its_float_type():
    ones = jnp.ones(B, jnp.float32)
    sites = [site("z", "prior", ones, ones), site("x", "decoder", ones, ones)]
    pair = Pair({}, {}, records=sites)
    found = Standard_ELBO().bound(pair, kl_weight=jnp.asarray(0.5, jnp.float64))
    assert found.dtype == jnp.float32
    assert found == 1.5 * B


@pytest.mark.parametrize("handler_scale", [1.0, 0.1])
@pytest.mark.parametrize("total", [None, TOTAL])
def test_free_bits_by_hand(total, handler_scale):
    scaled = [handlers.scale(fn, scale=handler_scale) for fn in (MODEL, GUIDE)]
    weights = 1.0, 0.5

    @jax.jit
    def terms_and_losses(params):
        elbos = [Standard_ELBO(free_bits=0.5, kl_weight=weight) for weight in weights]
        terms = Standard_ELBO().terms(KEY, params, MODEL, GUIDE, XJ)
        return terms, [loss(elbo, params, pair=scaled, total=total) for elbo in elbos]

    terms, found = terms_and_losses(PARAMS)
    for weight, value in zip(weights, found, strict=True):
        bound = terms.reconstruction_term.item() - weight * (HALF_A_BIT + KL[1] + KL[2])
        by_hand = -handler_scale * (total or B) * bound
        assert value.item() == pytest.approx(by_hand, rel=IDENTITY)


def test_free_bits_that_bind_nowhere_are_the_elbo():
    found = loss(Standard_ELBO(free_bits=0.9 * KL.min() / np.log(2)))
    assert found.item() == pytest.approx(loss(Standard_ELBO()).item(), rel=IDENTITY)


def test_the_gradient_of_a_latent_below_the_floor_is_zero():
    # The data does not depend on that latent, so that its KL is all that it adds.
    @jax.jit
    def gradients(params):
        elbos = [Standard_ELBO(free_bits=bits) for bits in (0.5, 0.0)]
        return [jax.grad(lambda p, e=elbo: loss(e, p, total=TOTAL))(params) for elbo in elbos]

    free, plain = gradients(PARAMS)
    # d KL / d loc = loc, scaled as the loss is.
    assert_allclose(plain["loc"][:, 0], TOTAL / B * LOC[:, 0], rtol=IDENTITY)
    for name in ("loc", "scale"):
        assert (free[name][:, 0] == 0).all()
        assert (free[name][:, 1:] != 0).all()
        assert_allclose(free[name][:, 1:], plain[name][:, 1:], rtol=IDENTITY)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf"), "0.5", True, [0.5]])
@pytest.mark.parametrize("name", ["kl_weight", "free_bits"])
def test_bad_options_are_refused(name, bad):
    with pytest.raises(ValueError, match=f"a non-negative finite number for `{name}`; got"):
        Standard_ELBO(**{name: bad})
    if name == "kl_weight":
        with pytest.raises(ValueError, match="a non-negative finite number for `kl_weight`"):
            loss(Standard_ELBO(), kl_weight=bad)


def test_a_weight_with_dimensions_is_refused():
    with pytest.raises(ValueError, match=r"one number for `kl_weight`; got shape \(2,\)"):
        loss(Standard_ELBO(), kl_weight=jnp.ones(2))


def test_free_bits_need_closed_forms():
    with pytest.raises(ValueError, match=r"0 with closed_form=False for `free_bits`; got 0\.5"):
        Standard_ELBO(free_bits=0.5, closed_form=False)


def joint(x):
    with numpyro.plate("data", B):
        numpyro.sample("z", dist.MultivariateNormal(jnp.zeros(H), jnp.eye(H)))


def auxiliary(x):
    with numpyro.plate("data", B):
        numpyro.sample("z", dist.Normal(jnp.zeros(H), 0.5).to_event(1))
        numpyro.sample("a", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})


@pytest.mark.parametrize(
    ("guide", "why"),
    [
        (joint, "'z': no closed form for single dimensions"),
        (handlers.mask(GUIDE, mask=jnp.arange(B) > 2), "'z': masked"),
        (auxiliary, "'a': not in the model"),
        (make(factors=("guide",))[1], "'guide': a factor"),
    ],
    ids=["joint", "masked", "auxiliary", "factor"],
)
def test_free_bits_need_latents_that_come_apart(guide, why):
    what = r"latent sites that come apart into dimensions \(for free bits\) for `guide`"
    with pytest.raises(ValueError, match=rf"{what}; got site {why}"):
        jax.eval_shape(lambda: loss(Standard_ELBO(free_bits=0.5), pair=(MODEL, guide)))


def test_free_bits_need_the_divergence_of_the_elbo():
    # In the guide the parent of `b` descends from it, and its KL is that of one draw.
    def model(x):
        with numpyro.plate("data", B):
            a = numpyro.sample("a", dist.Normal(0.0, 1.0))
            b = numpyro.sample("b", dist.Normal(a, 1.0))
            numpyro.sample("x", dist.Normal(b, 1.0), obs=x)

    def guide(x):
        with numpyro.plate("data", B):
            b = numpyro.sample("b", dist.Normal(x, 0.5))
            numpyro.sample("a", dist.Normal(0.5 * b, 0.5))

    with pytest.raises(ValueError, match="site 'b': no closed form for its KL divergence"):
        jax.eval_shape(lambda: loss(Standard_ELBO(free_bits=0.5), pair=(model, guide)))


def test_free_bits_need_latents_data_in_a_plate_and_one_scale():
    elbo = Standard_ELBO(free_bits=0.5)
    with pytest.raises(ValueError, match="the same `scale` handler around all sites"):
        loss(elbo, pair=(handlers.scale(MODEL, scale=0.5), GUIDE))

    def no_latents(x):
        with numpyro.plate("data", B):
            numpyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    with pytest.raises(ValueError, match=r"one latent site \(for free bits\) for `model`"):
        loss(elbo, pair=(no_latents, lambda x: None))

    def no_plate(x):
        numpyro.sample("z", dist.Normal(0.0, 1.0))
        numpyro.sample("x", dist.Normal(0.0, 1.0).expand([B]).to_event(1), obs=x)

    def no_plate_guide(x):
        numpyro.sample("z", dist.Normal(0.0, 2.0))

    with pytest.raises(ValueError, match="a plate that holds all observed sites for `model`"):
        loss(elbo, pair=(no_plate, no_plate_guide))


REASONS = [
    (Standard_ELBO(), None),
    (Standard_ELBO(kl_weight=0.5), "KL weight 0.5"),
    (Standard_ELBO(free_bits=0.25), "free bits"),
    (Standard_ELBO(kl_weight=2.0, free_bits=0.25), "KL weight 2 and free bits"),
    (IWAE_ELBO(), None),
    (IWAE_ELBO(2), "the importance weighted bound is another objective"),
]


@pytest.mark.parametrize(("elbo", "reason"), [*REASONS, (None, None), (Trace_ELBO(), None)])
def test_an_objective_says_where_the_theorem_is_silent_and_so_does_the_report(elbo, reason):
    assert getattr(elbo, "no_claim", None) == reason
    diagnostic = EntropySumDiagnostic(MODEL, GUIDE, num_particles=1, objective=elbo)
    guide_trace = handlers.trace(handlers.seed(GUIDE, KEY)).get_trace(XJ)
    seeded = handlers.seed(handlers.replay(MODEL, guide_trace), KEY)
    model_trace = handlers.trace(seeded).get_trace(XJ)
    assert diagnostic.from_traces(model_trace, guide_trace).no_claim == reason


def test_a_run_of_the_diagnostic_carries_the_reason():
    diagnostic = EntropySumDiagnostic(MODEL, GUIDE, num_particles=1, objective=REASONS[1][0])
    assert diagnostic.run(KEY, PARAMS, XJ).no_claim == "KL weight 0.5"


def anneal(**kwargs):
    pair = make(weights=(0.0, 0.0, 0.0))
    defaults = {"optim": optax.sgd(0.0), "num_epochs": 4, "progress_bar": False}
    defaults["diagnostic"] = EntropySumDiagnostic(*pair, num_particles=1)
    return fit(KEY, *pair, XJ, diagnose_every=4, **defaults | kwargs)


@pytest.mark.parametrize("own", [True, False], ids=["own diagnostic", "default diagnostic"])
def test_the_report_of_fit_carries_the_reason_of_its_loss(own):
    kwargs = {} if own else {"diagnostic": None}
    report = anneal(loss=Standard_ELBO(kl_weight=0.5), num_epochs=1, **kwargs).report
    assert report.no_claim == "KL weight 0.5"
    assert "history" in report.to_datatree().children


@pytest.mark.parametrize(
    "weight",
    [linear_annealing(2, start=0.5, end=2.0), optax.linear_schedule(0.5, 2.0, 2)],
    ids=["ours", "optax"],
)
def test_fit_anneals_the_weight_step_by_step(weight):
    _, losses, report = anneal(kl_weight=weight)
    # The data does not depend on the draws, so that each loss is known.
    assert_allclose(losses, -FLAT + np.array([0.5, 1.25, 2.0, 2.0]) * KL.sum(), rtol=IDENTITY)
    assert report.no_claim == "annealed KL weight"
    assert report["elbo"] == pytest.approx(FLAT - KL.sum(), rel=IDENTITY)


def test_annealing_counts_the_steps_of_all_epochs_and_compiles_no_more_often():
    steps, calls = [], []

    def weight(step):
        steps.append(step)
        # Of one type or another.
        return step if step % 2 else 0.5

    def model(x, total=None):
        calls.append(x)
        with data_plate(x, total):
            z = numpyro.sample("z", dist.Normal(0.0, 1.0))
            numpyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x, total=None):
        with data_plate(x, total):
            numpyro.sample("z", dist.Normal(numpyro.param("loc", 0.0), 1.0))

    counts = []
    for kl_weight in (None, weight):
        calls.clear()
        glance = EntropySumDiagnostic(model, guide, num_particles=1)
        kwargs = {"diagnostic": glance, "diagnose_every": 3, "progress_bar": False}
        result = fit(
            KEY, model, guide, XJ, kl_weight=kl_weight, num_epochs=3, batch_size=3, **kwargs
        )
        counts.append(len(calls))
    assert steps == [*range(9)]
    assert counts[0] == counts[1]
    assert result.report.no_claim == "annealed KL weight"


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
        anneal(**{"kl_weight": linear_annealing(2)} | kwargs)
