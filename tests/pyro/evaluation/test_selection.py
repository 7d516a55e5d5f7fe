"""`StreamingSelector` on data of known dimension."""

import numpy as np
import pytest
import torch
from pyro.optim import Adam

from entropy_core.evaluation.selection import num_parameters
from entropy_core.theory.closed_form import linear_vae_entropy_sum
from pyro_entropy import Standard_ELBO
from pyro_entropy.evaluation.selection import StreamingSelector

D = 6
RNG = np.random.default_rng(0)
AXES = np.linalg.qr(RNG.standard_normal((D, D)))[0]
# Two directions of different lengths, and noise.
X = RNG.standard_normal((3200, 2)) * [2.0, 1.0] @ AXES[:2] + 0.3 * RNG.standard_normal((3200, D))


def make(latent_dims, **options):
    return StreamingSelector(D, latent_dims, dtype=torch.float64, **options)


def as_batch(x):
    return torch.tensor(x)


@pytest.mark.slow
def test_the_dimension_of_the_data_is_found():
    selector = make([1, 2, 4], optim=Adam({"lr": 0.05}))
    # N is the batch size, as in the paper's code: a penalty that a few hundred steps can tell.
    for batch in np.concatenate([X] * 2).reshape(-1, 32, D):
        bic = selector.update(as_batch(batch))
    assert selector.best == 2
    assert min(bic, key=bic.get) == 2


@pytest.mark.parametrize("count", ["paper", "ppca"])
@pytest.mark.parametrize("num_data", [None, 500])
def test_the_bic_is_that_of_the_parameters(count, num_data):
    selector = make([1, 3], num_data=num_data, count=count)
    bic = selector.update(as_batch(X[:8]))
    num = num_data or 8
    for latent_dim in (1, 3):
        tau, sigma = variances(selector, latent_dim)
        penalty = num_parameters(D, latent_dim, count) * np.log(num)
        wanted = -2 * num * linear_vae_entropy_sum(tau, sigma, D) + penalty
        assert bic[latent_dim] == pytest.approx(wanted, rel=1e-12)


def test_every_linear_vae_takes_a_step():
    selector = make([1, 3], initial_log_variance=-1.0, loss=Standard_ELBO(2))
    before = {h: variances(selector, h) for h in (1, 3)}
    assert all(sigma == pytest.approx(np.exp(-1.0)) for _, sigma in before.values())
    selector.update(as_batch(X[:8]))
    for h, (tau, sigma) in before.items():
        new_tau, new_sigma = variances(selector, h)
        assert (new_tau != tau).all()
        assert new_sigma != sigma


def variances(selector, latent_dim):
    vae = selector.vaes[latent_dim]
    tau, sigma = (part.log_variance.detach().exp().numpy() for part in (vae.encoder, vae.decoder))
    return tau, sigma.item()


def test_before_the_first_step_there_is_no_best():
    with pytest.raises(ValueError, match="at least one call before for `update`"):
        _ = make([1]).best


@pytest.mark.parametrize(
    ("batch", "match"),
    [
        (X[:0], "at least one data point"),
        (X[:4, :5], "5"),
        (np.full((4, D), np.inf), "finite values for `x`"),
    ],
)
def test_bad_batches_are_refused(batch, match):
    selector = make([1])
    before = variances(selector, 1)
    with pytest.raises(ValueError, match=match):
        selector.update(as_batch(batch))
    np.testing.assert_array_equal(variances(selector, 1)[0], before[0])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("latent_dims", "options", "match"),
    [
        ([], {}, "different integers below 6"),
        ([1, 6], {}, "different integers below 6"),
        ([1], {"num_data": 0}, "positive integer for `num_data`"),
        ([1], {"count": "all"}, "for `count`; got 'all'"),
    ],
)
def test_bad_arguments_are_refused(latent_dims, options, match):
    with pytest.raises(ValueError, match=match):
        make(latent_dims, **options)
