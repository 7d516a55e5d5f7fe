"""Entropies of every distribution of Pyro, against draws of the host."""

import pyro.distributions as dist
import pytest
import torch
import torch.distributions as td

from pyro_entropy.entropies.base_measures import log_base_measure, mean_log_base_measure
from pyro_entropy.entropies.closed_forms import formula_entropy
from pyro_entropy.entropies.counts import counts_entropy
from pyro_entropy.entropies.estimate import (
    closed_entropy,
    entropy_estimate,
    sampled_entropy,
    sampled_entropy_and_error,
)
from tests.pyro.entropy_cases import CASES, SKIPPED, A, B, L, t
from tests.support.entropy_table import (
    CHANGE,
    HOST,
    NONE,
    OURS,
    PAGE,
    SAMPLED,
    missing,
    page,
    stated_errors,
)
from tests.support.helpers import STANDARD_ERRORS

# The host's own, of a few draws from a Wishart distribution in thousands, which it draws again.
pytestmark = pytest.mark.filterwarnings("ignore:Singular sample")

METHODS = {HOST: "closed form", OURS: "closed form", CHANGE: CHANGE, SAMPLED: SAMPLED, NONE: NONE}
NO_SAMPLER = {name for name, case in CASES.items() if case.note == "no sampler"}
every = pytest.mark.parametrize("name", CASES)
# Of these the draws of the test say nothing.
drawn = pytest.mark.parametrize(
    "name", [n for n, c in CASES.items() if c.kind != NONE and n not in NO_SAMPLER]
)
wrapped = pytest.mark.parametrize(
    "name", [n for n, c in CASES.items() if c.kind in (HOST, OURS) and c.wraps]
)


def is_hosts(fn):
    if counts_entropy(fn) is not None or formula_entropy(fn) is not None:
        return False
    try:
        fn.entropy()
    except NotImplementedError:
        return False
    return True


def log_prob(fn, draws):
    # Some have a density for one value at a time.
    if isinstance(fn, dist.Empirical | dist.GaussianScaleMixture):
        return torch.stack([fn.log_prob(draw) for draw in draws])
    return fn.log_prob(draws)


def draw(fn, num):
    if isinstance(fn, dist.SpanningTree):
        return torch.stack([fn.sample() for _ in range(num)])
    cholesky = fn.base_dist if isinstance(fn, dist.LKJ) else fn
    if isinstance(cholesky, td.LKJCholesky):
        # The host draws the squared norm of the row i from Beta(i - 1/2, ...), not Beta(i/2, ...).
        half = 0.5 * torch.arange(cholesky.dim).clamp(min=1)
        cholesky._beta = td.Beta(half.double(), cholesky._beta.concentration0)
    return fn.sample((num,))


def assert_close(found, error, exact, exact_error):
    bound = STANDARD_ERRORS * (error**2 + exact_error**2) ** 0.5 + 1e-9
    assert ((found - exact).abs() <= bound).all(), (found, exact, bound)


def test_every_distribution_is_in_the_table():
    assert not (message := missing(dist, td.Distribution, CASES, SKIPPED)), message


def test_the_page_is_that_of_the_table():
    assert PAGE.read_text() == page(stated_errors()), (
        "write it anew: python -m tests.support.entropy_table"
    )


@every
def test_method(name):
    fn = CASES[name].make()
    found = entropy_estimate(fn, 3)
    assert found.method == METHODS[CASES[name].kind]
    assert found.values.shape == found.error.shape == fn.batch_shape
    if CASES[name].kind in (HOST, OURS):
        assert is_hosts(fn) == (CASES[name].kind == HOST)
        assert not found.error.any()


@drawn
def test_entropy_is_that_of_draws(name):
    fn, num = CASES[name].make(), CASES[name].num
    found = entropy_estimate(fn, num)
    log_probs = log_prob(fn, draw(fn, num))
    assert found.values.dtype == log_probs.dtype
    assert_close(found.values, found.error, -log_probs.mean(0), log_probs.std(0) / num**0.5)


@wrapped
def test_wrappers(name):
    fn = CASES[name].make()
    entropy = closed_entropy(fn)
    if fn.batch_shape:
        torch.testing.assert_close(closed_entropy(fn.to_event(1)), entropy.sum(-1))
        mask = torch.tensor([True, False])
        masked = entropy * mask
        torch.testing.assert_close(closed_entropy(fn.mask(mask)), masked)
        torch.testing.assert_close(closed_entropy(fn.mask(mask).to_event(1)), masked.sum(-1))
    expanded = closed_entropy(fn.expand((3, *fn.batch_shape)))
    torch.testing.assert_close(expanded, entropy.expand(expanded.shape))


