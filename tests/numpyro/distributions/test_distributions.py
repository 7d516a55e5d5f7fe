"""Distributions of our own, against torch's and Pyro's, sums and draws."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import torch
from jax import random
from jax.test_util import check_grads

import numpyro_entropy
import pyro_entropy
from numpyro_entropy.distributions.one_hot import OneHotCategorical
from tests.support.helpers import PARITY, assert_within_errors, mostly

KEY = random.key(0)
TWO = ["DiscretizedLogistic", "DiscretizedNormal"]


@jax.jit
def moments(fn, value):
    """What is compared with the other side."""
    return fn.log_prob(value), fn.mean, fn.variance, fn.entropy()


DISCRETIZED = pytest.mark.parametrize("name", TWO)
LOC, SCALE = np.array([0.4, -3.0, 0.5, 0.3, 2.0]), np.array([0.1, 0.01, 1e-3, 50.0, 0.3])
LOGITS = np.array([-500.0, -17.0, -0.49, -1e-3, 0.0, 0.01, 0.51, 2.0, 20.0, 500.0])


@DISCRETIZED
@pytest.mark.parametrize("num_levels", mostly([2, 256], [256]))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_sum_to_one(name, num_levels, dtype):
    make = getattr(numpyro_entropy, name)
    fn = make(jnp.asarray(LOC, dtype), jnp.asarray(SCALE, dtype), num_levels)
    levels = fn.enumerate_support()
    assert levels.shape == (num_levels, 5)
    assert levels.dtype == dtype
    log_probs = jax.jit(lambda fn, levels: fn.log_prob(levels))(fn, levels)
    np.testing.assert_allclose(np.exp(log_probs).sum(0), 1, atol=1e-6)


@pytest.mark.parametrize("name", mostly(TWO, ["DiscretizedNormal"]))
def test_discretised_distributions_are_those_of_the_other_side(name):
    fn = getattr(numpyro_entropy, name)(LOC, SCALE)
    twin = getattr(pyro_entropy, name)(torch.tensor(LOC), torch.tensor(SCALE))
    levels = twin.enumerate_support()
    twins = twin.log_prob(levels), twin.mean, twin.variance, twin.entropy()
    for ours, theirs in zip(moments(fn, levels.numpy()), twins, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=PARITY, atol=1e-300)


@pytest.mark.parametrize("name", mostly(TWO, ["DiscretizedLogistic"]))
def test_draws_and_gradients(name):
    make = getattr(numpyro_entropy, name)
    fn = make(jnp.array(0.4), jnp.array(0.1))

    @jax.jit
    def draws_and_moments(fn):
        draws = fn.sample(KEY, (50_000,))
        return draws, fn.support(draws), fn.log_prob(draws), fn.mean, fn.entropy()

    draws, inside, log_probs, mean, entropy = draws_and_moments(fn)
    assert inside.all()
    assert_within_errors(draws, mean.item())
    assert_within_errors(-log_probs, entropy.item())
    check_grads(
        jax.jit(lambda loc, scale: make(loc, scale, 8).entropy()), (0.4, 0.1), 1, modes=["rev"]
    )


@DISCRETIZED
def test_hosts_interface(name):
    fn = getattr(numpyro_entropy, name)(jnp.array([0.1, 0.4]), 0.1, 16)
    assert fn.expand((3, 2)).batch_shape == (3, 2)
    assert fn.to_event(1).event_shape == (2,)
    assert repr(fn.support) == "UnitGrid(num_levels=16)"
    # A distribution is a pytree: what comes out of a transformation is the same one.
    same = jax.jit(lambda fn: fn)(fn)
    assert same.num_levels == 16
    assert same.support == fn.support
    assert not fn.support(jnp.array([0.5, -1 / 15, 16 / 15])).any()


def test_continuous_bernoulli_is_that_of_the_other_side():
    fn = numpyro_entropy.ContinuousBernoulli(LOGITS)
    twin = pyro_entropy.ContinuousBernoulli(torch.tensor(LOGITS))
    value = torch.tensor(0.75).double()
    twins = twin.log_prob(value), twin.mean, twin.variance, twin.entropy()
    for ours, theirs in zip(moments(fn, 0.75), twins, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=PARITY)


def test_continuous_bernoulli_is_torchs_where_that_is_accurate():
    logits = np.array([-6.0, -2.0, -0.3, 0.2, 1.0, 7.0])
    fn = numpyro_entropy.ContinuousBernoulli(logits)
    host = torch.distributions.ContinuousBernoulli(logits=torch.tensor(logits))
    value = torch.tensor(0.75).double()
    hosts = host.log_prob(value), host.mean, host.variance, host.entropy()
    for ours, theirs in zip(moments(fn, 0.75), hosts, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=PARITY, atol=PARITY)


@pytest.mark.parametrize("logit", [-40.0, 0.0, 3.0])
def test_continuous_bernoulli_draws_and_gradients(logit):
    fn = numpyro_entropy.ContinuousBernoulli(jnp.array(logit))
    draws = jax.jit(lambda fn: fn.sample(KEY, (50_000,)))(fn)
    assert fn.support(draws).all()
    assert_within_errors(draws, fn.mean.item())
    mean = jax.grad(lambda x: -numpyro_entropy.ContinuousBernoulli(x).log_prob(0.0))(logit)
    assert mean == pytest.approx(fn.mean.item())


def test_one_hot_categorical():
    logits = np.random.default_rng(0).standard_normal((3, 4))
    fn = OneHotCategorical(jnp.asarray(logits))
    twin = torch.distributions.OneHotCategorical(logits=torch.tensor(logits))
    assert (fn.batch_shape, fn.event_shape) == ((3,), (4,))
    values = np.eye(4)[:3]
    twins = twin.log_prob(torch.tensor(values)), twin.mean, twin.variance, twin.entropy()
    for ours, theirs in zip(moments(fn, values), twins, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=PARITY)
    draws = fn.sample(KEY, (50_000,))
    assert fn.support(draws).all()
    assert_within_errors(draws[:, 1, 2], fn.mean[1, 2].item())
    assert not fn.support(jnp.array([[0.5, 0.5, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])).any()
    # A class that cannot be.
    never = OneHotCategorical(jnp.array([0.0, -1e30]))
    assert (never.entropy(), never.log_prob(jnp.array([1.0, 0.0]))) == (0, 0)


def test_bernoulli_entropy_holds_for_every_logit():
    logits = jnp.array([-200.0, -90.0, -1.0, 0.0, 90.0, 200.0], jnp.float32)
    entropy = numpyro_entropy.entropies.estimate.closed_entropy(dist.Bernoulli(logits=logits))
    exact = torch.distributions.Bernoulli(logits=torch.tensor(np.array(logits))).entropy()
    np.testing.assert_allclose(entropy, exact, rtol=1e-5, atol=1e-30)
