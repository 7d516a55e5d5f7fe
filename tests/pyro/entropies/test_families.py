"""Families of Pyro's distributions by type: namesakes, subclasses, and densities of one's own."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import torch.distributions as td

from pyro_entropy import EntropySumDiagnostic, explain_residuals
from pyro_entropy.distributions.continuous_bernoulli import ContinuousBernoulli
from pyro_entropy.entropies.base_measures import log_base_measure, mean_log_base_measure
from pyro_entropy.entropies.estimate import closed_cross_entropy, closed_entropy, entropy_estimate
from pyro_entropy.entropies.families import belongs_to, family, has_own, overrides_density
from pyro_entropy.entropies.natural import natural_parameters
from tests.support.helpers import STANDARD_ERRORS

PROBS = torch.tensor([0.2, 0.3, 0.5])
RATE = torch.tensor([0.5, 4.0])


class Gamma(dist.TorchDistribution):
    """By its mean and shape, under a name that the host has too."""

    arg_constraints = {"mean_": dist.constraints.positive, "shape_": dist.constraints.positive}  # noqa: RUF012
    support = dist.constraints.positive
    has_rsample = True

    def __init__(self, mean, shape):
        self.mean_, self.shape_ = td.utils.broadcast_all(mean, shape)
        super().__init__(self.mean_.shape, validate_args=False)

    def hosts(self):
        return td.Gamma(self.shape_, self.shape_ / self.mean_)

    def log_prob(self, value):
        return self.hosts().log_prob(value)

    def rsample(self, sample_shape=()):
        return self.hosts().rsample(sample_shape)

    def entropy(self):
        return self.hosts().entropy()

    def expand(self, batch_shape, _instance=None):
        return Gamma(self.mean_.expand(batch_shape), self.shape_.expand(batch_shape))


class Error(dist.Normal):
    """A normal distribution under another name."""


class BagOfWords(dist.Multinomial):
    """Without the number of orders."""

    def log_prob(self, value):
        return (self.logits * value).sum(-1)


class Thinned(dist.Poisson):
    def log_prob(self, value):
        return super().log_prob(value) - 1


class Wide(dist.Normal):
    def log_prob(self, value):
        return dist.Laplace(self.loc, self.scale).log_prob(value)

    def rsample(self, sample_shape=()):
        return dist.Laplace(self.loc, self.scale).expand(self.batch_shape).rsample(sample_shape)


class WideJoint(dist.MultivariateNormal):
    def log_prob(self, value):
        return 2 * super().log_prob(value)


class Rounded(dist.Normal):
    """Its density is the base's, and its draws are not."""

    def rsample(self, sample_shape=()):
        return super().rsample(sample_shape).round()


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
    def log_prob(self, value):
        return super().log_prob(value) - 0.5


class SoftWide(dist.SoftLaplace):
    def log_prob(self, value):
        return super().log_prob(value) - 0.5


OVERRIDDEN = {
    "multinomial": lambda: BagOfWords(20, PROBS),
    "poisson": lambda: Thinned(RATE),
    "normal": lambda: Wide(torch.zeros(2), RATE),
    "draws": lambda: Rounded(torch.zeros(2), RATE),
    "zero inflated": lambda: LessInflated(RATE, gate=torch.tensor(0.3)),
    "transformed": lambda: Curved(dist.Normal(torch.zeros(2), RATE), td.AffineTransform(0.0, 2.0)),
    "a formula of ours": lambda: SoftWide(torch.zeros(2), RATE),
}
overridden = pytest.mark.parametrize("make", OVERRIDDEN.values(), ids=OVERRIDDEN)


@overridden
def test_a_density_of_its_own_is_another_distribution(make):
    fn = make()
    assert overrides_density(fn.to_event(len(fn.batch_shape)))
    assert closed_entropy(fn) is None
    assert natural_parameters(fn) is None
    assert mean_log_base_measure(fn) is None
    assert log_base_measure(fn, fn.sample()) is None
    torch.manual_seed(0)
    values, error, method = entropy_estimate(fn, 20_000)
    exact = -fn.log_prob(dist.TorchDistribution.__call__(fn, (20_000,))).mean(0)
    assert method == "sampled"
    assert ((values - exact).abs() <= 1.5 * STANDARD_ERRORS * error + 1e-9).all()


def test_the_entropy_of_a_bag_of_words():
    values, error, _ = entropy_estimate(BagOfWords(20, PROBS), 20_000)
    exact = 20 * dist.Categorical(PROBS).entropy()
    assert (values - exact).abs() <= STANDARD_ERRORS * error
    # What the host would say, of the multinomial distribution.
    assert (values - dist.Multinomial(20, PROBS).entropy()).abs() > 16


