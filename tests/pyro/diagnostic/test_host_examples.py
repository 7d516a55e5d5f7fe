"""Every look at the models of Pyro's own examples, as their users write them."""

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO, config_enumerate
from pyro.optim import Adam

from pyro_entropy import IWAE_ELBO, EntropySumDiagnostic, fit, log_likelihood, to_datatree
from tests.pyro import host_examples as nets
from tests.pyro import host_examples_shared as shared
from tests.pyro.host_examples_table import EXAMPLES, made, methods, nets_of
from tests.support.helpers import PARITY, STANDARD_ERRORS, mostly

pytestmark = [
    pytest.mark.filterwarnings("ignore:TraceEnum_ELBO found no sample sites"),
    pytest.mark.filterwarnings("ignore:Found vars in model but not guide"),
]


TABLE = pytest.mark.parametrize("name", EXAMPLES)


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@TABLE
def test_the_elbo_is_that_of_the_host_on_the_same_draws(name):
    model, guide, batches, calls = made(name)
    example = EXAMPLES[name]
    diagnostic = EntropySumDiagnostic(
        model, guide, num_particles=1, closed_form=False, data_plate=example.data_plate
    )
    pyro.set_rng_seed(3)
    report = diagnostic.run(batches)
    for net in nets_of(model, guide):
        net.eval()
    pyro.set_rng_seed(3)
    host = -sum(example.host().loss(model, guide, *args, **kwargs) for args, kwargs in calls)
    # What `scale` handlers do to a loss is said, and not done to a report.
    scaled = name in ("annealed", "classifier", "sparse GP")
    found = report["scaled_elbo" if scaled else "elbo"] * (example.num_data or 1)
    assert found == pytest.approx(host, rel=PARITY)
    assert report.units == ("nats" if example.num_data is None else "nats per data point")
    assert ("Handlers scale" in str(report)) == scaled


# Where hundreds of parameters share a site's direction, the search takes seconds.
SLOW = {"annealed", "ragged sequences", "sparse GP", "GPLVM"}


@pytest.mark.parametrize("name", mostly(EXAMPLES, set(EXAMPLES) - SLOW))
def test_no_look_moves_anything(name):
    model, guide, batches, _ = made(name)
    example = EXAMPLES[name]
    store = pyro.get_param_store()

    def state():
        buffers = {n: b for net in nets_of(model, guide) for n, b in net.named_buffers()}
        params = {n: p.detach() for n, p in store.items()}
        return {n: tensor.clone() for n, tensor in (buffers | params).items()}

    before = state()
    diagnostic = EntropySumDiagnostic(model, guide, num_particles=2, data_plate=example.data_plate)
    report = diagnostic.run(batches, explain=True)
    # The parts are there whatever the model, and each site has a claim or the reason why not.
    numbers = report.summary()["mean"].to_numpy()
    assert np.isfinite(numbers).all()
    claims = report.claims()
    sites = {site for claim in claims.index for site in claim.split(", ")}
    if name == "sequential subsample":  # whose sites are other ones in each draw
        assert claims["reason"].str.startswith("some draws lack obs_").all()
    else:
        assert np.isfinite(claims["residual"]).all()
        assert sites >= set(report.sites().query("role in ('prior', 'decoder')")["site_name"])
    if example.refused:
        with pytest.raises(ValueError, match=example.refused):
            to_datatree(model, guide, batches, num_draws=2)
    else:
        tree = to_datatree(model, guide, batches, num_draws=2)
        for values in tree["log_likelihood"].values():
            assert np.isfinite(values).any()
    after = state()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(store[name].unconstrained().grad is None for name in store)


def evaluated(name):
    model, guide, batches, calls = made(name)
    for net in nets_of(model, guide):
        net.eval()
    return model, guide, batches, calls