@pytest.mark.parametrize("make", [lambda: dist.Poisson(A), lambda: dist.LogisticNormal(L, B)])
def test_sampled_entropy(make):
    fn = make()
    found, error = sampled_entropy_and_error(fn, 50_000)
    exact = entropy_estimate(fn, 50_000)
    assert_close(found, error, exact.values, exact.error)
    torch.manual_seed(1)
    repeated = torch.stack([sampled_entropy(fn, 10) for _ in range(200)])
    torch.manual_seed(1)
    errors = torch.stack([sampled_entropy_and_error(fn, 10)[1] for _ in range(200)])
    assert_close(repeated.var(0), (repeated.var(0) * (2 / 199) ** 0.5), (errors**2).mean(0), 0)


def test_error_of_a_sum_over_events():
    fn = dist.RelaxedBernoulli(t(0.7), logits=L)
    values, error, method = entropy_estimate(fn.to_event(1).mask(torch.tensor(True)), 40_000)
    parts = entropy_estimate(fn, 40_000)
    assert method == CHANGE
    assert_close(values, error, parts.values.sum(), 0)
    torch.testing.assert_close(error, (parts.error**2).sum().sqrt(), rtol=0.05, atol=0)
    assert torch.isnan(entropy_estimate(fn, 1).error).all()


def test_change_of_variables_has_less_variance_than_draws():
    fn = dist.TransformedDistribution(dist.Normal(L, 0.1 * A), td.ExpTransform())
    assert (entropy_estimate(fn, 1000).error < sampled_entropy_and_error(fn, 1000)[1]).all()


def test_constant_jacobians_are_closed():
    scale_tril = t([0.5, 0.0], [0.3, 2.0])
    affine = dist.transforms.LowerCholeskyAffine(t(0.0, 1.0), scale_tril)
    steps = [affine, td.AffineTransform(0.0, t(2.0, 3.0)), affine.inv]
    fn = dist.TransformedDistribution(dist.Normal(L, A).to_event(1), steps)
    exact = dist.Normal(L, A).entropy().sum() + t(6.0).log()
    torch.testing.assert_close(closed_entropy(fn), exact[0])
    chain = td.ComposeTransform([td.AffineTransform(1.0, -2.0), td.AffineTransform(0.0, 4.0)])
    fn = dist.TransformedDistribution(dist.Normal(L, A), chain)
    torch.testing.assert_close(closed_entropy(fn), dist.Normal(L, A).entropy() + t(8.0).log())


def test_the_hosts_object_stays_as_it_was():
    fn = dist.ZeroInflatedPoisson(A, gate_logits=L)
    closed_entropy(fn)
    assert fn.expand((3, 2)).batch_shape == (3, 2)


COUNTS = {
    "poisson": lambda r: dist.Poisson(r),
    "binomial": lambda r: dist.Binomial(t(1, 40), probs=r / 500),
    "multinomial": lambda r: dist.Multinomial(9, probs=torch.stack([r, r + 3, 2 * r], -1)),
    "negative binomial": lambda r: dist.NegativeBinomial(r / 30, logits=t(-2.0, 2.0)),
    "gamma poisson": lambda r: dist.GammaPoisson(r / 30, t(2.0, 0.1)),
}


def support(fn):
    if not isinstance(fn, dist.Multinomial):
        return torch.arange(3000).double()[:, None]
    grid = torch.cartesian_prod(*[torch.arange(10.0)] * 3).double()
    return grid[grid.sum(-1) == 9][:, None]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("rates", [(0.01, 1.0), (8.0, 400.0)])