def test_an_entropy_that_comes_with_the_density_is_trusted():
    fn = Stated(torch.zeros(2), RATE)
    torch.testing.assert_close(closed_entropy(fn), dist.Laplace(torch.zeros(2), RATE).entropy())
    assert natural_parameters(fn) is None
    assert has_own(fn, "entropy")
    assert not has_own(Wide(0.0, 1.0), "entropy")


def test_no_divergence_of_a_density_of_its_own():
    value, normal, wide = torch.zeros(2), dist.Normal(torch.zeros(2), 1.0), Wide(0.0, RATE)
    assert closed_cross_entropy(normal, Error(0.0, RATE), value) is not None
    assert closed_cross_entropy(normal, wide, value) is None
    assert closed_cross_entropy(wide, normal, value) is None
    assert closed_cross_entropy(wide.to_event(1), normal.to_event(1).mask(True), value) is None
    joint = dist.MultivariateNormal(torch.zeros(2), torch.eye(2))
    assert closed_cross_entropy(joint, normal.to_event(1), value) is not None
    assert closed_cross_entropy(joint, wide.to_event(1), value) is None
    own = WideJoint(torch.zeros(2), torch.eye(2))
    assert closed_cross_entropy(own, normal.to_event(1), value) is None
    # Nor of what is made from one.
    exp = td.ExpTransform()
    left, right = (dist.TransformedDistribution(fn, exp) for fn in (wide, normal.expand([2])))
    assert closed_cross_entropy(left, right, value + 1) is None
    assert closed_entropy(left) is None


def test_an_empty_subclass_is_its_base():
    fn, base = Error(RATE, 0.5), dist.Normal(RATE, 0.5)
    torch.testing.assert_close(natural_parameters(fn), natural_parameters(base))
    torch.testing.assert_close(closed_entropy(fn), base.entropy())
    assert belongs_to(fn, td.Normal)
    assert family(fn, {td.Normal: 1}) == 1


def test_a_namesake_has_nothing_of_the_hosts():
    fn = Gamma(RATE, 2.0)
    assert natural_parameters(fn) is None
    torch.testing.assert_close(closed_entropy(fn), fn.entropy())
    assert family(fn, {td.Gamma: 1}) is None
    assert not overrides_density(fn)


NATURAL = {
    "of the host": (dist.Poisson(RATE), RATE.log()),
    "of torch": (td.Poisson(RATE), RATE.log()),
    "other draws": (dist.OneHotCategoricalStraightThrough(PROBS), (PROBS / PROBS.mean()).log()),
    "ours": (ContinuousBernoulli(RATE), RATE),
    "the host's": (dist.ContinuousBernoulli(logits=RATE), RATE),
    "wider support": (dist.ExtendedBinomial(9, logits=RATE), RATE),
}


@pytest.mark.parametrize("name", NATURAL)
def test_natural_parameters_of_the_hosts_own_subclasses(name):
    fn, exact = NATURAL[name]
    found = natural_parameters(fn).scaled[0]
    torch.testing.assert_close(found - found.mean(), exact - exact.mean())


def test_rows_without_data_have_no_natural_parameters():
    assert natural_parameters(dist.NanMaskedNormal(RATE, 1.0)) is None
    joint = dist.NanMaskedMultivariateNormal(RATE, torch.eye(2))
    assert natural_parameters(joint) is None


def pair(make):
    def model(x):
        a = pyro.param("a", torch.tensor(1.0), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", make(z, a), obs=x)

    def guide(x):
        loc = pyro.param("m", torch.tensor(0.0))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, 1.0))

    return model, guide


def claim_of_x(make, x):
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    (claim,) = (c for c in explain_residuals(*pair(make), x) if "x" in c.sites)
    return claim


def test_claims_go_by_the_type():
    x = torch.rand(50) + 0.5
    claim = claim_of_x(lambda z, a: Gamma(torch.exp(0.1 * z), a), x)
    assert claim.verdict == "no claim"
    assert claim.reason.startswith("no direction")
    own, base = claim_of_x(Error, x), claim_of_x(dist.Normal, x)
    assert own.verdict == base.verdict == "not converged"
    error = np.hypot(own.mcse, base.mcse)
    assert abs(own.residual - base.residual) <= STANDARD_ERRORS * error


def test_a_report_samples_the_entropy_of_a_density_of_its_own():
    pyro.set_rng_seed(0)
    x = dist.Multinomial(20, PROBS).sample((200,))
    model, guide = pair(lambda z, a: BagOfWords(20, PROBS))
    report = EntropySumDiagnostic(model, guide).run(x)
    assert report["decoder_entropy"] == pytest.approx(
        20 * dist.Categorical(PROBS).entropy().item(), abs=0.2
    )