@pytest.mark.parametrize("name", [n for n, e in EXAMPLES.items() if e.weighted])
@pytest.mark.filterwarnings("ignore:two particles at once")  # BatchNorm1d takes no more dimensions
def test_log_likelihoods_are_those_of_draws_from_the_prior(name):
    model, guide, batches, calls = evaluated(name)
    for net in nets_of(model, guide):
        for parameter in net.parameters():
            # The guide comes near to the prior.
            parameter.data *= 0.3
    for args, kwargs in calls:
        pyro.set_rng_seed(3)
        host = Trace_ELBO().loss(model, guide, *args, **kwargs)
        pyro.set_rng_seed(3)
        assert IWAE_ELBO(1).loss(model, guide, *args, **kwargs) == pytest.approx(host, rel=PARITY)
    # One by one, draws take long.
    num_particles = 60 if name == "BatchNorm" else 2000
    found = log_likelihood(model, guide, batches, num_particles=num_particles)
    start, num_draws = 0, 10000
    for args, _ in calls:
        size = len(args[0])
        # All draws of a data point are rows of one batch.
        wide = [
            arg.repeat(num_draws, *(1,) * (arg.ndim - 1)) if torch.is_tensor(arg) else arg
            for arg in args
        ]
        with torch.no_grad():
            sites = poutine.trace(model).get_trace(*wide).nodes.values()
            log_probs = sum(
                site["fn"].log_prob(site["value"])
                for site in sites
                if site["type"] == "sample" and site["is_observed"]
            )
        densities = log_probs.reshape(num_draws, size).exp()
        error = densities.std(0) / densities.mean(0) / num_draws**0.5
        rows = slice(start, start + size)
        difference = found.values[rows] - densities.mean(0).log().numpy()
        errors = np.hypot(found.standard_errors[rows], error.numpy())
        assert (np.abs(difference) <= STANDARD_ERRORS * errors).all()
        start += size
    assert start == len(found.values)


# What importance weights of each data point are refused with.
REFUSED = {
    "labels, some missing": "`TraceEnum_ELBO` if it is enumerated",
    "annealed": "the same `scale` handler around all sites",
    "topics": "enumerated in the model alone, which the host's `TraceEnum_ELBO`",
    "PyroSample": "outside of it, which `Standard_ELBO` takes",
    "EasyGuide": "outside of it, which `Standard_ELBO` takes",
    "sequential subsample": "a plate that holds all observed sites",
    "sparse GP": "a plate that holds all observed sites",
    "AutoNormalMessenger": "outside of it, which `Standard_ELBO` takes",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_weights_for_each_data_point_is_refused(name):
    model, guide, batches, calls = evaluated(name)
    # The last one needs the most: a batch with labels has nothing to enumerate.
    args, kwargs = calls[-1]
    plate = EXAMPLES[name].data_plate
    with pytest.raises((ValueError, NotImplementedError), match=REFUSED[name]):
        IWAE_ELBO(2, data_plate=plate).loss(model, guide, *args, **kwargs)
    with pytest.raises((ValueError, NotImplementedError), match=REFUSED[name]):
        log_likelihood(model, guide, batches, num_particles=2, data_plate=plate)


def unlabelled():
    net = nets.SSVAE()
    guide = config_enumerate(net.guide, expand=True)
    return (lambda x, total=None: net.model(x)), (lambda x, total=None: guide(x))


TRAINED = {
    "BatchNorm": (lambda: methods(nets.BatchNormVAE()), Trace_ELBO(), (24, 6)),
    "KL": (lambda: methods(nets.BatchNormVAE()), TraceMeanField_ELBO(), (24, 6)),
    "enumerated": (unlabelled, TraceEnum_ELBO(max_plate_nesting=1), (24, 6)),
    **{
        kind.__name__: (lambda kind=kind: shared.messenger(kind), Trace_ELBO(), (24,))
        for kind in shared.MESSENGERS
    },
}


@pytest.mark.parametrize("name", TRAINED)
def test_fit_trains_it_as_the_host_does(name):
    make, loss, shape = TRAINED[name]
    model, guide = make()
    x = nets.binary(*shape)
    options = {"num_epochs": 12, "batch_size": 8, "optim": Adam({"lr": 0.05})}
    losses, report = fit(model, guide, x, loss=loss, progress_bar=False, **options)
    assert losses[-9:].mean() < losses[:9].mean()
    assert np.isfinite(report.summary()["mean"]).all()
    # All have moved, by the host's SVI with each batch's share of the data set.
    store = pyro.get_param_store()
    before = {n: p.detach().clone() for n, p in store.items()}
    svi = SVI(model, guide, Adam({"lr": 0.05}), loss)
    svi.step(x[:8], total=len(x))
    assert {n for n, p in store.items() if not torch.equal(p, before[n])} == set(before)