def test_counts_are_exact(name, rates):
    fn = COUNTS[name](t(*rates))
    values = support(fn)
    top = fn.total_count if isinstance(fn, dist.Binomial) else torch.inf
    possible = (values <= top).all(-1) if name == "multinomial" else (values <= top)
    inside = values if name == "multinomial" else values.clamp(max=top)
    log_p = fn.log_prob(inside)
    p = torch.where(possible, log_p.exp(), 0.0)
    torch.testing.assert_close(p.sum(0), torch.ones_like(p[0]), rtol=1e-10, atol=0)
    exact = -(p * log_p).sum(0)
    torch.testing.assert_close(closed_entropy(fn), exact, rtol=1e-10, atol=1e-12)
    measure = (p * log_base_measure(fn, inside)).sum(0)
    torch.testing.assert_close(mean_log_base_measure(fn), measure, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", COUNTS)
def test_counts_in_single_precision_and_their_gradients(name):
    rates = t(0.4, 70.0)
    exact = closed_entropy(COUNTS[name](rates))
    with torch.no_grad():
        single = closed_entropy(
            {
                "poisson": lambda: dist.Poisson(rates.float()),
                "binomial": lambda: dist.Binomial(t(1, 40).float(), probs=rates.float() / 500),
                "multinomial": lambda: dist.Multinomial(
                    9, probs=COUNTS["multinomial"](rates).probs.float()
                ),
                "negative binomial": lambda: dist.NegativeBinomial(
                    rates.float() / 30, logits=t(-2.0, 2.0).float()
                ),
                "gamma poisson": lambda: dist.GammaPoisson(rates.float() / 30, t(2.0, 0.1).float()),
            }[name]()
        )
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-5)
    rates.requires_grad_()
    assert torch.autograd.gradcheck(lambda r: closed_entropy(COUNTS[name](r)), (rates,))


def test_the_base_measure_is_that_of_the_family():
    """`log p(v) - log h(v)` is linear in the sufficient statistic `v`."""
    v = torch.arange(6).double()
    for fn in (dist.Poisson(t(2.5)), dist.Binomial(5, t(0.3)), dist.NegativeBinomial(2.5, t(0.3))):
        rest = fn.log_prob(v) - log_base_measure(fn, v)
        torch.testing.assert_close(rest.diff(n=2), torch.zeros(4).double(), rtol=0, atol=1e-12)
    wrapped = dist.Poisson(t(1.0, 2.0)).mask(torch.tensor([True, False])).to_event(1)
    torch.testing.assert_close(log_base_measure(wrapped, t(2.0, 3.0)), -t(2.0).log()[0])
    assert mean_log_base_measure(wrapped).shape == ()
    assert log_base_measure(dist.Normal(L, A), L) is None
    assert mean_log_base_measure(dist.Normal(L, A).to_event(1)) is None


@pytest.mark.parametrize("concentration", [1e-6, 0.5, 30.0, 500.0])
def test_von_mises(concentration):
    fn = dist.VonMises(t(0.0), t(concentration))
    x = torch.linspace(-torch.pi, torch.pi, 20_001).double()[:-1]
    log_p = fn.log_prob(x)
    exact = -(log_p.exp() * log_p).mean() * 2 * torch.pi
    # The Bessel function of the host's density has some six digits.
    torch.testing.assert_close(closed_entropy(fn)[0], exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("concentration", [0.01, 1.0, 20.0])
def test_von_mises_3d(concentration):
    fn = dist.VonMises3D(t(0.0, 0.0, concentration))
    cosine = torch.linspace(-1, 1, 200_001).double()
    sine = (1 - cosine**2).sqrt()
    with torch.no_grad():
        fn._validate_args = False
        log_p = fn.log_prob(torch.stack([sine, torch.zeros_like(sine), cosine], -1))
    exact = -torch.trapezoid(log_p.exp() * log_p, cosine) * 2 * torch.pi
    torch.testing.assert_close(closed_entropy(fn), exact, rtol=1e-6, atol=1e-6)


def test_grouped_normal_normal():
    # The joint normal distribution of three data points, two of one group.
    fn = CASES["GroupedNormalNormal"].make()
    same = t([1, 1, 0], [1, 1, 0], [0, 0, 1])
    covariance = torch.eye(3) + same * A[[0, 0, 1]] ** 2
    exact = dist.MultivariateNormal(torch.zeros(3).double(), covariance.double()).entropy()
    torch.testing.assert_close(closed_entropy(fn), exact)


@pytest.mark.parametrize("make", [dist.SoftLaplace, dist.VonMises, dist.Laplace])
def test_float32_stays(make):
    fn = make(L.float(), A.float())
    assert closed_entropy(fn).dtype == torch.float32
    torch.testing.assert_close(
        closed_entropy(fn).double(), closed_entropy(make(L, A)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("fn", "entropy"),
    [
        (dist.ZeroInflatedPoisson(t(3.0), gate=t(1.0)), 0.0),
        # -(1 - p) log(1 - p) of what is left, to first order, with p = sigmoid(20).
        (dist.ZeroInflatedPoisson(t(50.0), gate_logits=t(20.0)), 4.9e-8),
        (dist.ZeroInflatedPoisson(t(3.0), gate=t(0.0)), 1.9311),
    ],
)
def test_zero_inflated_entropies_at_the_ends_of_the_gate(fn, entropy):
    assert closed_entropy(fn).item() == pytest.approx(entropy, rel=0.05, abs=1e-12)
