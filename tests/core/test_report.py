"""Tables, files and text of a report against the numbers that it was made from."""

from dataclasses import asdict
from datetime import datetime, timedelta

import arviz_base
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal

from entropy_core.accumulate import Accumulator
from entropy_core.groups import CollapseThresholds
from entropy_core.report import EntropyReport, compare
from entropy_core.terms import LatentTerms, Plate
from tests.core.records import (
    DECODER,
    ENCODER,
    PRIOR,
    accumulated,
    draw,
    in_plates,
    report_of,
    site,
    trace,
    traces,
)

DRAWS = draw()
REASONS = [("w", "not in the data plate alone"), ("v", "no closed form")]
DATA = Plate("data", -1, 3, 3)


def report() -> EntropyReport:
    return report_of(traces(DRAWS, slice(0, 8), untreated=REASONS), traces(DRAWS, slice(8, 20)))


def with_history() -> EntropyReport:
    return report().with_history(
        xr.Dataset({"loss": ("epoch", [2.0, 1.0])}, coords={"epoch": [1, 2], "latent": ["z[0]"]})
    )


def without_latents() -> EntropyReport:
    return report_of(traces(DRAWS, in_plate=False))


REPORTS = pytest.mark.parametrize(
    "make", [report, with_history, without_latents], ids=lambda make: make.__name__
)


def test_summary_is_the_means_and_errors_of_the_sums():
    z, x = DRAWS.terms[:, PRIOR].mean(), DRAWS.terms[:, DECODER].mean()
    encoder, prior, decoder = DRAWS.entropies.mean((0, 2))
    wanted = {
        "ELBO": z + x + encoder,
        "prior term": z,
        "reconstruction term": x,
        "encoder entropy": encoder,
        "prior entropy": prior,
        "decoder entropy": decoder,
        "entropy sum": encoder - prior - decoder,
        "gap": z + x + prior + decoder,
        "residual of z": z + prior,
        "residual of x": x + decoder,
    }
    summary = report().summary()
    assert summary["mean"].to_dict() == pytest.approx(wanted)
    sums = accumulated(traces(DRAWS, slice(0, 8)), traces(DRAWS, slice(8, 20)))
    keys = [*[(name,) for name in sums.moments["elbo",] and list_of_sums(sums)]]
    assert_array_equal(summary["mcse"][:8], [sums.moments[key].estimate[1] for key in keys])


def test_sites_has_a_row_for_each():
    handlers = np.array([0.5, 1, 2])
    x = site("x", "decoder", np.ones(3), np.full(3, 4.0), [DATA, Plate("d", -2, 1, 1)], handlers)
    z, p = in_plates("z", "encoder", DATA), in_plates("z", "prior", DATA)
    table = report_of([trace([z, p, x, site("f", "factor", np.array(6.0), np.zeros(()))])]).sites()
    assert table.index.name == "site"
    assert list(table.index) == ["encoder z", "prior z", "decoder x", "factor f"]
    assert list(table["role"]) == ["encoder", "prior", "decoder", "factor"]
    assert list(table["site_name"]) == ["z", "z", "x", "f"]
    assert list(table["plates"]) == ["data", "data", "data, d", ""]
    assert list(table["handler_scale"]) == ["1.0", "1.0", str(handlers), "1.0"]
    assert set(table["term_method"]) == {"sampled"}
    assert set(table["entropy_method"]) == {"closed form"}
    assert_allclose(table["term"], [z.term.mean(), p.term.mean(), 1, 2])
    assert_allclose(table["entropy"], [z.entropy.mean(), p.entropy.mean(), 4, 0])
    assert_allclose(table["residual"], [np.nan, (p.term + p.entropy).mean(), 5, 2])


def test_sites_has_the_standard_errors():
    table = report_of(traces(DRAWS)).sites()
    for name, values in (("term", DRAWS.terms), ("entropy", DRAWS.entropies)):
        errors = values.mean(2).std(0, ddof=1) / 2
        assert_allclose(table[f"{name}_mcse"], errors)
    errors = (DRAWS.terms + DRAWS.entropies).mean(2).std(0, ddof=1) / 2
    assert_allclose(table["residual_mcse"], [np.nan, *errors[1:]])


def test_latents_has_a_row_for_each_dimension_and_three_criteria():
    """Of a hundred data points: entropies, divergences and means of four dimensions."""
    thresholds = CollapseThresholds(
        entropy_delta=0.5, kl_epsilon=0.1, kl_delta=0.05, active_variance=0.25
    )
    values = np.ones((4, 100, 4))
    values[0] = [0.4, 0.6, 2.0, -3.0]
    values[2, :95, 0] = values[2, :94, 1] = 0.0
    values[3, ::2] = [1.0, 3.0, 1.9, 2.1]
    x = in_plates("x", "decoder", Plate("data", -1, 100, 100))
    latents = [LatentTerms("a", *values[..., :3]), LatentTerms("b", *values[..., 3:])]
    table = report_of([trace([x], latents)], thresholds=thresholds).latents()
    assert list(table.index) == ["a[0]", "a[1]", "a[2]", "b[0]"]
    assert table.index.name == "latent"
    assert_allclose(table["encoder_entropy"], [0.4, 0.6, 2.0, -3.0])
    assert_allclose(table["prior_entropy"], 1)
    assert_allclose(table["kl"], [0.05, 0.06, 1, 1])
    assert_allclose(table["kl_below_epsilon"], [0.95, 0.94, 0, 0])
    assert_allclose(table["variance_of_mean"], [0, 1, 0.45**2, 0.55**2])
    assert list(table["collapsed"]) == [False, True, True, False]
    assert list(table["collapsed_by_kl"]) == [True, False, False, False]
    assert list(table["active"]) == [False, True, False, True]
