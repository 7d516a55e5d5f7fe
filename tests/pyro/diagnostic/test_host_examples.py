"""Every look at the models of Pyro's own examples, as their users write them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO, config_enumerate
from pyro.optim import Adam
from torch.utils.data import DataLoader

from entropy_core.arguments import Arguments
from pyro_entropy import IWAE_ELBO, EntropySumDiagnostic, fit, log_likelihood, to_datatree
from tests.pyro import host_examples as nets
from tests.pyro import host_examples_shared as shared
from tests.pyro.tutorials import normal_data
from tests.support.helpers import PARITY, STANDARD_ERRORS, mostly

pytestmark = [
    pytest.mark.filterwarnings("ignore:TraceEnum_ELBO found no sample sites"),
    pytest.mark.filterwarnings("ignore:Found vars in model but not guide"),
]


class Example(NamedTuple):
    """A model and guide with their batches.

    Args:
        make: Makes the model and the guide.
        batches: Makes their batches, as `EntropySumDiagnostic.run` takes them.
        num_data: How many data points the ELBO is divided by; `None` where no plate has them.
        host: The host's objective.
        weighted: Whether each data point has importance weights of its own.
        refused: What the groups for ArviZ are refused with.
        data_plate: The name of the data plate, where it is not clear.
    """

    make: Callable
    batches: Callable
    num_data: int | None
    host: Callable = Trace_ELBO
    weighted: bool = False
    refused: str | None = None
    data_plate: str | None = None


def methods(net):
    return net.model, net.guide


def dictionaries():
    rows = [{"x": x, "y": y} for x, y in zip(normal_data(6, 2), normal_data(6), strict=True)]
    return list(DataLoader(rows, batch_size=6))


def labelled():
    return [(nets.binary(4, 6), nets.labels(4))]


def ragged(annealing_factor):
    return lambda: [
        (*nets.sequences(*lengths), annealing_factor) for lengths in ((3, 2, 1), (2, 2), (4, 1))
    ]


def enumerated(nesting):
    return lambda: TraceEnum_ELBO(max_plate_nesting=nesting)


def classifier():
    net = nets.SSVAE()
    return net.model_classify, net.guide_classify


DRAWN = "which draw rows"
EXAMPLES = {
    "BatchNorm": Example(
        lambda: methods(nets.BatchNormVAE()),
        lambda: [nets.binary(8, 6), nets.binary(3, 6)],
        11,
        weighted=True,
    ),
    "labels, some missing": Example(
        nets.ss_vae, lambda: [*labelled(), (nets.binary(5, 6),)], 9, enumerated(1)
    ),
    "classifier": Example(classifier, labelled, 4),
    "ragged sequences": Example(lambda: methods(nets.DMM()), ragged(1.0), 7, weighted=True),
    "annealed": Example(lambda: methods(nets.DMM()), ragged(0.25), 7),
    "topics": Example(
        shared.lda,
        lambda: [((shared.words(),), {"args": shared.LDA_ARGS, "batch_size": 2})],
        6,
        enumerated(2),
        refused=DRAWN,
        data_plate="documents",
    ),
    "PyroSample": Example(shared.bayesian_regression, dictionaries, 6),
    "sequential subsample": Example(
        lambda: (shared.coin_model, shared.coin_guide),
        lambda: [nets.binary(9)],
        None,
        refused=DRAWN,
    ),
    "EasyGuide": Example(shared.easy_guide, lambda: [shared.time_series()], 9),
    "sparse GP": Example(lambda: methods(shared.sparse_gp()), lambda: [()], None),
    "GPLVM": Example(lambda: methods(shared.gplvm()), lambda: [()], None),
    **{
        kind.__name__: Example(
            lambda kind=kind: shared.messenger(kind), lambda: [normal_data(5)], 5
        )
        for kind in shared.MESSENGERS
    },
}
TABLE = pytest.mark.parametrize("name", EXAMPLES)


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def made(name):
    example = EXAMPLES[name]
    pyro.set_rng_seed(1)
    (model, guide), batches = example.make(), example.batches()
    calls = [Arguments.of(batch) for batch in batches]
    for args, kwargs in calls:
        # Parameters come to life when they are first read.
        example.host().loss(model, guide, *args, **kwargs)
    return model, guide, batches, calls


def nets_of(*fns):
    owners = {id(owner): owner for owner in (getattr(fn, "__self__", fn) for fn in fns)}
    return [owner for owner in owners.values() if isinstance(owner, torch.nn.Module)]


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
    num_particles = 200 if name == "BatchNorm" else 2000
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
