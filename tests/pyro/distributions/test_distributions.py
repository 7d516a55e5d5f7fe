"""Distributions of our own, against the host's, other libraries, sums and draws."""

from unittest.mock import patch

import mpmath
import numpy as np
import pytest
import torch
from scipy.stats import logistic, norm
from torch.autograd import gradcheck

from pyro_entropy import ContinuousBernoulli, DiscretizedLogistic, DiscretizedNormal
from tests.support.helpers import assert_within_errors

DISCRETIZED = pytest.mark.parametrize("make", [DiscretizedLogistic, DiscretizedNormal])
SHAPES = pytest.mark.parametrize(
    ("loc", "scale"), [(0.4, 0.1), (-3.0, 0.01), (0.5, 1e-3), (0.3, 50.0), (2.0, 0.3)]
)


def double(value):
    return torch.tensor(value, dtype=torch.float64)


@DISCRETIZED
@SHAPES
@pytest.mark.parametrize("num_levels", [2, 16, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probabilities_sum_to_one(make, loc, scale, num_levels, dtype):
    fn = make(torch.tensor(loc, dtype=dtype), torch.tensor(scale, dtype=dtype), num_levels)
    levels = fn.enumerate_support()
    assert levels.shape == (num_levels,)
    assert fn.log_prob(levels).exp().sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "scipy"), [(DiscretizedLogistic, logistic), (DiscretizedNormal, norm)]
)
@SHAPES
def test_probabilities_are_those_of_bins_with_open_ends(make, scipy, loc, scale):
    fn = make(double(loc), double(scale))
    levels = fn.enumerate_support().numpy()
    edges = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
    cdf, sf = scipy.cdf(edges, loc, scale), scipy.sf(edges, loc, scale)
    # From the nearer tail, where the difference holds its digits.
    expected = np.where(edges[1:] < loc, np.diff(cdf), -np.diff(sf))
    found = fn.log_prob(torch.from_numpy(levels)).exp().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


@DISCRETIZED
def test_moments_and_entropy_of_the_levels(make):
    fn = make(double([0.4, 0.9]), double([0.1, 0.4]))
    draws = fn.sample((50_000,))
    assert fn.support.check(draws).all()
    for d in range(2):
        assert_within_errors(draws[:, d], fn.mean[d].item())
        assert_within_errors((draws[:, d] - fn.mean[d]) ** 2, fn.variance[d].item())
        assert_within_errors(-fn.log_prob(draws)[:, d], fn.entropy()[d].item())


@DISCRETIZED
def test_gradients_of_discretised_probabilities(make):
    x = double([0.0, 40 / 255, 1.0])
    loc, scale = double([0.1, 0.2, 0.7]).requires_grad_(), double(0.05).requires_grad_()
    assert gradcheck(lambda loc, scale: make(loc, scale).log_prob(x), (loc, scale))
    assert gradcheck(lambda loc, scale: make(loc, scale, 8).entropy(), (loc, scale))


@DISCRETIZED
@pytest.mark.parametrize(
    ("distance", "scale"), [(5, 1e-2), (19.9, 0.05), (25, 0.1), (1e3, 1e-3), (2e4, 1e-4), (1, 1e3)]
)
def test_far_from_the_data_float32_keeps_its_digits(make, distance, scale):
    found = []
    for dtype in (torch.float32, torch.float64):
        spread = torch.tensor(scale, dtype=dtype, requires_grad=True)
        loc = torch.tensor(128 / 255 + distance * scale, dtype=dtype, requires_grad=True)
        log_prob = make(loc, spread).log_prob(torch.tensor(128 / 255, dtype=dtype))
        found.append([log_prob, *torch.autograd.grad(log_prob, (loc, spread))])
    for single, exact in zip(*found, strict=True):
        # Of the inputs' rounding a distance in scales has its share.
        torch.testing.assert_close(single.double(), exact, rtol=1e-4, atol=1e-9)


