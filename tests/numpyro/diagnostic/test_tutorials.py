"""The diagnostic on models of the kinds that NumPyro's tutorials teach."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import random
from numpyro.contrib.control_flow import scan
from numpyro.handlers import seed, substitute, trace
from numpyro.infer import Trace_ELBO, autoguide
from scipy.special import logsumexp

from entropy_core.results.tables import ROWS
from entropy_core.theory.closed_form import gaussian_entropy
from numpyro_entropy import EntropySumDiagnostic
from numpyro_entropy.traces.pairs import trace_pair
from numpyro_entropy.traces.terms import all_terms
from tests.numpyro.models import crossed_model, initial_params
from tests.numpyro.tutorials import LENGTHS, TUTORIALS, eight_schools, schools_data
from tests.support.helpers import PARITY, STANDARD_ERRORS, mostly

KEY = random.key(3)

pytestmark = pytest.mark.filterwarnings("ignore:Currently, SVI with Trace_ELBO loss")


def diagnosed(name, **kwargs):
    tutorial = TUTORIALS[name]
    (model, guide), args = tutorial.make(), tutorial.data()
    params = initial_params(model, guide, *args)
    diagnostic = EntropySumDiagnostic(model, guide, data_plate=tutorial.data_plate, **kwargs)
    return model, guide, params, args, diagnostic.run(KEY, params, [args])


# Pyro's side has the other ones.
OF_THE_HOST = ["eight schools", "flow guide", "deep Markov model", "scan", "missing values"]
OF_THE_HOST += ["semi-supervised, sampled"]


@pytest.mark.parametrize(
    "name", mostly([n for n, t in TUTORIALS.items() if not t.enumerated], OF_THE_HOST)
)
def test_the_elbo_is_that_of_the_host_on_the_same_draws(name):
    model, guide, params, args, report = diagnosed(name, num_particles=1, closed_form=False)
    num_data = TUTORIALS[name].num_data
    # The first key that the diagnostic uses, for the first batch.
    (key,) = random.split(random.fold_in(KEY, 0), 1)
    loss = jax.jit(lambda params: Trace_ELBO().loss(key, params, model, guide, *args))(params)
    assert report["elbo"] * (num_data or 1) == pytest.approx(-loss.item(), rel=PARITY)
    assert report.units == ("nats" if num_data is None else "nats per data point")
    assert "Entropy report" in str(report)


def summed_density(model, values, args):
    """The log-density at `values`, with each combination of the enumerated sites' values."""
    held = substitute(model, data=values)
    every, sizes = {}, []

    def look():
        sites = trace(seed(held, KEY)).get_trace(*args)
        every.update({n: s for n, s in sites.items() if s.get("infer", {}).get("enumerate")})
        sizes.extend(len(s["fn"].enumerate_support(expand=False)) for s in every.values())
        return {name: site["value"] for name, site in every.items()}

    drawn = jax.eval_shape(look)
    combinations = np.indices(sizes).reshape(len(sizes), -1)

    @jax.jit
    @jax.vmap
    def log_probs(*combination):
        picked = {
            name: jnp.full(like.shape, value, like.dtype)
            for (name, like), value in zip(drawn.items(), combination, strict=True)
        }
        found = trace(seed(substitute(held, data=picked), KEY)).get_trace(*args)
        return {
            name: site["fn"].log_prob(site["value"])
            for name, site in found.items()
            if site["type"] == "sample"
        }

    total, joint = 0.0, 0.0
    shape = next(iter(every.values()))["fn"].batch_shape
    for log_prob in map(np.asarray, log_probs(*combinations).values()):
        if (log_prob == log_prob[0]).all():
            total += log_prob[0].sum()
        else:
            # A plate inside that of the enumerated sites.
            inner = tuple(i + 1 for i, size in enumerate(shape) if size == 1)
            joint = joint + log_prob.sum(inner, keepdims=True)
    return total + logsumexp(joint, axis=0).sum()


