"""Closed forms in either float type against the textbook's in forty digits."""

import mpmath as mp
import numpy as np
import pytest

from entropy_core.entropies import circular, discrete, divergences, gammas, matrices, remainders
from entropy_core.entropies.counts import Poisson
from entropy_core.entropies.truncated import truncated_normal_entropy
from tests.support.helpers import LAST_DIGITS, assert_last_digits
from tests.support.numpy_operations import NUMPY

mp.mp.dps = 40
SHAPES = [1e-5, 0.03, 0.5, 1.0, 1.46, 2.9, 3.1, 9.9, 10.1, 25.0, 1e3, 1e6, 1e10]
types = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def psi(x):
    return mp.digamma(x)


def log_gamma(x):
    return mp.loggamma(x).real


def harmonic(x):
    return mp.digamma(x + 1) + mp.euler


def gamma(a, b):
    return a - mp.log(b) + log_gamma(a) + (1 - a) * psi(a)


def inverse_gamma(a, b):
    return a + mp.log(b) + log_gamma(a) - (1 + a) * psi(a)


def dirichlet(*a):
    total = mp.fsum(a)
    parts = [log_gamma(x) - (x - 1) * psi(x) for x in a]
    return mp.fsum(parts) - log_gamma(total) + (total - len(a)) * psi(total)


def fisher_snedecor(df1, df2):
    a, b = df1 / 2, df2 / 2
    beta_prime = log_gamma(a) + log_gamma(b) - log_gamma(a + b) + (1 - a) * psi(a)
    return beta_prime - (1 + b) * psi(b) + (a + b) * psi(a + b) + mp.log(b / a)


def student_t(dim):
    def entropy(df):
        a, b = df / 2, (df + dim) / 2
        rest = log_gamma(a) - log_gamma(b) + b * (psi(b) - psi(a))
        return rest + dim * mp.log(mp.pi * df) / 2

    return entropy


def kumaraswamy(a, b):
    return 1 - 1 / b + (1 - 1 / a) * harmonic(b) - mp.log(a * b)


def dagum(p, a):
    log_odds = psi(p) + mp.euler
    return -mp.log(a * p) + (1 / a - p) * log_odds + (p + 1) * harmonic(p)


def skew_logistic(a):
    return 1 + harmonic(a) - mp.log(a)


def lkj_cholesky(dim, correlations=False):
    def entropy(eta):
        total = mp.mpf(0)
        for i in range(1, dim):
            a = eta + mp.mpf(dim - 1 - i) / 2
            b = a + mp.mpf(i) / 2
            total += mp.log(mp.pi) * i / 2 + log_gamma(a) - log_gamma(b)
            total -= (a - 1) * (psi(a) - psi(b))
            total += correlations * mp.mpf(dim - 1 - i) / 2 * (psi(a) - psi(b))
        return total

    return entropy


def wishart(df):
    p, n = 3, df + 3
    log_norm = mp.log(mp.pi) * p * (p - 1) / 4 + sum(log_gamma((n - i) / 2) for i in range(p))
    log_det = sum(psi((n - i) / 2) for i in range(p))
    rest = log_norm - (n - p - 1) / 2 * log_det + n * p / 2
    return rest + mp.mpf(p * (p + 1)) / 2 * mp.log(2)


def inverse_wishart(df):
    p, n = 3, df + 3
    log_norm = mp.log(mp.pi) * p * (p - 1) / 4 + sum(log_gamma((n - i) / 2) for i in range(p))
    log_det = sum(psi((n - i) / 2) for i in range(p))
    rest = log_norm - (n + p + 1) / 2 * log_det + n * p / 2
    return rest - mp.mpf(p * (p + 1)) / 2 * mp.log(2)


def wishart_cholesky(df):
    p, n = 3, df + 3
    log_diagonal = [(psi((n - i) / 2) + mp.log(2)) / 2 for i in range(p)]
    return wishart(df) - p * mp.log(2) - sum((p - i) * log_diagonal[i] for i in range(p))


def inverse_wishart_cholesky(df):
    p, n = 3, df + 3
    log_diagonal = [-(psi((n - p + 1 + i) / 2) + mp.log(2)) / 2 for i in range(p)]
    return inverse_wishart(df) - p * mp.log(2) - sum((p - i) * log_diagonal[i] for i in range(p))


