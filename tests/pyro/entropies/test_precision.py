"""Closed forms in float32 at parameters far out, against float64 and against known values."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from pyro_entropy import EntropySumDiagnostic
from pyro_entropy.entropies.base_measures import log_base_measure, mean_log_base_measure
from pyro_entropy.entropies.estimate import closed_cross_entropy, closed_entropy
from tests.pyro.entropy_cases import CASES
from tests.pyro.extreme_cases import EXTREMES, OTHERS, last_digits
from tests.support.entropy_table import HOST, OURS, assert_stated
from tests.support.helpers import LAST_DIGITS, assert_last_digits

# The host's own, of few degrees of freedom.
pytestmark = pytest.mark.filterwarnings("ignore:Low df values")


def f(*values):
    return torch.tensor(values, dtype=torch.float32)


def test_every_closed_form_is_tried_far_out():
    assert EXTREMES.keys() == {n for n, c in CASES.items() if c.kind in (HOST, OURS)}
    assert OTHERS.keys() <= EXTREMES.keys()


@pytest.mark.parametrize("table", [EXTREMES, OTHERS])
def test_float32_has_all_digits_far_out(table):
    assert_stated({name: last_digits(extreme).max() for name, extreme in table.items()})


@pytest.mark.parametrize(
    ("fn", "entropy"),
    [
        (dist.Gamma(f(1e6), f(2.0)), 7.633546),
        (dist.Beta(f(1e6), f(1e6)), -6.528538),
        (dist.Dirichlet(f(1e5, 1e5, 1e5)), -11.421585),
        (dist.StudentT(f(1e7), f(0.0), f(1.0)), 1.418939),
        (dist.Geometric(f(1e-6)), 14.815510),
        (dist.VonMises(f(0.0), f(1e6)), -5.488816),
        (dist.LKJCholesky(2, f(1e4)), -3.532830),
        (dist.FisherSnedecor(f(1e4), f(1e4)), -2.493034),
    ],
)
def test_known_values(fn, entropy):
    assert closed_entropy(fn).item() == pytest.approx(entropy, abs=2e-6)


FLAT = {
    "gamma": lambda a: dist.Gamma(a, a),
    "beta": lambda a: dist.Beta(a, 2 * a),
    "Student's t": lambda a: dist.StudentT(a, a, a),
    "F": lambda a: dist.FisherSnedecor(a, a),
    "Kumaraswamy": lambda a: dist.Kumaraswamy(a, a),
    "von Mises": lambda a: dist.VonMises(a, a),
    "Wishart": lambda a: dist.Wishart(a + 2, scale_tril=torch.eye(2, dtype=a.dtype)),
    "LKJ": lambda a: dist.LKJCholesky(3, a),
    "gamma Poisson": lambda a: dist.GammaPoisson(a, torch.full_like(a, 0.5)),
    "Bernoulli": lambda a: dist.Bernoulli(logits=a - 5),
    "geometric": lambda a: dist.Geometric(logits=a - 5),
    "zero-inflated": lambda a: dist.ZeroInflatedPoisson(a, gate_logits=a),
}


@pytest.mark.parametrize("name", FLAT)
def test_gradients(name):
    """On both sides of every switch between formulas, and finite far from them."""
    a = torch.tensor([0.3, 0.9, 2.9, 3.1, 9.9, 10.1, 15.9, 21.0]).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: closed_entropy(FLAT[name](x)), (a,))
    a = f(1e-4, 1.0, 3.0, 10.0, 16.0, 1e4, 1e7).requires_grad_()
    closed_entropy(FLAT[name](a)).sum().backward()
    assert a.grad.isfinite().all()


def test_gradients_of_certain_outcomes():
    logits = f(-200.0, 200.0).requires_grad_()
    closed_entropy(dist.Bernoulli(logits=logits)).sum().backward()
    closed_entropy(dist.Geometric(logits=logits[1:])).sum().backward()
    assert logits.grad.isfinite().all()


def test_base_measures_of_nearly_poisson_counts():
    """Of `theta` far above the mean `log C(v + theta - 1, v)` is about `v log theta - log v!`."""
    for theta, mean, exact in ((1e7, 5.0, 75.338894), (1e10, 0.5, 11.431862)):
        fn = dist.GammaPoisson(f(theta), f(theta / mean))
        assert mean_log_base_measure(fn).item() == pytest.approx(exact, rel=1e-6)
        measure = log_base_measure(fn, f(3.0)).item()
        assert measure == pytest.approx(3 * math.log(theta) - math.log(6), rel=1e-6)


CROSS = {
    "gamma": (dist.Gamma, (1e6, 1e6), (1.001e6, 1.001e6)),
    "inverse gamma": (dist.InverseGamma, (1e6, 1e6), (1.001e6, 1.001e6)),
    "beta": (dist.Beta, (1e5, 2e5), (1.001e5, 2e5)),
    "Dirichlet": (lambda *a: dist.Dirichlet(torch.stack(a, -1)), (1e5, 2e4), (1.001e5, 2e4)),
    "Poisson": (dist.Poisson, (1e6,), (1.001e6,)),
    "binomial": (lambda x: dist.Binomial(100_000, logits=x), (0.5,), (0.51,)),
    "Bernoulli": (lambda x: dist.Bernoulli(logits=x), (-20.0,), (18.0,)),
    "geometric": (lambda x: dist.Geometric(logits=x), (-14.0,), (-13.0,)),
    "scaled beta": (
        lambda a, b: dist.AffineBeta(a, b, torch.ones_like(a), torch.ones_like(a)),
        (1e5, 2e5),
        (1.001e5, 2e5),
    ),
}


@pytest.mark.parametrize("name", CROSS)
def test_cross_entropies_of_narrow_distributions(name):
    make, *parameters = CROSS[name]

    def cross_entropy(dtype):
        q, p = (make(*(torch.tensor([x], dtype=dtype) for x in f(*xs))) for xs in parameters)
        return np.asarray(closed_cross_entropy(q, p, torch.zeros(1, dtype=dtype)))

    found = cross_entropy(torch.float32)
    assert found.dtype == np.float32
    assert_last_digits(found, cross_entropy(torch.float64), 4 * LAST_DIGITS)


@pytest.mark.parametrize(
    ("q", "p"),
    [
        (dist.Gamma(f(1e6), f(1e6)), dist.Normal(f(0.0), f(1.0))),
        (dist.Beta(f(1e5), f(2e5)), dist.Normal(f(0.0), f(1.0))),
        (dist.Gamma(f(1e6), f(1e6)), dist.Exponential(f(2.0))),
    ],
)
def test_cross_entropies_to_other_families(q, p):
    exact = p.log_prob(q.mean)
    if isinstance(p, dist.Normal):
        exact = exact - 0.5 * q.variance / p.variance
    assert closed_cross_entropy(q, p, f(0.5)).item() == pytest.approx(exact.item(), abs=1e-5)


def test_a_host_divergence_whose_parts_cancel_is_not_taken():
    q, p = dist.Gamma(f(1e6), f(1e6)), dist.Gumbel(f(0.0), f(1.0))
    assert closed_cross_entropy(q, p, f(1.0)) is None


def test_rows_of_other_numbers_of_trials():
    """The host's density takes the number of trials from the value, up to `total_count`."""
    probs = torch.tensor([0.2, 0.3, 0.5]).double()
    value = torch.tensor([[2.0, 3.0, 4.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]).double()
    ragged = dist.Multinomial(9, probs).expand([3])
    alone = [dist.Multinomial(n, probs) for n in (9, 2, 0)]
    for of in (closed_entropy, mean_log_base_measure):
        exact = torch.stack([of(fn) for fn in alone])
        torch.testing.assert_close(of(ragged, value), exact)
        torch.testing.assert_close(of(ragged.to_event(1), value), exact.sum())
    rest = ragged.log_prob(value) - log_base_measure(ragged, value)
    torch.testing.assert_close(rest, (value * probs.log()).sum(-1))

    def model(x):
        with pyro.plate("data", 3):
            pyro.sample("x", dist.Multinomial(9, probs), obs=x)

    report = EntropySumDiagnostic(model, lambda x: None).run([value])
    exact = sum(closed_entropy(fn) for fn in alone) / 3
    assert report["decoder_entropy"] == pytest.approx(exact.item())
