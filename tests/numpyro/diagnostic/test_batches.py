"""Batches that differ in sites, enumeration, masks and sizes: none decides for the others."""

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import random
from numpyro import handlers

from numpyro_entropy import EntropySumDiagnostic, explain_residuals
from tests.numpyro.models import Tied
from tests.support.helpers import IDENTITY, PARITY
from tests.support.sums import assert_same_report

# Draws that are the same in each run are decided by two.
TWO = {"num_particles": 2, "max_particles": 2}

KEY = random.key(0)
PARAMS = {
    "spread": jnp.array(1.0),
    "label_scale": jnp.array(2.0),
    "slope": jnp.array(0.4),
}


def model(x, noise, y=None, mask=None):
    """Labels for some, a mask for some, and as many steps as the data have."""
    spread = numpyro.param("spread", jnp.array(1.0), constraint=dist.constraints.positive)
    w = numpyro.sample("w", dist.Normal(0.0, 2.0))
    with numpyro.plate("data", len(x)):
        for t in range(x.shape[1]):
            z = numpyro.sample(f"z_{t}", dist.Normal(0.0, 1.0))
            with handlers.mask(mask=True if mask is None else mask):
                numpyro.sample(f"x_{t}", dist.Normal(w * z, spread), obs=x[:, t])
        if y is not None:
            scale = numpyro.param("label_scale", jnp.array(2.0))
            numpyro.sample("y", dist.Normal(z, scale), obs=y)


def guide(x, noise, y=None, mask=None):
    slope = numpyro.param("slope", jnp.array(0.4))
    numpyro.sample("w", Tied(jnp.array(1.0), jnp.array(0.5), jnp.array(0.3)))
    with numpyro.plate("data", len(x)):
        for t in range(x.shape[1]):
            numpyro.sample(f"z_{t}", Tied(slope * x[:, t], jnp.array(0.7), noise[:, t]))


def data():
    rng = np.random.default_rng(0)
    x, noise = jnp.array(2 * rng.normal(size=(12, 3))), jnp.array(rng.normal(size=(12, 3)))
    y, mask = jnp.array(rng.normal(size=5)), jnp.arange(4) < 3
    return [
        (x[:5, :2], noise[:5, :2], y),
        (x[5:9, :2], noise[5:9, :2], None, mask),
        (x[9:], noise[9:]),
    ]


def test_neither_order_nor_merging_changes_a_report():
    diagnostic = EntropySumDiagnostic(model, guide, num_particles=1)
    whole = diagnostic.run(KEY, PARAMS, data())
    sites = whole.sites()
    residuals = sites["residual"].where(sites["per"] == "data point", sites["residual"] / 12)
    assert residuals.sum() == pytest.approx(whole["gap"], rel=IDENTITY)
    counts = sites["num_data"][["decoder y", "decoder x_1", "prior z_2", "prior w"]]
    assert counts.tolist() == [5, 12, 3, 12]
    assert sites.loc["decoder x_0", "observed"] == pytest.approx(11 / 12)
    for batches in permutations(data()):
        assert_same_report(diagnostic.run(KEY, PARAMS, batches), whole)
        sums = diagnostic.accumulate(KEY, PARAMS, batches[:1])
        sums.merge(diagnostic.accumulate(KEY, PARAMS, batches[1:]))
        assert_same_report(diagnostic.report(sums), whole)


def test_the_elbo_is_that_of_each_batch_by_its_data_points():
    """A site outside the data plate counts once."""
    diagnostic = EntropySumDiagnostic(model, guide, num_particles=1)
    total = 0.0
    for batch in data():
        alone = diagnostic.run(KEY, PARAMS, [batch])
        rows = alone.sites()
        shared = rows[rows["per"] == "data set"]["term"].sum()
        total += len(batch[0]) * alone["elbo"] - shared
    whole = diagnostic.run(KEY, PARAMS, data())
    assert whole["elbo"] == pytest.approx((total + shared) / 12, rel=IDENTITY)


def test_cuts_change_nothing():
    diagnostic = EntropySumDiagnostic(model, guide, num_particles=1)
    cut = [
        tuple(None if arg is None else arg[rows] for arg in batch)
        for batch in data()
        for rows in (slice(0, 1), slice(1, None))
    ]
    assert_same_report(diagnostic.run(KEY, PARAMS, cut), diagnostic.run(KEY, PARAMS, data()))


@pytest.mark.slow  # compiled for each form; the other side has it in each run
def test_claims_are_over_the_batches_that_have_the_site():
    """The first one decides nothing: a site or a parameter that it lacks has its claim."""
    found = []
    for batches in (data(), data()[::-1]):
        claims = explain_residuals(KEY, PARAMS, model, guide, batches, **TWO)
        found.append({c.sites: (c.residual, c.gradient_part, c.verdict) for c in claims})
    whole = EntropySumDiagnostic(model, guide, num_particles=1).run(KEY, PARAMS, data())
    residuals = whole.summary()["mean"]
    assert found[0]["y",][0] == pytest.approx(residuals["residual of y"], rel=IDENTITY)
    assert found[0]["y",][1] == pytest.approx(found[0]["y",][0], rel=PARITY)
    assert found[0]["y",][2] == "not converged"
    assert found[1].keys() == found[0].keys()
    for sites, (residual, part, verdict) in found[1].items():
        assert residual == pytest.approx(found[0][sites][0], rel=IDENTITY)
        assert verdict == found[0][sites][2]
        if verdict == "not converged":
            assert part == pytest.approx(found[0][sites][1], rel=PARITY)


