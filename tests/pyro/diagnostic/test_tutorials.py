"""The diagnostic on models of the kinds that Pyro's tutorials teach."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, autoguide

from entropy_core.theory.closed_form import gaussian_entropy
from pyro_entropy import EntropySumDiagnostic
from pyro_entropy.traces.pairs import trace_pair
from pyro_entropy.traces.terms import all_terms
from tests.pyro.models import crossed_model
from tests.pyro.tutorials import LENGTHS, TUTORIALS, eight_schools, schools_data
from tests.support.helpers import PARITY, STANDARD_ERRORS

TABLE = pytest.mark.parametrize("name", TUTORIALS)
NUM_DRAWS = 4000


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def made(name):
    tutorial = TUTORIALS[name]
    (model, guide), args = tutorial.make(), tutorial.data()
    # An AutoGuide looks at the model when it is first called.
    guide(*args)
    return model, guide, args


@TABLE
def test_the_elbo_is_that_of_the_host_on_the_same_draws(name):
    model, guide, args = made(name)
    tutorial = TUTORIALS[name]
    diagnostic = EntropySumDiagnostic(
        model, guide, num_particles=1, closed_form=False, data_plate=tutorial.data_plate
    )
    pyro.set_rng_seed(3)
    report = diagnostic.run([args])
    pyro.set_rng_seed(3)
    if tutorial.plates is None:
        host = Trace_ELBO()
    else:
        host = TraceEnum_ELBO(max_plate_nesting=tutorial.plates)
    num_data = tutorial.num_data or 1
    assert report["elbo"] * num_data == pytest.approx(-host.loss(model, guide, *args), rel=PARITY)
    assert report.units == ("nats" if tutorial.num_data is None else "nats per data point")
    assert "Entropy report" in str(report)


@pytest.mark.parametrize("name", [n for n, t in TUTORIALS.items() if t.plates is None])
def test_entropies_are_those_of_independent_draws(name):
    pair = all_terms(trace_pair(*made(name)), entropy_samples=NUM_DRAWS)
    assert any(record.entropy is not None for record in pair.records)
    for record in pair.records:
        if record.entropy is None:
            continue
        site = (pair.guide if record.role == "encoder" else pair.model)[record.name]
        with torch.no_grad():
            draws = -site.fn.log_prob(site.fn.sample((NUM_DRAWS,)))
        draws = draws if site.mask is None else draws * site.mask
        if record.role == "encoder" and draws.std() < PARITY:
            continue  # A point of an AutoGuide, whose draw is that of another site.
        # A sampled entropy has as large an error as that of these draws.
        error = draws.std(0) * (2 / NUM_DRAWS) ** 0.5
        assert record.entropy.shape == error.shape
        assert ((draws.mean(0) - record.entropy).abs() <= STANDARD_ERRORS * error + PARITY).all()


def sites_of(report):
    """The rows of the sites, by role and name."""
    return report.sites().set_index(["role", "site_name"])


# Every AutoGuide of continuous latents; why no site has rows of its own, where none has.
JOINT = "together with other sites"
AUTO_GUIDES = {
    "AutoNormal": None,
    "AutoDelta": "a point",
    "AutoDiagonalNormal": JOINT,
    "AutoMultivariateNormal": JOINT,
    "AutoLowRankMultivariateNormal": JOINT,
    "AutoIAFNormal": JOINT,
    "AutoLaplaceApproximation": "a point",
    "AutoStructured": JOINT,
    "AutoGaussian": JOINT,
    "AutoNormalMessenger": None,
    "AutoHierarchicalNormalMessenger": None,
    "AutoRegressiveMessenger": None,
}


NAMES = ("mu", "tau", "theta")


def auto_guide(name):
    kwargs = {"hidden_dim": [16]} if name == "AutoIAFNormal" else {}
    if name.endswith("Messenger"):
        # A half-Cauchy distribution has no mean to start from.
        kwargs["init_loc_fn"] = autoguide.init_to_median
    if name == "AutoHierarchicalNormalMessenger":
        kwargs["hierarchical_sites"] = ["theta"]
    guide = getattr(autoguide, name)(eight_schools, **kwargs)
    guide(*schools_data())
    return guide


@pytest.mark.parametrize("name", AUTO_GUIDES)
def test_auto_guides(name):
    guide, args = auto_guide(name), schools_data()
    diagnostic = EntropySumDiagnostic(eight_schools, guide, num_particles=1, closed_form=False)
    pyro.set_rng_seed(3)
    report = diagnostic.run([args])
    pyro.set_rng_seed(3)
    host = Trace_ELBO().loss(eight_schools, guide, *args)
    assert report["elbo"] * 8 == pytest.approx(-host, rel=PARITY)
    reasons, why = report.untreated, AUTO_GUIDES[name]
    assert {"mu", "tau"} <= reasons.keys()
    assert all((why or "") in reason for reason in reasons.values())
    assert why is None or "theta" in reasons


def test_the_entropies_of_eight_schools_are_those_by_hand():
    guide, (y, sigma) = auto_guide("AutoNormal"), schools_data()
    report = EntropySumDiagnostic(eight_schools, guide, num_particles=50).run([(y, sigma)])
    locs, scales = (
        {n: getattr(p, n).detach().numpy() for n in NAMES} for p in (guide.locs, guide.scales)
    )

    def normal(scale):
        return gaussian_entropy(np.asarray(scale) ** 2)

    by_hand = {
        ("encoder", "mu"): normal(scales["mu"]),
        # tau = exp(u) has the log-determinant u.
        ("encoder", "tau"): (normal(scales["tau"]) + locs["tau"]),
        ("encoder", "theta"): normal(scales["theta"]).mean(),
        ("prior", "mu"): normal(10.0),
        ("prior", "tau"): np.log(2 * np.pi * 5),
        ("prior", "theta"): normal(1.0) + locs["tau"],
        ("decoder", "obs"): normal(sigma).mean(),
    }
    rows = sites_of(report)
    for key, value in by_hand.items():
        row = rows.loc[key]
        assert abs(row["entropy"] - float(value)) <= STANDARD_ERRORS * row["entropy_mcse"] + 1e-9


def records_of(name):
    model, guide, args = made(name)
    pair = all_terms(trace_pair(model, guide, args))
    return {(r.role, r.name): r for r in pair.records}, dict(pair.untreated)


def test_observed_elements_are_counted_under_masks():
    records, _ = records_of("deep Markov model")
    for t in range(3):
        for key in (("decoder", f"x_{t}"), ("prior", f"z_{t}"), ("encoder", f"z_{t}")):
            dims = records[key].num_elements // 5
            assert dims == {"x": 4, "z": 2}[key[1][0]]
            assert records[key].num_observed == (t < LENGTHS).sum() * dims
    records, untreated = records_of("missing values")
    assert records["decoder", "x_observed"].num_observed == 4
    assert records["prior", "x_unobserved"].num_observed == 2
    assert records["prior", "mean"].num_observed is None
    assert untreated == {"x": "deterministic"}


def test_entropies_of_what_a_mask_hides_are_zero():
    records, _ = records_of("missing values")
    entropy = records["decoder", "x_observed"].entropy
    unit = gaussian_entropy(1.0)
    np.testing.assert_allclose(entropy, np.where([1, 1, 0, 1, 0, 1], unit, 0.0))


def test_weights_of_enumerated_sites_are_the_marginals_of_the_host():
    model, guide, args = made("mixture")
    diagnostic = EntropySumDiagnostic(model, guide, num_particles=1)
    pyro.set_rng_seed(3)
    rows = sites_of(diagnostic.run([args]))
    pyro.set_rng_seed(3)
    posterior = TraceEnum_ELBO(max_plate_nesting=1).compute_marginals(model, guide, *args)
    entropy = posterior["assignment"].entropy().mean().item()
    assert rows.loc["encoder", "assignment"]["entropy"] == pytest.approx(entropy, rel=PARITY)
    assert rows.loc["encoder", "assignment"]["entropy_method"] == "closed form"


def test_an_enumerated_label_is_an_exact_average_over_its_values():
    model, guide, args = made("semi-supervised, enumerated")
    rows = sites_of(EntropySumDiagnostic(model, guide, num_particles=2).run([args]))
    probs = torch.softmax(model.__self__.label(args[0]), -1).detach().numpy()
    by_hand = -(probs * np.log(probs)).sum(-1).mean()
    assert rows.loc["encoder", "y"]["entropy"] == pytest.approx(by_hand, rel=PARITY)
    assert rows.loc["prior", "y"]["entropy"] == pytest.approx(np.log(3), rel=PARITY)


def test_sites_that_cannot_be_summed_over_in_turn_are_listed():
    diagnostic = EntropySumDiagnostic(crossed_model, lambda x: None, data_plate="rows")
    report = diagnostic.run([(torch.zeros(3, 2),)])
    turn = "cannot be summed over in turn"
    assert {name for name, why in report.untreated.items() if turn in why} == {"a", "b", "x"}
    assert set(report.sites()["site_name"]) == {"y"}
    assert "without 'a', 'b', 'x'" in report.findings()[0]
    entropy = sites_of(report).loc["decoder", "y"]["entropy"]
    assert entropy == pytest.approx(2 * gaussian_entropy(0.8**2), rel=PARITY)


def test_a_site_without_entropy_adds_to_the_elbo_alone():
    def model(x):
        mean = pyro.sample("mean", dist.ImproperUniform(dist.constraints.real, (), ()))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    def guide(x):
        pyro.sample("mean", dist.Normal(torch.tensor(0.3), 0.5))

    report = EntropySumDiagnostic(model, guide).run([(torch.zeros(4),)])
    assert report["prior_entropy"] == 0
    assert "no entropy" in report.untreated["mean"]
    assert report["encoder_entropy"] == pytest.approx(gaussian_entropy(0.5**2) / 4, rel=PARITY)
    assert report["decoder_entropy"] == pytest.approx(gaussian_entropy(1.0), rel=PARITY)


def test_a_plate_without_a_size_is_the_data_plate_all_the_same():
    model, guide, args = made("schools, easily guided")
    report = EntropySumDiagnostic(model, guide).run([args])
    assert report.untreated.keys() == {"mu", "tau"}
    assert sites_of(report).loc["encoder", "theta"]["entropy"] == pytest.approx(
        gaussian_entropy(1.0), rel=PARITY
    )
