"""What is said of a report in plain words, and when."""

from dataclasses import replace

import numpy as np
import pytest

from entropy_core.report.findings import findings
from entropy_core.theory.claims import SiteClaim
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
    scales = (1.0, 1.0, sigma)
    sites = [
        replace(s, family="Normal", scale=np.full(2, scale))
        for s, scale in zip(sites, scales, strict=True)
    ]
    latents = [LatentTerms("z", *(np.full((N, H), v) for v in (0.2, 1.4, 0.9, 0.0)))]
    return report_of([trace(sites, latents if plates else [])] * 2)


def about(found, word):
    (finding,) = [finding for finding in found if word in finding]
    return finding


@pytest.mark.parametrize(("ratio", "times"), [(0.93, "1.16"), (1.2, "0.694")])
def test_a_normal_decoder_is_told_which_scale_would_do(ratio, times):
    found = findings(gaussian_report(ratio))
    assert findings(gaussian_report(ratio, known=False), {"x": D})[:2] == found[:2]
    text = about(found, "'x'")
    assert f"the squared deviations of its values are {times} times its variances" in text
    assert f"a scale of 0.3 in place of {0.3 * ratio:.3g} would make it zero" in text


@pytest.mark.parametrize("options", [{"known": False}, {"masked": True}])
def test_without_the_dimensions_it_is_told_the_direction(options):
    text = about(findings(gaussian_report(0.93, **options)), "'x'")
    assert "squared deviations of its values are above its variances." in text
    assert "would" not in text


def test_totals_tell_no_scale():
    report = gaussian_report(0.93, plates=())
    assert report.units == "nats"
    assert "above its variances." in about(findings(report, {"x": D}), "'x'")


def test_a_residual_that_no_normal_distribution_has_tells_no_scale():
    text = about(findings(gaussian_report(3.0), {"x": 1}), "'x'")
    assert "below its variances." in text


def test_the_mean_square_of_the_latents():
    # 1 - 2 r / H
    found = findings(gaussian_report(1.0, prior_residual=-0.3))
    assert "squared deviations of its values are 1.3 times its variances" in about(found, "'z'")


FAMILIES = {
    ("Laplace", 0.4): "absolute deviations of its values are 0.9 times its scales",
    ("MultivariateNormal", 0.4): "by its covariance, are 0.8 times what they are to be",
    ("Bernoulli", -0.4): "its probabilities are too sure",
    ("Categorical", 0.4): "its probabilities are not sure enough",
    ("ZeroInflatedPoisson", -0.4): "less probable under it than values of its own would be.",
    ("Gamma", 0.4): "more probable under it than values of its own would be.",
}


@pytest.mark.parametrize(("family", "residual"), FAMILIES)
def test_what_a_residual_means_depends_on_the_family(family, residual):
    x = site("x", "decoder", np.full(N, residual - 7.0), np.full(N, 7.0), [DATA])
    report = report_of([trace([replace(x, family=family, num_elements=N * D)])] * 2)
    text = about(findings(report), "'x'")
    assert FAMILIES[family, residual] in text
    assert "its variances" not in text


def test_a_converged_site_is_not_mentioned():
    found = findings(gaussian_report(1.0))
    assert not any("'x'" in finding or "'z'" in finding for finding in found)


def test_the_largest_residual_comes_first_and_cancelling_ones_are_told():
    residual = -0.5 * D * (1 - 1 / 0.93**2)
    found = findings(gaussian_report(0.93, prior_residual=residual + 0.01))
    sites = [finding for finding in found if finding.startswith("The residual")]
    assert ["'z'" in finding for finding in sites] == [True, False]
    assert "nats cancel ('z', 'x')" in about(found, "cancel")
    assert not any("cancel" in finding for finding in findings(gaussian_report(0.8)))


def test_residuals_of_one_sign_do_not_cancel():
    """Those outside of the data plate are larger by the number of data points."""
    sites = [
        site("a", "prior", np.array(-8.0), np.array(0.5), []),
        site("b", "prior", np.array(-5.0), np.array(0.5), []),
        site("x", "decoder", np.full(N, -1.5), np.full(N, 1.0), [DATA]),
    ]
    assert not any("cancel" in finding for finding in findings(report_of([trace(sites)] * 2)))


def test_sites_of_a_sequence_are_one_finding():
    steps = [
        site(f"x_{t}", "decoder", np.full(N, -1.0 - 0.1 * t), np.full(N, 0.5), [DATA])
        for t in range(10)
    ]
    found = findings(report_of([trace(steps)] * 2))
    text = about(found, "'x_")
    assert "The residual of the 10 sites 'x_0' to 'x_9' is -9.5 nats" in text


def test_a_report_of_thirty_sites_is_one_screen():
    rng = np.random.default_rng(0)
    names = [a + b for a in "abcdef" for b in "vwxyz"]
    sites = [
        site(name, "decoder", rng.normal(size=N), rng.normal(size=N) + i, [DATA])
        for i, name in enumerate(names)
    ]
    report = report_of([trace(sites)] * 2)
    claims = [
        SiteClaim((name,), 1.0, 0.1, 1.0, 0.0, 0.0, 0.0, "not converged", "why") for name in names
    ]
    for made in (report, report.with_claims(claims)):
        assert len(str(made).splitlines()) <= 50
        assert "smaller ones in report.summary()" in str(made)
        assert "more in report.findings()" in str(made)


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


def test_a_factor_has_no_scale_and_no_claim():
    report = report_of([trace([site("f", "factor", np.ones(()), np.zeros(()))])])
    claim = SiteClaim(("f",), 1.0, 0.0, 0.0, 1.0, 0.0, np.nan, "no claim", "a factor")
    for made in (report, report.with_claims([claim])):
        assert "The factor 'f' adds 1 nats" in about(findings(made), "'f'")


def test_what_was_not_looked_at_has_not_been_found_well(make_report):
    report = make_report([0.1])
    w = site("w", "prior", np.full(N, -1.0), np.full(N, 1.0), [DATA])
    latents = [LatentTerms("z", *(np.full((N, 1), v) for v in (0.1, 1.4, 0.9, 0.0)))]
    other = report_of([trace([w], latents)] * 2)
    assert "The latent has not collapsed." in findings(report)
    assert "The latent that could be looked at (not 'w') has not collapsed." in findings(other)


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
        ([1.4], "The latent has collapsed"),
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
