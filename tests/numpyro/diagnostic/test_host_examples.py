"""Every look at the models of NumPyro's own examples, as their users write them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import optax
import pytest
from flax import nnx
from jax import random
from numpyro.infer import SVI, Trace_ELBO, autoguide

from entropy_core.arguments import Arguments
from numpyro_entropy import IWAE_ELBO, EntropySumDiagnostic, fit, log_likelihood, to_datatree
from numpyro_entropy.traces.modes import evaluating
from tests.numpyro import host_examples as nets
from tests.numpyro import host_examples_shared as shared
from tests.numpyro.tutorials import dmm, normal_data
from tests.support.helpers import PARITY, STANDARD_ERRORS, mostly

KEY = random.key(3)

pytestmark = pytest.mark.filterwarnings("ignore:Currently, SVI with Trace_ELBO loss")


class Example(NamedTuple):
    """A model and guide with their batches.

    Args:
        make: Makes the model and the guide.
        batches: Makes their batches, as `EntropySumDiagnostic.run` takes them.
        num_data: How many data points the ELBO is divided by; `None` where no plate has them.
        refused: What the groups for ArviZ are refused with.
        rel: The relative tolerance of the ELBO.
    """

    make: Callable
    batches: Callable
    num_data: int | None
    refused: str | None = None
    rel: float = PARITY


def looked_at(*sizes):
    return lambda: [{"x": nets.binary(size, 6), "train": False} for size in sizes]


def single(*sizes):
    return lambda: [nets.binary(size, 6).astype(np.float32) for size in sizes]


def effects():
    def plates(x, size=4):
        return numpyro.plate("data", len(x), subsample_size=size)

    return nets.effects_model, autoguide.AutoNormal(nets.effects_model, create_plates=plates)


def walk(kind, **kwargs):
    return lambda: shared.walk(lambda model: kind(model, **kwargs))


def trend():
    return [{"x": normal_data(6) / 3, "y": normal_data(6), "degree": 3}]


EXAMPLES = {
    "Linen": Example(nets.linen_vae, looked_at(8, 3), 11),
    "NNX": Example(nets.nnx_vae, single(8, 3), 11, rel=1e-5),
    "labels": Example(nets.ss_vae, lambda: [(nets.binary(4, 6), jnp.arange(4) % 3)], 4),
    "ragged sequences": Example(dmm, lambda: [nets.ragged(3, 2, 1), nets.ragged(2, 2)], 5),
    "subsampled effects": Example(effects, lambda: [normal_data(9)], 9, "which draw rows"),
    "Gaussian process": Example(shared.gp, lambda: [shared.gp_data()], None),
    "random walk": Example(walk(autoguide.AutoNormal), lambda: [shared.returns()], None),
    "AutoDiagonalNormal": Example(
        walk(autoguide.AutoDiagonalNormal), lambda: [shared.returns()], None
    ),
    "AutoIAFNormal": Example(
        walk(autoguide.AutoIAFNormal, hidden_dims=[8]), lambda: [shared.returns()], None
    ),
    "AutoBNAFNormal": Example(
        walk(autoguide.AutoBNAFNormal, hidden_factors=[2, 2]), lambda: [shared.returns()], None
    ),
    "volatility": Example(shared.volatility, lambda: [((5, shared.returns()), {"nu": 4})], None),
    "scopes": Example(shared.scoped, trend, 6),
    "funnel": Example(shared.funnel, lambda: [((3,), {"y": 0.5})], 3),
    "groups": Example(shared.grouped, lambda: [shared.groups()], 7),
    "admissions": Example(shared.admissions, lambda: [shared.admissions_data()], 6),
}


def initial(model, guide, *calls):
    """The parameters and state that the host makes, of all batches."""
    svi = SVI(model, guide, optax.sgd(0.1), Trace_ELBO())
    found = {}
    for args, kwargs in calls:
        state = svi.init(random.key(0), *args, **kwargs)
        found |= svi.get_params(state) | (state.mutable_state or {})
    return found


def made(name):
    example = EXAMPLES[name]
    (model, guide), batches = example.make(), example.batches()
    calls = [Arguments.of(batch) for batch in batches]
    return model, guide, batches, calls, initial(model, guide, *calls)


def loss_of(key, params, model, guide, args, kwargs):
    """The host's, compiled at once."""

    @jax.jit
    def loss(params):
        return Trace_ELBO().loss(key, params, model, guide, *args, **kwargs)

    return loss(params).item()


