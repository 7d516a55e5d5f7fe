"""Reports from made-up numbers, through the same sums as those of a diagnostic."""

from types import ModuleType

import numpy as np
import pytest

from entropy_core.accumulate import Accumulator
from entropy_core.groups import CollapseThresholds
from entropy_core.report import EntropyReport
from entropy_core.terms import LatentTerms, Plate, SiteTerms, TraceTerms, elbo_terms, summed
from entropy_core.training import History

NUM_DATA = 4
UNIT_PRIOR = 0.5 * np.log(2 * np.pi * np.e)


def make_report(
    encoder_entropy=(-0.5, 1.35, 0.2),
    prior_entropy=UNIT_PRIOR,
    *,
    misfit=30.0,
    num_particles=2,
    site="z",
    observed="x",
    untreated=(),
):
    """A report whose latents have these entropies, and whose decoder term falls with `misfit`."""
    plates = (Plate("data", -1, NUM_DATA, NUM_DATA),)
    encoder = np.array(encoder_entropy, float)
    prior = np.broadcast_to(prior_entropy, encoder.shape).astype(float)
    ones = np.ones((NUM_DATA, 1))

    def record(name, role, term, entropy):
        term, entropy = np.full(NUM_DATA, term), np.full(NUM_DATA, entropy)
        return SiteTerms(name, role, term, term, entropy, "sampled", "closed form", plates)

    def particle(k):
        records = (
            record(site, "encoder", encoder.sum(), encoder.sum()),
            record(site, "prior", -prior.sum() - 0.25, prior.sum()),
            record(observed, "decoder", 20.0 - misfit + 0.1 * k, -18.0),
        )
        latent = LatentTerms(
            site, ones * encoder, ones * prior, ones * (prior - encoder), ones * encoder
        )
        return TraceTerms(
            elbo_terms(records),
            tuple(summed(record, plates[0]) for record in records),
            (latent,) if len(encoder) else (),
            tuple(untreated),
            plates[0],
        )

    sums = Accumulator()
    sums.add([particle(k) for k in range(num_particles)])
    library = ModuleType("somehost")
    library.__version__ = "1.2.3"
    return EntropyReport.from_accumulator(sums, CollapseThresholds(), library=library)


def train_report(misfits, **kwargs):
    """The last report of a training with these misfits, one an epoch, and its history."""
    history = History()
    for epoch, misfit in enumerate(misfits, start=1):
        report = make_report(misfit=misfit, **kwargs)
        history.add(epoch, -report["elbo"], report)
    return report.with_history(history.to_dataset())


@pytest.fixture(name="make_report")
def _make_report():
    return make_report


@pytest.fixture(name="train_report")
def _train_report():
    return train_report


@pytest.fixture
def report():
    """Three latents, of which one has collapsed and one has a negative entropy, and a history."""
    return train_report(1 + 200 * np.exp(-np.arange(20.0)), site="z", observed="a<b>&c")