def von_mises(k):
    ratio = mp.besseli(1, k) / mp.besseli(0, k)
    return mp.log(2 * mp.pi * mp.besseli(0, k)) - k * ratio


def geometric(p):
    return -mp.log(p) - (1 - p) * mp.log1p(-p) / p if p < 1 else mp.mpf(0)


def of_logits(entropy):
    return lambda logits: entropy(1 / (1 + mp.exp(-logits)))


def bernoulli(p):
    return -p * mp.log(p) - (1 - p) * mp.log(1 - p)


def truncated_poisson(rate):
    top = int(rate + 40 * mp.sqrt(rate + 1)) + 40
    log_probs = [k * mp.log(rate) - log_gamma(mp.mpf(k + 1)) for k in range(1, top)]
    log_probs = [x - mp.log(mp.expm1(rate)) for x in log_probs]
    return -mp.fsum(mp.exp(x) * x for x in log_probs)


def wisharts(function):
    # In the float type of the degrees of freedom: more of them than rows.
    return lambda ops, df: function(ops, df + 3, np.zeros((*df.shape, 3), df.dtype))


LOGITS = [-100.0, -40.0, -12.0, -1.0, 0.0, 3.0, 12.0, 30.0]
PAIRS = [(a, b) for a in (1e-3, 0.4, 2.0, 30.0, 1e4, 1e7) for b in (0.02, 1.0, 5.0, 1e6)]
CASES = {
    "gamma": (gammas.gamma_entropy, gamma, PAIRS),
    "inverse gamma": (gammas.inverse_gamma_entropy, inverse_gamma, PAIRS),
    "beta": (
        lambda ops, a, b: gammas.dirichlet_entropy(ops, np.stack([a, b], -1)),
        dirichlet,
        PAIRS,
    ),
    "F": (gammas.fisher_snedecor_entropy, fisher_snedecor, PAIRS),
    "Student's t": (gammas.student_t_entropy, student_t(1), SHAPES),
    "Student's t of five": (
        lambda ops, df: gammas.student_t_entropy(ops, df, 5),
        student_t(5),
        SHAPES,
    ),
    "Kumaraswamy": (gammas.kumaraswamy_entropy, kumaraswamy, PAIRS),
    "Dagum": (gammas.dagum_entropy, dagum, PAIRS),
    "skew logistic": (gammas.skew_logistic_entropy, skew_logistic, SHAPES),
    "LKJ factor": (
        lambda ops, e: matrices.lkj_cholesky_entropy(ops, e, 4),
        lkj_cholesky(4),
        SHAPES,
    ),
    "LKJ": (lambda ops, e: matrices.lkj_entropy(ops, e, 4), lkj_cholesky(4, True), SHAPES),
    "Wishart": (wisharts(matrices.wishart_entropy), wishart, SHAPES[1:]),
    "Wishart factor": (wisharts(matrices.wishart_cholesky_entropy), wishart_cholesky, SHAPES[1:]),
    "inverse Wishart": (wisharts(matrices.inverse_wishart_entropy), inverse_wishart, SHAPES[1:]),
    "inverse Wishart factor": (
        wisharts(matrices.inverse_wishart_cholesky_entropy),
        inverse_wishart_cholesky,
        SHAPES[1:],
    ),
    "von Mises": (
        circular.von_mises_entropy,
        von_mises,
        [0.0, 1e-4, 0.7, 5.0, 15.9, 16.1, 19.0, 20.1, 1e4, 1e6],
    ),
    "geometric": (discrete.geometric_entropy, geometric, [1e-30, 1e-6, 0.01, 0.5, 0.999, 1.0]),
    "geometric by logits": (
        discrete.geometric_entropy_of_logits,
        of_logits(geometric),
        LOGITS,
    ),
    "Bernoulli": (discrete.bernoulli_entropy, of_logits(bernoulli), LOGITS),
    "Poisson without zero": (
        lambda ops, rate: Poisson(ops, rate).entropy_without_zero(),
        truncated_poisson,
        [1e-8, 1e-3, 0.09, 0.11, 0.999, 20.0],
    ),
    "harmonic": (remainders.harmonic, harmonic, [1e-12, *SHAPES]),
}


