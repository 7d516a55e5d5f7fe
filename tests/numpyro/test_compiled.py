"""What has been compiled once is not compiled again, and nothing else is taken for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from numpyro_entropy import (
    VAE1,
    EntropySumDiagnostic,
    explain_residuals,
    laplace_log_evidence,
    log_likelihood,
    mutual_information,
)
from numpyro_entropy.compiled import compiled

KEY = random.key(0)
COMPILED = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: COMPILED.append(event) if "backend_compile" in event else None
)

X = random.uniform(KEY, (30, 3))


def vae_and_params():
    # Another one each time, as a user's script makes it anew.
    vae = VAE1(3, 1, hidden=(2,))
    return vae, vae.init(KEY)


def explained(vae, params):
    return explain_residuals(KEY, params, vae.model, vae.guide, X, num_particles=2)


LOOKS = {
    "explain": explained,
    "diagnostic": lambda vae, params: EntropySumDiagnostic(vae.model, vae.guide).run(
        KEY, params, X
    ),
    "likelihood": lambda vae, params: log_likelihood(
        KEY, params, vae.model, vae.guide, X, num_particles=20
    ),
    "Laplace": lambda vae, params: laplace_log_evidence(params, vae.model, vae.guide, X),
    "information": lambda vae, params: mutual_information(KEY, params, vae.model, vae.guide, X),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_second_look_compiles_nothing(name):
    LOOKS[name](*vae_and_params())
    vae, params = vae_and_params()
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    COMPILED.clear()
    LOOKS[name](vae, params)
    assert not COMPILED


def test_programs_differ_where_their_constants_do():
    def times(factor):
        return compiled(lambda x: {"y": (x * factor).sum()})

    x, one = jnp.ones(1000), np.ones(1000)
    other = one.copy()
    other[500] = 2.0
    assert times(one)(x)["y"] == 1000
    assert times(other)(x)["y"] == 1001
    COMPILED.clear()
    assert times(one.copy())(x)["y"] == 1000
    assert not COMPILED


def test_what_a_program_returns_keeps_its_names():
    """Of two with one program, each has the tree of its own function."""
    left, right = compiled(lambda x: {"a": x + 1}), compiled(lambda x: {"b": x + 1})
    assert left(1.0) == {"a": 2.0}
    assert right(1.0) == {"b": 2.0}


def test_calls_back_to_python_go_to_their_own_function():
    def through(value):
        def back(x):
            return np.asarray(value, x.dtype) + np.asarray(x)

        def run(x):
            return jax.pure_callback(back, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

        return compiled(run)

    first, second = through(1.0), through(2.0)
    assert first(jnp.zeros(())) == 1.0
    assert second(jnp.zeros(())) == 2.0


def test_shapes_and_types_have_programs_of_their_own():
    double, ones = compiled(lambda x: 2 * x), jnp.ones(2)
    for value in (ones, jnp.ones(3), jnp.ones(2, jnp.int32), 1.0, 3, np.float32(2), True, ones):
        found, jitted = double(value), jax.jit(lambda x: 2 * x)(value)
        assert (found.shape, found.dtype) == (jitted.shape, jitted.dtype)
        assert found.weak_type == jitted.weak_type