@pytest.mark.parametrize(
    "name",
    mostly(
        [n for n, t in TUTORIALS.items() if t.enumerated and "semi" not in n],
        ["hidden Markov model"],
    ),
)
def test_the_elbo_of_enumerated_sites_is_a_sum_over_all_values(name):
    model, guide, params, args, report = diagnosed(name, num_particles=1, closed_form=False)
    (key,) = random.split(random.fold_in(KEY, 0), 1)
    _, guide_key = random.split(key)

    @jax.jit
    def draws(params):
        sites = trace(seed(substitute(guide, data=params), guide_key)).get_trace(*args)
        drawn = {n: site for n, site in sites.items() if site["type"] == "sample"}
        log_q = sum(site["fn"].log_prob(site["value"]).sum() for site in drawn.values())
        return {name: site["value"] for name, site in drawn.items()}, log_q

    values, log_q = draws(params)
    expected = summed_density(substitute(model, data=params), values, args) - log_q
    if name == "hidden Markov model":
        # Beyond the end of a sequence there is no state to sum over.
        expected -= np.log(3) * (5 - args[1]).sum()
    assert report["elbo"] * TUTORIALS[name].num_data == pytest.approx(expected.item(), rel=PARITY)


def sites_of(report):
    """The rows of the sites, by role and name."""
    return report.sites().set_index(["role", "site_name"])


# Every AutoGuide; why no site has rows of its own, where none has.
JOINT = "together with other sites"
AUTO_GUIDES = {
    "AutoNormal": None,
    "AutoDelta": "a point",
    "AutoDiagonalNormal": JOINT,
    "AutoMultivariateNormal": JOINT,
    "AutoLowRankMultivariateNormal": JOINT,
    "AutoIAFNormal": JOINT,
    "AutoBNAFNormal": JOINT,
    "AutoLaplaceApproximation": "a point",
    "AutoDAIS": JOINT,
}


@functools.cache
def auto_guide(name):
    kwargs = {"AutoIAFNormal": {"hidden_dims": [16]}, "AutoDAIS": {"K": 2}}.get(name, {})
    guide = getattr(autoguide, name)(eight_schools, **kwargs)
    return guide, initial_params(eight_schools, guide, *schools_data())


@pytest.mark.parametrize("name", mostly(AUTO_GUIDES, ["AutoNormal", "AutoMultivariateNormal"]))
def test_auto_guides(name):
    (guide, params), args = auto_guide(name), schools_data()
    diagnostic = EntropySumDiagnostic(eight_schools, guide, num_particles=1, closed_form=False)
    report = diagnostic.run(KEY, params, [args])
    (key,) = random.split(random.fold_in(KEY, 0), 1)
    host = jax.jit(lambda p: Trace_ELBO().loss(key, p, eight_schools, guide, *args))(params)
    assert report["elbo"] * 8 == pytest.approx(-host.item(), rel=PARITY)
    reasons, why = report.untreated, AUTO_GUIDES[name]
    assert {"mu", "tau"} <= reasons.keys()
    assert all((why or "") in reason for reason in reasons.values())
    assert why is None or "theta" in reasons


def test_the_entropies_of_eight_schools_are_those_by_hand():
    (guide, params), (y, sigma) = auto_guide("AutoNormal"), schools_data()
    diagnostic = EntropySumDiagnostic(eight_schools, guide, num_particles=400)
    report = diagnostic.run(KEY, params, [(y, sigma)])
    log_tau = params["tau_auto_loc"]

    def normal(scale):
        return gaussian_entropy(np.asarray(scale) ** 2)

    by_hand = {
        ("encoder", "mu"): normal(params["mu_auto_scale"]),
        # tau = exp(u) has the log-determinant u.
        ("encoder", "tau"): (normal(params["tau_auto_scale"]) + log_tau),
        ("encoder", "theta"): normal(params["theta_auto_scale"]).mean(),
        ("prior", "mu"): normal(10.0),
        ("prior", "tau"): np.log(2 * np.pi * 5),
        ("prior", "theta"): normal(1.0) + log_tau,
        ("decoder", "obs"): normal(sigma).mean(),
    }
    rows = sites_of(report)
    for key, value in by_hand.items():
        row = rows.loc[key]
        assert abs(row["entropy"] - float(value)) <= STANDARD_ERRORS * row["entropy_mcse"] + 1e-9