@DISCRETIZED
def test_hosts_interface(make):
    fn = make(double([0.1, 0.4]), double(0.1), 16)
    assert fn.expand((3, 2)).log_prob(fn.enumerate_support()[:, None]).shape == (16, 3, 2)
    assert fn.enumerate_support(expand=False).shape == (16, 1)
    assert fn.to_event(1).event_shape == (2,)
    assert repr(fn.support) == "UnitGrid(num_levels=16)"
    with pytest.raises(ValueError, match="UnitGrid"):
        fn.log_prob(double([0.5, 0.5]))


def exact_continuous_bernoulli(logit, x):
    """log p(x), mean, variance, entropy in 40 digits."""
    with mpmath.workdps(60):
        eta = mpmath.mpf(logit)
        if eta == 0:
            return 0.0, 0.5, 1 / 12, 0.0
        log_norm = mpmath.log(mpmath.expm1(eta) / eta)
        mean = 1 / (1 - mpmath.exp(-eta)) - 1 / eta
        variance = 1 / eta**2 - mpmath.exp(-eta) / (1 - mpmath.exp(-eta)) ** 2
        return tuple(map(float, (x * eta - log_norm, mean, variance, log_norm - eta * mean)))


@pytest.mark.parametrize(
    "logit", [-500.0, -17.0, -3.0, -0.51, -0.49, -1e-3, 0.0, 1e-9, 0.01, 0.5, 2.0, 20.0, 500.0]
)
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float64, 1e-12), (torch.float32, 3e-5)])
def test_continuous_bernoulli_is_exact(logit, dtype, rel):
    fn = ContinuousBernoulli(torch.tensor(logit, dtype=dtype))
    found = fn.log_prob(torch.tensor(0.75, dtype=dtype)), fn.mean, fn.variance, fn.entropy()
    for value, exact in zip(found, exact_continuous_bernoulli(logit, 0.75), strict=True):
        assert value.item() == pytest.approx(exact, rel=rel, abs=1e-15)


def test_continuous_bernoulli_is_the_hosts_where_that_is_accurate():
    logits = double([-6.0, -2.0, -0.3, 0.2, 1.0, 7.0]).requires_grad_()
    ours, host = ContinuousBernoulli(logits), torch.distributions.ContinuousBernoulli(logits=logits)
    for read in (
        lambda fn: fn.log_prob(torch.full_like(logits, 0.7)),
        lambda fn: fn.mean,
        lambda fn: fn.variance,
        lambda fn: fn.entropy(),
    ):
        torch.testing.assert_close(read(ours), read(host), rtol=1e-9, atol=1e-9)
        gradients = [
            torch.autograd.grad(read(fn).sum(), logits, retain_graph=True)[0] for fn in (ours, host)
        ]
        torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-9)


def test_continuous_bernoulli_gradients_at_zero():
    logits = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(ContinuousBernoulli(logits).mean, logits)
    assert gradient.item() == pytest.approx(1 / 12)


@pytest.mark.parametrize("logit", [-1e7, -1e-2, -1e-5, 0.0, 1e-7, 1e-3, 0.5])
def test_continuous_bernoulli_draws_have_the_gradient_of_the_quantile(logit):
    found = []
    for dtype in (torch.float32, torch.float64):
        logits = torch.full((5,), logit, dtype=dtype, requires_grad=True)
        uniform = torch.linspace(0.1, 0.9, 5, dtype=dtype)
        fn = ContinuousBernoulli(logits)
        with patch("torch.rand", lambda *_, u=uniform, **__: u):
            draws = fn.rsample()
        gradient = torch.autograd.grad(draws.sum(), logits)[0]
        found.append((draws.double(), gradient.double()))
        # The distribution function stays put where the draw and the logit move together.
        with torch.no_grad():
            slope = torch.exp(-ContinuousBernoulli(logits.double()).log_prob(draws.double()))
        assert (gradient >= 0).all()
        assert (gradient.double() <= slope).all()
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("logit", [-40.0, -0.1, 0.0, 3.0])
def test_continuous_bernoulli_draws(logit):
    fn = ContinuousBernoulli(double(logit))
    draws = fn.rsample((200_000,))
    assert fn.support.check(draws).all()
    assert_within_errors(draws, fn.mean.item())
    assert_within_errors((draws - fn.mean) ** 2, fn.variance.item())
