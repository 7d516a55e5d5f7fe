"""Latents as Gaussian channels, in the table of a report."""

import numpy as np
from numpy.testing import assert_allclose

from entropy_core.traces.records import LatentTerms, Plate
from tests.core.records import in_plates, report_of, trace

RNG = np.random.default_rng(0)
N, H = 100, 2
NOISE = RNG.uniform(0.1, 0.9, (N, H))
MEAN = np.sqrt(2) * RNG.standard_normal((N, H))
# The prior has a standard deviation of two.
ENTROPY, PRIOR = 0.5 * np.log(2 * np.pi * np.e * np.stack([4 * NOISE, np.full((N, H), 4.0)]))
KL = 0.5 * (NOISE + MEAN**2 - 1 - np.log(NOISE))
CHANNEL = ["channel_bits", "capacity_bits", "second_moment"]


def batch(rows: slice) -> list:
    """One draw of some data points: of normal latents, and of others."""
    parts = [part[rows] for part in (ENTROPY, PRIOR, KL, 2 * MEAN)]
    latents = [LatentTerms("a", *parts, NOISE[rows]), LatentTerms("b", *parts)]
    size = len(parts[0])
    return [trace([in_plates("x", "decoder", Plate("data", -1, size, size))], latents)]


def table(*batches: slice):
    return report_of(*(batch(rows) for rows in batches)).latents()


def test_normal_latents_are_channels():
    for found in (table(slice(None)), table(slice(0, 30), slice(30, None))):
        a = found[:H]
        assert_allclose(a["channel_bits"], -0.5 * np.log2(NOISE).mean(0))
        assert_allclose(a["capacity_bits"], -0.5 * np.log2(NOISE.mean(0)))
        assert_allclose(a["second_moment"], (NOISE + MEAN**2).mean(0))
        rate = a["channel_bits"] + 0.5 * (a["second_moment"] - 1) / np.log(2)
        assert_allclose(a["kl_bits"], rate)


def test_the_capacity_at_the_mean_noise_is_below_the_channels():
    """By Jensen's inequality."""
    a = table(slice(None))[:H]
    assert (a["capacity_bits"] < a["channel_bits"] - 0.05).all()


def test_other_latents_are_none():
    assert table(slice(None))[H:][CHANNEL].isna().all(axis=None)
    assert_allclose(table(slice(None))[H:]["kl_bits"], KL.mean(0) / np.log(2))