def records_of(name):
    tutorial = TUTORIALS[name]
    (model, guide), args = tutorial.make(), tutorial.data()
    params = initial_params(model, guide, *args)
    pair = all_terms(trace_pair(KEY, params, model, guide, args), rng_key=KEY)
    return {(r.role, r.name): r for r in pair.records}, dict(pair.untreated)


@pytest.mark.slow
def test_observed_elements_are_counted_under_masks_of_a_handler():
    records, _ = records_of("deep Markov model")
    for t in range(3):
        for key in (("decoder", f"x_{t}"), ("prior", f"z_{t}"), ("encoder", f"z_{t}")):
            dims = records[key].num_elements // 5
            assert dims == {"x": 4, "z": 2}[key[1][0]]
            assert records[key].num_observed == (t < LENGTHS).sum() * dims


def test_observed_elements_are_counted_under_masks():
    records, untreated = records_of("missing values")
    assert records["decoder", "x_observed"].num_observed == 4
    assert records["prior", "x_unobserved"].num_observed == 2
    assert records["prior", "mean"].num_observed is None
    assert untreated == {"x": "deterministic"}
    entropy = records["decoder", "x_observed"].entropy
    unit = gaussian_entropy(1.0)
    np.testing.assert_allclose(entropy, np.where([1, 1, 0, 1, 0, 1], unit, 0.0))


@pytest.mark.slow
def test_an_enumerated_site_adds_the_log_of_the_sum_over_its_values():
    kwargs = {"num_particles": 1, "closed_form": False}
    model, _, params, (x,), report = diagnosed("mixture, point estimates", **kwargs)
    points = {n: params[f"{n}_auto_loc"] for n in ("weights", "locs", "scale")}
    given = numpyro.handlers.substitute(model, data=points)
    sites = numpyro.handlers.trace(numpyro.handlers.seed(given, KEY)).get_trace(x)
    priors = sum(sites[name]["fn"].log_prob(value).sum() for name, value in points.items())
    normal = dist.Normal(points["locs"], points["scale"])
    joint = jnp.log(points["weights"]) + normal.log_prob(x[:, None])
    by_hand = priors + jax.nn.logsumexp(joint, -1).sum()
    assert report["elbo"] * len(x) == pytest.approx(by_hand.item(), rel=PARITY)
    weights = jax.nn.softmax(joint, -1)
    entropy = -(weights * jnp.log(weights)).sum(-1).mean()
    row = sites_of(report).loc["encoder", "assignment"]
    assert row["entropy"] == pytest.approx(entropy.item(), rel=PARITY)
    assert row["entropy_method"] == "closed form"


@pytest.mark.slow
def test_an_enumerated_label_is_an_exact_average_over_its_values():
    # With the label drawn, its terms are those of single values: their mean is the exact one.
    *_, report = diagnosed("semi-supervised, enumerated", num_particles=200)
    *_, drawn = diagnosed("semi-supervised, sampled", num_particles=200)
    for name in ("elbo", "entropy_sum", "encoder_entropy", "decoder_entropy"):
        estimates = [r.summary().loc[ROWS[name]] for r in (report, drawn)]
        error = np.hypot(*(estimate["mcse"] for estimate in estimates))
        difference = estimates[0]["mean"] - estimates[1]["mean"]
        assert abs(difference) <= STANDARD_ERRORS * error + PARITY
    assert sites_of(report).loc["prior", "y"]["entropy"] == pytest.approx(np.log(3), rel=PARITY)


def test_sites_that_cannot_be_summed_over_in_turn_are_listed():
    x = jnp.zeros((3, 2))
    params = initial_params(crossed_model, lambda x: None, x)
    diagnostic = EntropySumDiagnostic(crossed_model, lambda x: None, data_plate="rows")
    report = diagnostic.run(KEY, params, [(x,)])
    turn = "cannot be summed over in turn"
    assert {name for name, why in report.untreated.items() if turn in why} == {"a", "b", "x"}
    assert set(report.sites()["site_name"]) == {"y"}
    assert "without 'a', 'b', 'x'" in report.findings()[0]
    entropy = sites_of(report).loc["decoder", "y"]["entropy"]
    assert entropy == pytest.approx(2 * gaussian_entropy(0.8**2), rel=PARITY)


