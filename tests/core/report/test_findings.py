"""What is said of a report in plain words, and when."""

from dataclasses import replace

import numpy as np
import pytest

from entropy_core.report.findings import findings
from entropy_core.traces.records import LatentTerms, Plate
from entropy_core.training.history import History
from tests.core.conftest import UNIT_NORMAL_ENTROPY
from tests.core.records import report_of, site, trace

N, D, H = 50, 4, 2
DATA = Plate("data", -1, N, N)


def gaussian_report(ratio, *, prior_residual=0.0, plates=(DATA,), known=True, masked=False):
    """A Gaussian decoder whose `sigma` is `ratio` times the best one, without noise."""
    sigma = ratio * 0.3
    entropy = D * (0.5 * np.log(2 * np.pi * sigma**2) + 0.5)
    term = -D * (0.5 * np.log(2 * np.pi * sigma**2) + 0.5 / ratio**2)
    prior = H * UNIT_NORMAL_ENTROPY

    def row(value):
        return np.full(N, value)

    sites = [
        site("z", "encoder", row(0.5), row(0.5), plates),
        site("z", "prior", row(prior_residual - prior), row(prior), plates),
        site("x", "decoder", row(term), row(entropy), plates),
    ]
    if known:
        sites = [
            replace(
                s,
                num_elements=N * dims,
                num_observed=np.array((N - 1) * dims) if masked else None,
            )
            for s, dims in zip(sites, (H, H, D), strict=True)
        ]
    latents = [LatentTerms("z", *(np.full((N, H), v) for v in (0.2, 1.4, 0.9, 0.0)))]
    return report_of([trace(sites, latents if plates else [])] * 2)


def about(found, word):
    (finding,) = [finding for finding in found if word in finding]
    return finding


@pytest.mark.parametrize(("ratio", "off"), [(0.93, "7 % too small"), (1.2, "20 % too large")])
def test_a_gaussian_decoder_is_told_how_far_its_scale_is_off(ratio, off):
    found = findings(gaussian_report(ratio))
    assert findings(gaussian_report(ratio, known=False), {"x": D})[:2] == found[:2]
    wanted = f"one scale for its {D} dimensions, sigma is about {off}: it has not converged"
    assert wanted in about(found, "'x'")


@pytest.mark.parametrize("options", [{"known": False}, {"masked": True}])
def test_without_the_dimensions_it_is_told_the_direction(options):
    found = findings(gaussian_report(0.93, **options))
    assert "sigma is too small: it has not converged, or is not learned" in about(found, "'x'")
    assert "%" not in about(found, "'x'")


def test_totals_tell_no_percentage():
    report = gaussian_report(0.93, plates=())
    assert report.units == "nats"
    assert "%" not in about(findings(report, {"x": D}), "'x'")


def test_a_residual_that_no_gaussian_has_tells_no_percentage():
    found = findings(gaussian_report(3.0), {"x": 1})
    assert "%" not in about(found, "'x'")


def test_the_mean_square_of_the_latents():
    # 1 - 2 r / H
    found = findings(gaussian_report(1.0, prior_residual=-0.3))
    assert "the mean square of its draws is 1.3 times its variance" in about(found, "'z'")


def test_a_converged_site_is_not_mentioned():
    found = findings(gaussian_report(1.0))
    assert not any("'x'" in finding or "'z'" in finding for finding in found)


def test_the_largest_residual_comes_first_and_cancelling_ones_are_told():
    residual = -0.5 * D * (1 - 1 / 0.93**2)
    found = findings(gaussian_report(0.93, prior_residual=residual + 0.01))
    sites = [finding for finding in found if finding.startswith("The site")]
    assert ["'z'" in finding for finding in sites] == [True, False]
    assert "The residuals of 'z', 'x' cancel" in about(found, "cancel")
    assert not any("cancel" in finding for finding in findings(gaussian_report(0.8)))


