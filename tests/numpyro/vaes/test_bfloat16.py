"""Nets that compute in bfloat16, with all else in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from numpyro_entropy import VAE1, Standard_ELBO

KEY = random.key(0)


@pytest.mark.parametrize(
    ("net", "shape", "hidden"),
    [
        ("mlp", (6,), (8,)),
        pytest.param("conv", (1, 4, 4), (3,), marks=pytest.mark.slow),
    ],
)
def test_layers_compute_in_bfloat16_and_nothing_else(net, shape, hidden):
    x = random.uniform(KEY, (5, *shape), jnp.float32)
    options = {"net": net, "hidden": hidden, "dtype": jnp.float32}
    vae = VAE1(shape, 2, compute_dtype=jnp.bfloat16, **options)
    params = vae.init(KEY)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    found, wanted = vae.encode(params, x), VAE1(shape, 2, **options).encode(params, x)
    assert found.mean.dtype == vae.decode(params, found.mean).mean.dtype == jnp.float32
    assert not jnp.array_equal(found.mean, wanted.mean)
    np.testing.assert_allclose(found.mean, wanted.mean, atol=2e-2)
    # The last layer of each net rounds to eight bits.
    assert jnp.array_equal(found.mean, found.mean.astype(jnp.bfloat16).astype(jnp.float32))
    value_and_grad = jax.value_and_grad(
        lambda params: Standard_ELBO().loss(KEY, params, vae.model, vae.guide, x)
    )
    loss, grads = jax.jit(value_and_grad)(params)
    # JAX's floats have 64 bits in these tests, and so do the draws.
    assert loss.dtype == jnp.result_type(float)
    assert {grad.dtype for grad in jax.tree.leaves(grads)} == {jnp.dtype("float32")}


def test_columns_of_unit_length():
    vae = VAE1(6, 2, hidden=(8,), compute_dtype=jnp.bfloat16, dtype=jnp.float32)
    params = vae.init(KEY)
    assert vae.decode(params, jnp.ones((3, 2), jnp.float32)).mean.dtype == jnp.float32


def test_other_types_to_compute_in_are_refused():
    with pytest.raises(ValueError, match=r"expected bfloat16 or None for `compute_dtype`"):
        VAE1(6, 2, compute_dtype=jnp.float16)
