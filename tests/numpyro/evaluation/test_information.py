"""`mutual_information` against integrals over the mixture that a batch is."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from jax import random

from numpyro_entropy import (
    MLP,
    VAE,
    VAE1,
    EntropySumDiagnostic,
    FullNormalEncoder,
    NormalDecoder,
    StandardNormalPrior,
)
from numpyro_entropy.evaluation.information import mutual_information
from tests.numpyro.models import initial_params
from tests.support.helpers import HIDDEN, STANDARD_ERRORS, D, H, data

N = 12
# One latent that tells the data apart, one that does so a little, one that has collapsed.
LOC = np.stack([3.0 * np.arange(N), np.linspace(-1, 1, N), np.full(N, 0.3)], -1)
SCALE = np.array([0.1, 0.8, 0.9])
X = jnp.asarray(data(N, 1))


def model(x):
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", dist.Normal(jnp.zeros(3), 1.0).to_event(1))
        numpyro.sample("y", dist.Normal(z.sum(-1), 1.0), obs=x[:, 0])


def guide(x):
    with numpyro.plate("rows", len(x)):
        numpyro.sample("z", dist.Normal(LOC, SCALE).to_event(1))


def wide_guide(x):
    with numpyro.plate("rows", len(x)):
        numpyro.sample("z", dist.Normal(LOC[: len(x)], 3.0).to_event(1))


KEY = random.key(0)


def measure(model, guide, x, **kwargs):
    return mutual_information(KEY, parameters(model, guide, x), model, guide, x, **kwargs)


def parameters(model, guide, x):
    shown = x if jnp.isfinite(x).all() else jnp.zeros_like(x)
    return initial_params(model, guide, shown)


def oracle(h):
    """`I(x; z_h)` and `KL(q(z_h) || p)` by a sum over a fine grid."""
    loc, scale = LOC[:, h, None], SCALE[h]
    z = np.arange(loc.min() - 9 * scale, loc.max() + 9 * scale, scale / 50)
    q = np.exp(-0.5 * ((z - loc) / scale) ** 2) / (scale * np.sqrt(2 * np.pi))
    mixture, step = q.mean(0), z[1] - z[0]
    log_mixture = np.log(np.maximum(mixture, 1e-300))
    entropy = -(mixture * log_mixture).sum() * step
    log_p = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    within = 0.5 * np.log(2 * np.pi * np.e * scale**2)
    return entropy - within, (mixture * (log_mixture - log_p)).sum() * step


def test_each_latent_agrees_with_the_integral():
    found = measure(model, guide, X, num_particles=200)
    assert found["latent"].values.tolist() == ["z[0]", "z[1]", "z[2]"]
    for h, latent in enumerate(found["latent"].values):
        information, marginal = oracle(h)
        row = found.sel(latent=latent)
        for name, wanted in (("mutual_information", information), ("marginal_kl", marginal)):
            mean, error = row[name].values
            assert abs(mean - wanted) <= STANDARD_ERRORS * error + 1e-9
        parts = row["mutual_information"][0] + row["marginal_kl"][0]
        assert row["kl"].item() == pytest.approx(parts.item(), rel=1e-12)
    # No draw of the first lies near another's, and all of the last lie alike.
    np.testing.assert_allclose(found["mutual_information"].values[0], [np.log(N), 0], atol=1e-9)
    np.testing.assert_allclose(found["mutual_information"].values[2], 0, atol=1e-9)


def test_all_together_reach_the_bound_and_no_more():
    found = measure(model, guide, X)
    assert found["bound"] == np.log(N)
    np.testing.assert_allclose(found["total"], [np.log(N), 0], atol=1e-9)
    wide = measure(model, wide_guide, X)["total"][0]
    assert 0 < wide < np.log(N)


def test_pairs_in_chunks_are_the_same(monkeypatch):
    whole = measure(model, wide_guide, X, num_particles=2)
    monkeypatch.setattr(
        "numpyro_entropy.evaluation.information.chunks",
        lambda size, num: [slice(0, 5), slice(5, 6), slice(6, size)],
    )
    parts = measure(model, wide_guide, X, num_particles=2)
    np.testing.assert_allclose(
        parts["mutual_information"], whole["mutual_information"], rtol=1e-9, atol=1e-12
    )


def test_a_full_covariance_has_a_total_only():
    vae = VAE(
        StandardNormalPrior(H),
        FullNormalEncoder(MLP(D, H * (H + 3) // 2, hidden=HIDDEN), H),
        NormalDecoder(MLP(H, D, hidden=HIDDEN)),
        (D,),
    )
    found = measure(vae.model, vae.guide, jnp.asarray(data(N)))
    assert set(found.data_vars) == {"total", "bound"}
    assert 0 < found["total"][0] < found["bound"]


def test_a_report_takes_the_group():
    vae = VAE1(D, H, hidden=HIDDEN)
    x = jnp.asarray(data(N))
    found = measure(vae.model, vae.guide, x)
    report = EntropySumDiagnostic(vae.model, vae.guide).run(
        KEY, parameters(vae.model, vae.guide, x), x
    )
    np.testing.assert_allclose(found["kl"], report.latents()["kl"], rtol=1e-9)
    tree = report.with_groups(xr.DataTree.from_dict({"information": found})).to_datatree()
    assert tree["information"].dataset.identical(found)


def test_one_particle_has_no_error():
    assert np.isnan(measure(model, guide, X, num_particles=1)["total"][1])


@pytest.mark.parametrize(
    ("batch", "options", "match"),
    [
        (X[:1], {}, "at least two data points"),
        (X / 0, {}, "finite values"),
        (X, {"num_particles": 0}, "positive integer for `num_particles`"),
    ],
)
def test_bad_arguments_are_refused(batch, options, match):
    with pytest.raises(ValueError, match=match):
        measure(model, wide_guide, batch, **options)


def test_guides_without_one_latent_for_each_data_point_are_refused():
    def two(x):
        guide(x)
        numpyro.sample("w", dist.Normal(0.0, 1.0))

    def outside(x):
        numpyro.sample("z", dist.Normal(jnp.zeros(3), 1.0).to_event(1))

    def outside_model(x):
        z = numpyro.sample("z", dist.Normal(jnp.zeros(3), 1.0).to_event(1))
        with numpyro.plate("rows", len(x)):
            numpyro.sample("y", dist.Normal(z.sum(-1), 1.0), obs=x[:, 0])

    def two_model(x):
        model(x)
        numpyro.sample("w", dist.Normal(0.0, 1.0))

    with pytest.raises(ValueError, match=r"one latent site for `guide`; got \['z', 'w'\]"):
        measure(two_model, two, X)
    with pytest.raises(ValueError, match="at least two data points, in the data plate alone"):
        measure(outside_model, outside, X)
    masked = numpyro.handlers.mask(guide, mask=jnp.ones(N, bool))
    with pytest.raises(ValueError, match="no masked latents for `guide`; got 'z'"):
        measure(model, masked, X)