@types
@pytest.mark.parametrize("name", CASES)
def test_last_digits(name, dtype):
    formula, exact, arguments = CASES[name]
    columns = np.array(arguments, dtype).reshape(len(arguments), -1).T
    found = formula(NUMPY, *columns)
    assert found.dtype == dtype
    assert_last_digits(found, [exact(*map(mp.mpf, map(float, row))) for row in columns.T])


def truncated_normal(low, high):
    # The textbook's, in the tail where the distribution function is small.
    if low + high < 0:
        low, high = -high, -low
    mass = (mp.erfc(low / mp.sqrt(2)) - mp.erfc(high / mp.sqrt(2))) / 2
    edges = low * mp.npdf(low) - (high * mp.npdf(high) if mp.isfinite(high) else 0)
    return mp.log(mass) + (mp.log(2 * mp.pi) + 1 + edges / mass) / 2


@types
@pytest.mark.parametrize(
    ("low", "width"),
    [
        (0.0, np.inf),
        (3.0, np.inf),
        (100.0, np.inf),
        (1e4, np.inf),
        (-2.0, np.inf),
        (-60.0, np.inf),
        (-1.0, 3.0),
        (-0.5, 1e-3),
        (5.0, 1e-4),
        (50.0, 0.5),
        (-8.0, 2.0),
        (-300.0, 1.0),
    ],
)
def test_truncated_normal(low, width, dtype):
    low, width = np.array([low], dtype), np.array([width], dtype)
    high = (low + width).astype(dtype)
    found = truncated_normal_entropy(NUMPY, low, high, width)
    mirrored = truncated_normal_entropy(NUMPY, -high, -low, width)
    assert found.dtype == dtype
    ends = mp.mpf(float(low[0])), mp.mpf(float(low[0])) + mp.mpf(float(width[0]))
    assert_last_digits(found, [truncated_normal(*ends)])
    np.testing.assert_array_equal(found, mirrored)


def bregman(c, a):
    return log_gamma(c) - log_gamma(a) - (c - a) * psi(a)


def gamma_divergence(a, b, c, d):
    return bregman(c, a) + c * mp.log(b / d) + a * (d / b - 1)


def beta_divergence(a, b, c, d):
    return bregman(c, a) + bregman(d, b) - bregman(c + d, a + b)


def poisson_divergence(a, c):
    return a * mp.log(a / c) - a + c


def binomial_divergence(n, logits, other):
    p, q = (1 / (1 + mp.exp(-x)) for x in (logits, other))
    return n * (p * mp.log(p / q) + (1 - p) * mp.log((1 - p) / (1 - q)))


NEAR = [(a, b, a * c, b * d) for a, b in PAIRS for c, d in ((1.0, 1.0), (1.001, 1.001), (1.5, 0.9))]
FAR = [(*p, *q) for p in PAIRS[::5] for q in PAIRS[::3]]
DIVERGENCES = {
    "gamma": (divergences.gamma_divergence, gamma_divergence, NEAR),
    "beta": (
        lambda ops, a, b, c, d: divergences.dirichlet_divergence(
            ops, np.stack([a, b], -1), np.stack([c, d], -1)
        ),
        beta_divergence,
        NEAR,
    ),
    "gamma, far": (divergences.gamma_divergence, gamma_divergence, FAR),
    "binomial": (
        divergences.binomial_divergence,
        binomial_divergence,
        [(n, a, a + b) for n in (1.0, 1e6) for a in (-14.0, 0.0, 5.0) for b in (0, 0.125, -0.5, 9)],
    ),
    "Poisson": (
        divergences.poisson_divergence,
        poisson_divergence,
        [(a, c) for a in (1e-3, 1.0, 30.0, 1e6) for c in (a, 1.001 * a, 2 * a)],
    ),
}


@types
@pytest.mark.parametrize("name", DIVERGENCES)
def test_divergences(name, dtype):
    formula, exact, arguments = DIVERGENCES[name]
    columns = np.array(arguments, dtype).T
    found = formula(NUMPY, *columns)
    assert found.dtype == dtype
    # Of two distributions, each of which adds its own.
    exact = [exact(*map(mp.mpf, map(float, row))) for row in columns.T]
    assert_last_digits(found, exact, 2 * LAST_DIGITS)