# Each function of a new model is compiled.
QUICK = ["NNX"]


@pytest.mark.parametrize("name", mostly(EXAMPLES, QUICK))
def test_the_elbo_is_that_of_the_host_on_the_same_draws(name):
    model, guide, batches, calls, params = made(name)
    num_data = EXAMPLES[name].num_data
    diagnostic = EntropySumDiagnostic(model, guide, num_particles=1, closed_form=False)
    report = diagnostic.run(KEY, params, batches)
    host = 0.0
    with evaluating(model, guide):
        for i, (args, kwargs) in enumerate(calls):
            (key,) = random.split(random.fold_in(KEY, i), 1)
            host -= loss_of(key, params, model, guide, args, kwargs)
    assert report["elbo"] * (num_data or 1) == pytest.approx(host, rel=EXAMPLES[name].rel)
    assert report.units == ("nats" if num_data is None else "nats per data point")
    assert "Entropy report" in str(report)


@pytest.mark.parametrize("name", mostly(EXAMPLES, []))
def test_every_look_is_finite_and_moves_nothing(name):
    model, guide, batches, _, params = made(name)
    held = vars(getattr(model, "__self__", object)).values()
    nnx_nets = [net for net in held if isinstance(net, nnx.Module)]
    before = [jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(n, nnx.Param))) for n in nnx_nets]
    given = jax.tree.leaves(params)
    diagnostic = EntropySumDiagnostic(model, guide, num_particles=2)
    report = diagnostic.run(KEY, params, batches, explain=True)
    assert np.isfinite(report.summary()["mean"]).all()
    claims = report.claims()
    sites = {site for claim in claims.index for site in claim.split(", ")}
    assert sites >= set(report.sites().query("role in ('prior', 'decoder')")["site_name"])
    assert np.isfinite(claims["residual"]).all()
    if EXAMPLES[name].refused:
        with pytest.raises(ValueError, match=EXAMPLES[name].refused):
            to_datatree(KEY, params, model, guide, batches, num_draws=2)
    else:
        tree = to_datatree(KEY, params, model, guide, batches, num_draws=2)
        for values in tree["log_likelihood"].values():
            assert np.isfinite(values).any()
    assert all(now is leaf for now, leaf in zip(jax.tree.leaves(params), given, strict=True))
    after = [jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(n, nnx.Param))) for n in nnx_nets]
    jax.tree.map(np.testing.assert_array_equal, after, before)


def labelled_elbos(net, params, x, num_particles):
    """Draws of `log p(x, y, z) - log q(z|x, y)`, z from `q(z|x, y)`, by label and data point."""

    @jax.jit
    @jax.vmap
    def elbo(key, x, y):
        return -Trace_ELBO().loss(key, params, net.model, net.guide, x[None], y[None])

    labels, points, _ = np.indices((3, len(x), num_particles)).reshape(3, -1)
    keys = random.split(random.key(5), len(labels))
    return np.asarray(elbo(keys, x[points], jnp.asarray(labels))).reshape(3, len(x), num_particles)


@pytest.mark.slow
def test_missing_labels_are_averaged_over_exactly():
    """Kingma et al. 2014, Eqs. 6 and 7, of batches with labels and without."""
    net = nets.SSVAE()
    x, y = nets.binary(7, 6), jnp.arange(4) % 3
    batches = [(x[:4], y), x[4:]]
    params = initial(net.model, net.guide, *map(Arguments.of, batches))
    diagnostic = EntropySumDiagnostic(net.model, net.guide, num_particles=100)
    report = diagnostic.run(KEY, params, batches)
    draws = labelled_elbos(net, params, x, 400)
    mean, error = draws.mean(-1), draws.std(-1) / 20
    log_q = np.asarray(jax.nn.log_softmax(net.label(x[4:]))).T
    weights = np.exp(log_q)
    by_hand = mean[np.asarray(y), range(4)].sum() + (weights * (mean[:, 4:] - log_q)).sum()
    errors = [*error[np.asarray(y), range(4)], *(weights * error[:, 4:]).ravel()]
    row = report.summary().loc["ELBO"]
    allowed = STANDARD_ERRORS * np.hypot(row["mcse"], np.linalg.norm(errors) / 7)
    assert abs(row["mean"] - by_hand / 7) <= allowed


