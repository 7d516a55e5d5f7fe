"""The table of Pyro's own examples, with their batches."""

from collections.abc import Callable
from typing import NamedTuple

import pyro
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch.utils.data import DataLoader

from entropy_core.arguments import Arguments
from tests.pyro import host_examples as nets
from tests.pyro import host_examples_shared as shared
from tests.pyro.tutorials import normal_data


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