def test_a_parameter_that_only_a_later_batch_asks_for_must_be_there():
    """NumPyro would draw it anew and not say so."""
    params = {name: value for name, value in PARAMS.items() if name != "label_scale"}
    batches = data()[::-1]
    with pytest.raises(ValueError, match=r"the parameters \['label_scale'\] for `params`"):
        EntropySumDiagnostic(model, guide).run(KEY, params, batches)
    with pytest.raises(ValueError, match=r"the parameters \['label_scale'\] for `params`"):
        explain_residuals(KEY, params, model, guide, batches)


def labelled(x, c=None):
    with numpyro.plate("data", len(x)):
        c = numpyro.sample("c", dist.BernoulliProbs(0.3), obs=c)
        numpyro.sample("x", dist.Normal(c, 1.0), obs=x)


def label_guide(x, c=None):
    if c is None:
        with numpyro.plate("data", len(x)):
            q = dist.BernoulliProbs(jax.nn.sigmoid(x))
            numpyro.sample("c", q, infer={"enumerate": "parallel"})


def test_a_site_may_be_enumerated_in_some_batches():
    x, c = jnp.array([0.5, -1.0, 2.0]), jnp.array([1, 0])
    batches = [(x[:2], c), (x,)]
    diagnostic = EntropySumDiagnostic(labelled, label_guide, num_particles=1)
    reports = [diagnostic.run(KEY, {}, order) for order in permutations(batches)]
    assert_same_report(*reports)
    # By hand: an exact average over both values where there is no label.
    q, normal = jax.nn.sigmoid(x), dist.Normal(0.0, 1.0)
    prior, log_lik = jnp.log(jnp.array([0.7, 0.3])), normal.log_prob(x - jnp.array([[0.0], [1.0]]))
    weights = jnp.stack([1 - q, q])
    free = (weights * (prior[:, None] + log_lik - jnp.log(weights))).sum()
    known = (prior[c] + normal.log_prob(x[:2] - c)).sum()
    assert reports[0]["elbo"] == pytest.approx(((free + known) / 5).item(), rel=IDENTITY)
    assert reports[0].sites().loc["encoder c", "num_data"] == 3
    assert {"residual of c (prior)", "residual of c (decoder)"} < {*reports[0].summary().index}
    # Drawn or observed, all of them have it.
    assert not any(finding.startswith("Only") for finding in reports[0].findings())


def test_plates_of_their_own_for_each_kind_of_batch():
    def kinds(x, plate):
        with numpyro.plate(plate, len(x)):
            z = numpyro.sample("z", dist.Normal(0.0, 1.0))
            numpyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def mean(x, plate):
        with numpyro.plate(plate, len(x)):
            numpyro.sample("z", Tied(x / 2, jnp.array(0.5), 0 * x))

    x = jnp.array([1.0, -2.0, 0.5, 3.0])
    diagnostic = EntropySumDiagnostic(kinds, mean, num_particles=1)
    batches = [(x[:1], "labelled"), (x[1:], "unlabelled")]
    whole = diagnostic.run(KEY, {}, [(x, "all")])
    for order in permutations(batches):
        report = diagnostic.run(KEY, {}, order)
        assert report["elbo"] == pytest.approx(whole["elbo"], rel=IDENTITY)
        assert report.size == "4 data points"
        assert report.attrs["data_plate"] == "labelled, unlabelled"


def test_rows_of_latents_are_over_the_batches_that_have_them():
    def plain(x):
        with numpyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                numpyro.sample(f"z_{t}", dist.Normal(x[:, t] / 2, 0.5))

    def steps(x):
        model(x, None)

    def with_weight(x):
        numpyro.sample("w", dist.Normal(1.0, 0.5))
        plain(x)

    batches = [batch[0] for batch in data()]
    diagnostic = EntropySumDiagnostic(steps, with_weight, num_particles=1)
    rows = diagnostic.run(KEY, PARAMS, batches).latents()
    alone = diagnostic.run(KEY, PARAMS, batches[2:]).latents().loc["z_2[0]"]
    assert rows.loc["z_2[0]"].equals(alone)
    assert rows["num_data"].to_dict() == {"z_0[0]": 12, "z_1[0]": 12, "z_2[0]": 3}
    other = diagnostic.run(KEY, PARAMS, batches[::-1]).latents()
    for name in ("kl", "variance_of_mean", "encoder_entropy"):
        np.testing.assert_allclose(other.loc[rows.index, name], rows[name], rtol=1e-12)


def test_latents_of_other_widths_have_no_rows():
    def wide(x):
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(jnp.zeros_like(x), 1.0).to_event(1))
            numpyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def mean(x):
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(x / 2, 1.0).to_event(1))

    x = data()[0][0]
    for order in permutations([x, x[:, :1]]):
        report = EntropySumDiagnostic(wide, mean, num_particles=1).run(KEY, {}, order)
        assert report.latents().empty
        assert report.untreated == {"z": "its number of dimensions differs between batches"}
        assert report.sites()["num_dims"].tolist() == [0, 0, 0]


def test_the_report_says_which_sites_some_batches_lack():
    steps, label, *_ = EntropySumDiagnostic(model, guide).run(KEY, PARAMS, data()).findings()
    assert steps.startswith("Only 3 of 12 data points have 'z_2', 'x_2': in the means over all")
    assert label.startswith("Only 5 of 12 data points have 'y': in the means over all data the")