@pytest.mark.slow
def test_states_that_a_scan_enumerates_are_listed():
    model, guide = shared.hmm()
    batch = shared.hmm_data()
    params = initial(model, guide, Arguments.of(batch))
    report = EntropySumDiagnostic(model, guide, data_plate="sequences").run(KEY, params, [batch])
    assert "inside of a scan" in report.untreated["x"]
    assert "without 'x'" in report.findings()[0]
    assert np.isfinite(report["elbo"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Linen", "NNX", "ragged sequences"])
def test_log_likelihoods_are_above_the_elbo(name):
    model, guide, batches, calls, params = made(name)
    with evaluating(model, guide):
        for args, kwargs in calls:
            host = Trace_ELBO().loss(KEY, params, model, guide, *args, **kwargs)
            loss = IWAE_ELBO(1).loss(KEY, params, model, guide, *args, **kwargs)
            assert loss.item() == pytest.approx(host.item(), rel=EXAMPLES[name].rel)
    found = log_likelihood(KEY, params, model, guide, batches, num_particles=400)
    report = EntropySumDiagnostic(model, guide, num_particles=20).run(KEY, params, batches)
    # The bound is below it, by the mean of the divergences to the posterior.
    assert len(found.values) == EXAMPLES[name].num_data
    assert report["elbo"] < found.mean < 0


# What importance weights of each data point are refused with.
REFUSED = {
    "subsampled effects": "site 'level' outside of it, which `Standard_ELBO` takes",
    "scopes": "outside of it, which `Standard_ELBO` takes",
    "groups": "outside of it, which `Standard_ELBO` takes",
    "Gaussian process": "a plate that holds all observed sites",
}


@pytest.mark.parametrize("name", mostly(REFUSED, []))
def test_what_has_no_weights_for_each_data_point_is_refused(name):
    model, guide, batches, calls, params = made(name)
    args, kwargs = calls[0]
    with pytest.raises(ValueError, match=REFUSED[name]):
        IWAE_ELBO(2).loss(KEY, params, model, guide, *args, **kwargs)
    with pytest.raises(ValueError, match=REFUSED[name]):
        log_likelihood(KEY, params, model, guide, batches, num_particles=2)


TRAINED = {
    "Linen": (nets.linen_vae, {"encoder$state", "decoder$state"}),
    "NNX": (nets.nnx_vae, {"encoder$state", "decoder$state"}),
}


@pytest.mark.parametrize("name", mostly(TRAINED, ["NNX"]))
def test_fit_trains_it_with_its_state(name):
    make, state = TRAINED[name]
    model, guide = make()
    x = nets.binary(24, 6).astype(np.float32 if name == "NNX" else float)
    options = {"num_epochs": 8, "batch_size": 8, "optim": optax.adam(0.05)}
    result = fit(KEY, model, guide, x, loss=Trace_ELBO(), progress_bar=False, **options)
    assert result.losses[-6:].mean() < result.losses[:6].mean()
    assert np.isfinite(result.report.summary()["mean"]).all()
    assert state <= result.params.keys()
    first = initial(model, guide, Arguments.of(x[:8]))
    assert first.keys() == result.params.keys()
    for site in state:
        before, after = means_of(first[site]), means_of(result.params[site])
        assert before.keys() == after.keys() != set()
        assert all((before[path] != after[path]).any() for path in before)


def means_of(state):
    """The running means, by their places in the state."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    places = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    return {place: leaf for place, leaf in places.items() if "mean" in place}
