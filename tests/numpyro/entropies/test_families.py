"""Families of NumPyro's distributions by type: namesakes, subclasses, own densities."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import random
from numpy.testing import assert_allclose
from numpyro.distributions import transforms

from numpyro_entropy import EntropySumDiagnostic, explain_residuals
from numpyro_entropy.distributions.continuous_bernoulli import ContinuousBernoulli
from numpyro_entropy.distributions.one_hot import OneHotCategorical
from numpyro_entropy.entropies.base_measures import log_base_measure, mean_log_base_measure
from numpyro_entropy.entropies.estimate import (
    closed_cross_entropy,
    closed_entropy,
    entropy_estimate,
)
from numpyro_entropy.entropies.families import belongs_to, family, has_own, overrides_density
from numpyro_entropy.entropies.natural import natural_parameters
from tests.support.helpers import IDENTITY, STANDARD_ERRORS

PROBS = jnp.array([0.2, 0.3, 0.5])
RATE = jnp.array([0.5, 4.0])
ZERO = jnp.zeros(2)


class Gamma(dist.Distribution):
    """By its mean and shape, under a name that the host has too."""

    arg_constraints = {"mu": dist.constraints.positive, "k": dist.constraints.positive}  # noqa: RUF012
    support = dist.constraints.positive
    reparametrized_params = ["mu", "k"]  # noqa: RUF012

    def __init__(self, mu, k):
        self.mu, self.k = jnp.broadcast_arrays(mu, k)
        super().__init__(jnp.shape(self.mu))

    def hosts(self):
        return dist.Gamma(self.k, self.k / self.mu)

    def log_prob(self, value):
        return self.hosts().log_prob(value)

    # The host would pass the shape as `sample_shape`.
    def sample(self, key, shape=()):
        return self.hosts().sample(key, shape)


class Error(dist.Normal):
    """A normal distribution under another name."""


class BagOfWords(dist.MultinomialProbs):
    """Without the number of orders."""

    def log_prob(self, value):
        return (jnp.log(self.probs) * value).sum(-1)


class Thinned(dist.Poisson):
    def log_prob(self, value):
        return super().log_prob(value) - 1


class Wide(dist.Normal):
    def log_prob(self, value):
        return dist.Laplace(self.loc, self.scale).log_prob(value)

    def sample(self, key, sample_shape=()):
        return dist.Laplace(self.loc, self.scale).sample(key, sample_shape)


class WideJoint(dist.MultivariateNormal):
    def log_prob(self, value):
        return 2 * super().log_prob(value)


class Rounded(dist.Normal):
    """Its density is the base's, and its draws are not."""

    def sample(self, key, sample_shape=()):
        return jnp.round(super().sample(key, sample_shape))


class Stated(Wide):
    """The density of another, and its entropy with it."""

    def log_prob(self, value):
        return super().log_prob(value)

    def entropy(self):
        return dist.Laplace(self.loc, self.scale).entropy()


class LessInflated(dist.ZeroInflatedPoisson):
    def log_prob(self, value):
        return super().log_prob(value) - 0.5


class Curved(dist.TransformedDistribution):
    def log_prob(self, value, intermediates=None):
        return super().log_prob(value, intermediates) - 0.5


class SoftWide(dist.SoftLaplace):
    def log_prob(self, value):
        return super().log_prob(value) - 0.5


class Biased(dist.BernoulliLogits):
    def log_prob(self, value):
        return super().log_prob(value) - 0.5


OVERRIDDEN = {
    "multinomial": lambda: BagOfWords(PROBS, 20),
    "poisson": lambda: Thinned(RATE),
    "normal": lambda: Wide(ZERO, RATE),
    "draws": lambda: Rounded(ZERO, RATE),
    "zero inflated": lambda: LessInflated(0.3, RATE),
    "transformed": lambda: Curved(dist.Normal(ZERO, RATE), transforms.AffineTransform(0.0, 2.0)),
    "a formula of ours": lambda: SoftWide(ZERO, RATE),
    "bernoulli": lambda: Biased(RATE),
}
overridden = pytest.mark.parametrize("make", OVERRIDDEN.values(), ids=OVERRIDDEN)


@overridden
def test_a_density_of_its_own_is_another_distribution(make):
    fn = make()
    assert overrides_density(fn.to_event(len(fn.batch_shape)))
    assert closed_entropy(fn) is None
    assert closed_entropy(fn.expand((3, *fn.batch_shape))) is None
    assert natural_parameters(fn) is None
    assert mean_log_base_measure(fn) is None
    keys = random.split(random.key(0))
    draws = fn.sample(keys[1], (20_000,))
    assert log_base_measure(fn, draws) is None
    values, error, method = entropy_estimate(keys[0], fn, 20_000)
    assert method == "sampled"
    exact = -fn.log_prob(draws).mean(0)
    assert (np.abs(values - exact) <= 1.5 * STANDARD_ERRORS * error + 1e-9).all()


def test_the_entropy_of_a_bag_of_words():
    values, error, _ = entropy_estimate(random.key(0), BagOfWords(PROBS, 20), 20_000)
    exact = 20 * dist.CategoricalProbs(PROBS).entropy()
    assert abs(values - exact) <= STANDARD_ERRORS * error


def test_an_entropy_that_comes_with_the_density_is_trusted():
    fn = Stated(ZERO, RATE)
    assert_allclose(closed_entropy(fn), dist.Laplace(ZERO, RATE).entropy(), IDENTITY)
    assert natural_parameters(fn) is None
    assert has_own(fn, "entropy")
    assert not has_own(Wide(ZERO, RATE), "entropy")