@pytest.mark.parametrize("length", [2, 3])
def test_the_time_of_a_scan_is_no_place_of_an_enumerated_site(length):
    """Neither where there are as many steps as values nor elsewhere; no plate declares it."""
    x, values = jnp.array([1.0, -1.0, 0.3]), jnp.array([[-1.0], [1.0]])

    def states(fn):
        def step(z, _):
            with numpyro.plate("data", 3):
                z = numpyro.sample("z", fn(z))
            return z, z

        return scan(step, jnp.zeros(3), None, length=length)[1]

    def rest():
        z = states(lambda z: dist.Normal(0.5 * z, 1.0))
        with numpyro.plate("data", 3):
            numpyro.sample("y", dist.Normal(z.sum(0), 1.0), obs=x)

    def model():
        with numpyro.plate("data", 3):
            c = numpyro.sample("c", dist.Bernoulli(0.3), infer={"enumerate": "parallel"})
            numpyro.sample("x", dist.Normal(2.0 * c - 1, 1.0), obs=x)
        rest()

    def summed_out():
        with numpyro.plate("data", 3):
            log_lik = dist.Normal(values, 1.0).log_prob(x) + jnp.log(jnp.array([[0.7], [0.3]]))
            numpyro.factor("x", jax.scipy.special.logsumexp(log_lik, 0))
        rest()

    def guide():
        states(lambda z: dist.Normal(0.4 * z + x, 0.8))

    elbos = [
        EntropySumDiagnostic(fn, guide, num_particles=1).run(KEY, {}, [()])["elbo"]
        for fn in (model, summed_out)
    ]
    assert elbos[0] == pytest.approx(elbos[1], rel=PARITY)


@pytest.mark.parametrize("in_plate", [True, False])
def test_enumerated_sites_of_a_scan_are_listed_and_left_out(in_plate):
    y = jnp.array([[1, 0, 1], [0, 0, 1], [1, 1, 1], [0, 1, 0]])

    def model(y):
        p = numpyro.sample("p", dist.Beta(jnp.ones(2), jnp.ones(2)).to_event(1))

        def step(state, y):
            with numpyro.plate("data", 3) if in_plate else contextlib.nullcontext():
                probs = jnp.array([0.3, 0.8])[state]
                state = numpyro.sample(
                    "state", dist.Bernoulli(probs), infer={"enumerate": "parallel"}
                )
                numpyro.sample("y", dist.Bernoulli(p[state]), obs=y)
            return state, None

        scan(step, jnp.zeros(y.shape[1:], int), y)

    def guide(y):
        numpyro.sample("p", dist.Beta(jnp.ones(2), 2 * jnp.ones(2)).to_event(1))

    data = y if in_plate else y[:, 0]
    report = EntropySumDiagnostic(model, guide).run(KEY, {}, [(data,)])
    assert "inside of a scan" in report.untreated["state"]
    assert "without 'state'" in report.findings()[0]
    assert np.isfinite(report["elbo"])


def test_a_site_without_entropy_adds_to_the_elbo_alone():
    def model(x):
        mean = numpyro.sample("mean", dist.ImproperUniform(dist.constraints.real, (), ()))
        with numpyro.plate("data", len(x)):
            numpyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    def guide(x):
        numpyro.sample("mean", dist.Normal(0.3, 0.5))

    report = EntropySumDiagnostic(model, guide).run(KEY, {}, [(jnp.zeros(4),)])
    assert report["prior_entropy"] == 0
    assert "no entropy" in report.untreated["mean"]
    assert report["encoder_entropy"] == pytest.approx(gaussian_entropy(0.5**2) / 4, rel=PARITY)
    assert report["decoder_entropy"] == pytest.approx(gaussian_entropy(1.0), rel=PARITY)