def noisy_report(gap, noise, num_particles):
    """A gap with given deviations of the particles from it."""
    offsets = noise * np.linspace(-1, 1, num_particles) if num_particles > 1 else [0.0]
    return report_of(
        [
            trace([site("x", "decoder", np.full(N, gap - 7.0 + o), np.full(N, 7.0), [DATA])])
            for o in offsets
        ]
    )


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (noisy_report(0.1, 1.0, 5), "within its Monte-Carlo error"),
        (noisy_report(0.5, 0.1, 5), "above the entropy sum by 0.5 nats, 7.7 % of the ELBO: 14.1"),
        (noisy_report(-0.5, 0.1, 5), "The ELBO is below the entropy sum by 0.5 nats"),
        (noisy_report(0.5, 0.1, 1), "one draw does not tell its Monte-Carlo error"),
        (noisy_report(0.5, 0.0, 5), "does not depend on draws"),
        (noisy_report(0.5, 1e-6, 5), "more than 1000 standard errors"),
    ],
)
def test_the_gap_beside_its_error(report, text):
    found = findings(report)
    assert text in found[0]
    # What is within the error is not told of the site either.
    assert any("'x'" in finding for finding in found) != ("within" in text)


def test_a_factor_has_no_scale():
    report = report_of([trace([site("f", "factor", np.ones(()), np.zeros(()))])])
    assert "The factor 'f' adds 1 nats" in about(findings(report), "'f'")


def test_sites_that_no_sum_holds_come_first(make_report):
    whys = [("c", "left out"), ("z", "no rows"), ("d", "deterministic")]
    first, *_ = findings(make_report(untreated=whys))
    assert first.startswith("The ELBO and the entropy sum are without 'c', ")
    assert not any("without '" in finding for finding in findings(make_report()))


def test_no_claim_comes_first(make_report):
    first, second, *_ = findings(make_report().with_no_claim("free bits"))
    assert "(free bits): a gap is no sign" in first
    assert "gap" in second or "ELBO" in second


@pytest.mark.parametrize(
    ("entropy", "text"),
    [
        ([1.3, 1.4], "All 2 latents have collapsed"),
        ([1.3, 0.1, 1.4], "2 of 3 latents have collapsed, z[0], z[2]:"),
        ([0.1, 0.2], "None of the 2 latents has collapsed"),
        ([1.4] * 9 + [0.0], "z[0], z[1], z[2], z[3], z[4], z[5] and 3 more"),
    ],
)
def test_collapsed_latents_are_named(make_report, entropy, text):
    assert text in about(findings(make_report(entropy)), text)


def test_criteria_that_disagree_are_told():
    means = np.zeros((N, 2))
    means[::2, 0] = 1.0
    latents = [
        LatentTerms(
            "z", np.tile([1.3, 0.1], (N, 1)), np.full((N, 2), 1.4), np.full((N, 2), 0.1), means
        )
    ]
    x = site("x", "decoder", np.full(N, 1.0), np.full(N, -1.0), [DATA])
    found = findings(report_of([trace([x], latents)]))
    assert "disagree on z[0]: collapsed by entropy" in about(found, "z[0]: c")
    assert "disagree on z[1]: not collapsed by entropy" in about(found, "z[1]: n")


def test_a_report_without_latents_says_nothing_of_them(make_report):
    assert not any("collapsed" in finding for finding in findings(make_report([])))


@pytest.mark.parametrize(
    ("misfits", "text"),
    [
        (np.linspace(40, 30, 20), "the ELBO still rose by 2.1 nats"),
        (np.linspace(30, 40, 20), "the ELBO still fell by 2.1 nats"),
        ([40.0] * 5 + [30.0] * 15, None),
        ([40.0, 30.0], None),
    ],
)
def test_training_that_goes_on_is_told(make_report, misfits, text):
    history = History()
    for epoch, misfit in enumerate(misfits, 1):
        history.add(epoch, 0.0, make_report(misfit=float(misfit)))
    found = findings(make_report().with_history(history.to_dataset()))
    assert any("Training was not over" in finding for finding in found) == (text is not None)
    if text:
        assert text in about(found, "Training")