def test_no_divergence_of_a_density_of_its_own():
    normal, wide = dist.Normal(ZERO, 1.0), Wide(ZERO, RATE)
    assert closed_cross_entropy(normal, Error(ZERO, RATE), ZERO) is not None
    assert closed_cross_entropy(normal, wide, ZERO) is None
    assert closed_cross_entropy(wide, normal, ZERO) is None
    masked = normal.to_event(1).mask(jnp.array(True))
    assert closed_cross_entropy(wide.to_event(1), masked, ZERO) is None
    joint = dist.MultivariateNormal(ZERO, jnp.eye(2))
    assert closed_cross_entropy(joint, normal.to_event(1), ZERO) is not None
    assert closed_cross_entropy(joint, wide.to_event(1), ZERO) is None
    assert closed_cross_entropy(wide.to_event(1), joint, ZERO) is None
    own = WideJoint(ZERO, jnp.eye(2))
    assert closed_cross_entropy(own, normal.to_event(1), ZERO) is None
    assert closed_cross_entropy(normal.to_event(1), own, ZERO) is None
    # Nor of what is made from one.
    exp = transforms.ExpTransform()
    left, right = (dist.TransformedDistribution(fn, exp) for fn in (wide, normal))
    assert closed_cross_entropy(left, right, ZERO + 1) is None
    assert closed_entropy(left) is None
    assert closed_entropy(dist.LeftTruncatedDistribution(wide, 0.0)) is None


def test_an_empty_subclass_is_its_base():
    fn, base = Error(RATE, 0.5), dist.Normal(RATE, 0.5)
    pairs = zip(natural_parameters(fn).scaled, natural_parameters(base).scaled, strict=True)
    for own, exact in pairs:
        assert_allclose(own, exact, IDENTITY)
    assert_allclose(closed_entropy(fn), base.entropy(), IDENTITY)
    assert belongs_to(fn, dist.Normal)
    assert family(fn, {dist.Normal: 1}) == 1


def test_a_namesake_has_nothing_of_the_hosts():
    fn = Gamma(RATE, 2.0)
    assert natural_parameters(fn) is None
    assert closed_entropy(fn) is None
    values, error, _ = entropy_estimate(random.key(0), fn, 20_000)
    assert (np.abs(values - fn.hosts().entropy()) <= STANDARD_ERRORS * error).all()
    assert family(fn, {dist.Gamma: 1}) is None
    assert not overrides_density(fn)


class Unit(Wide):
    """Under the name of what `numpyro.factor` leaves, which has no entropy."""


class Gumbel(Wide):
    """Under the name of one whose entropy is a formula of ours."""


@pytest.mark.parametrize("cls", [Unit, Gumbel])
def test_namesakes_have_the_entropy_of_their_own(cls):
    values, error, method = entropy_estimate(random.key(0), cls(ZERO, RATE), 20_000)
    assert method == "sampled"
    exact = dist.Laplace(ZERO, RATE).entropy()
    assert (np.abs(values - exact) <= STANDARD_ERRORS * error).all()


NATURAL = {
    "of the host": (dist.Poisson(RATE), jnp.log(RATE)),
    "ours": (ContinuousBernoulli(RATE), RATE),
    "one-hot": (OneHotCategorical(jnp.log(PROBS)), jnp.log(PROBS)),
    "another density": (
        dist.NegativeBinomialLogits(2.0, RATE),
        jnp.log(dist.NegativeBinomialProbs(2.0, 1 / (1 + jnp.exp(-RATE))).probs),
    ),
}


@pytest.mark.parametrize("name", NATURAL)
def test_natural_parameters_of_the_hosts_own_subclasses(name):
    fn, exact = NATURAL[name]
    found = natural_parameters(fn).scaled[0]
    assert_allclose(found - found.mean(), exact - exact.mean(), IDENTITY, IDENTITY)


def pair(make):
    def model(x):
        a = numpyro.param("a", 1.0, constraint=dist.constraints.positive)
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(0.0, 1.0))
            numpyro.sample("x", make(z, a), obs=x)

    def guide(x):
        loc = numpyro.param("m", 0.0)
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(loc, 1.0))

    return model, guide


PARAMS = {"a": jnp.array(1.0), "m": jnp.array(0.0)}


def claim_of_x(make, x):
    claims = explain_residuals(random.key(0), PARAMS, *pair(make), x)
    (claim,) = (c for c in claims if "x" in c.sites)
    return claim


@pytest.mark.slow
def test_claims_go_by_the_type():
    x = random.uniform(random.key(1), (50,)) + 0.5
    claim = claim_of_x(lambda z, a: Gamma(jnp.exp(0.1 * z), a), x)
    assert claim.verdict == "no claim"
    assert claim.reason == "Gamma has no natural parameters"
    assert claim_of_x(Error, x).verdict == "not converged"


def test_a_report_samples_the_entropy_of_a_density_of_its_own():
    x = dist.Multinomial(20, PROBS).sample(random.key(1), (200,))
    model, guide = pair(lambda z, a: BagOfWords(PROBS, 20))
    report = EntropySumDiagnostic(model, guide).run(random.key(0), PARAMS, x)
    exact = 20 * dist.CategoricalProbs(PROBS).entropy()
    assert report["decoder_entropy"] == pytest.approx(float(exact), abs=0.2)
