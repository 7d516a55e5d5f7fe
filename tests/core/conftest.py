"""Reports with given entropies and a given course of training, for the tests of what shows them."""

import numpy as np
import pytest

from entropy_core.traces.records import LatentTerms, Plate
from entropy_core.training.history import History
from tests.core.records import report_of, site, trace

NUM_DATA = 4
PLATES = (Plate("data", -1, NUM_DATA, NUM_DATA),)
UNIT_NORMAL_ENTROPY = 0.5 * np.log(2 * np.pi * np.e)


def _report(
    encoder_entropy=(-0.5, 1.35, 0.2),
    prior_entropy=UNIT_NORMAL_ENTROPY,
    *,
    misfit=30.0,
    num_particles=2,
    observed="x",
    untreated=(),
):
    encoder = np.array(encoder_entropy, float)
    prior = np.broadcast_to(prior_entropy, encoder.shape)

    def record(name, role, term, entropy):
        return site(name, role, np.full(NUM_DATA, term), np.full(NUM_DATA, entropy), PLATES)

    def particle(k):
        sites = [
            record("z", "encoder", encoder.sum(), encoder.sum()),
            record("z", "prior", -prior.sum() - 0.25, prior.sum()),
            record(observed, "decoder", 20.0 - misfit + 0.1 * k, -18.0),
        ]
        values = (encoder, prior, prior - encoder, encoder)
        latents = [LatentTerms("z", *(np.tile(value, (NUM_DATA, 1)) for value in values))]
        return trace(sites, latents if encoder.size else [], untreated)

    return report_of([particle(k) for k in range(num_particles)])


@pytest.fixture(scope="session")
def make_report():
    """Makes a report with a row for each entropy; its ELBO falls with `misfit`."""
    return _report


@pytest.fixture(scope="session")
def train_report():
    """Makes a report with a history: a row for each of the misfits."""

    def train(misfits, **kwargs):
        history = History()
        for epoch, misfit in enumerate(misfits, start=1):
            report = _report(misfit=misfit, **kwargs)
            history.add(epoch, -report["elbo"], report)
        return report.with_history(history.to_dataset())

    return train
