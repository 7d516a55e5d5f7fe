"""A program of its own: every objective over several devices, beside one device.

    python -m tests.numpyro.distributed.devices NUM CASE ...

It writes the differences to its output.
"""

import json
import os
import sys

NUM = int(sys.argv[1]) if __name__ == "__main__" else 1
if __name__ == "__main__":
    flags = os.environ.get("XLA_FLAGS", ""), f"--xla_force_host_platform_device_count={NUM}"
    os.environ["XLA_FLAGS"] = " ".join(flags)

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import numpyro_entropy as m
from numpyro_entropy.params import from_weights, to_weights
from tests.parity.noise import NumPyroNoise
from tests.support.helpers import B, H, data, random_weights
from tests.support.objective_table import ALL_CASES, OBJECTIVES, Objective

PARTICLES = 3
TABLE = {
    "standard": Objective(lambda m: m.Standard_ELBO()),
    "standard at the draws": Objective(lambda m: m.Standard_ELBO(2, closed_form=False), "VAE3"),
    "KL weight": Objective(lambda m: m.Standard_ELBO(kl_weight=0.3), "VAE2"),
    "free bits": Objective(lambda m: m.Standard_ELBO(free_bits=0.7)),
    "IWAE": Objective(lambda m: m.IWAE_ELBO(PARTICLES)),
    "DReG": Objective(lambda m: m.IWAE_ELBO(PARTICLES, gradient="dreg")),
    "STL": Objective(lambda m: m.IWAE_ELBO(PARTICLES, gradient="stl")),
    "IWAE in chunks": Objective(lambda m: m.IWAE_ELBO(PARTICLES, chunk_size=1)),
    **OBJECTIVES,
}
CASES = {
    "float64": (jnp.float64, {}),
    "total": (jnp.float64, {"total": 40}),
    "float32": (jnp.float32, {}),
}


def difference(found, right):
    """The largest difference, relative to the largest number."""
    found, right = np.asarray(found, float), np.asarray(right, float)
    return float(np.abs(found - right).max() / np.abs(right).max().clip(1e-3))


def sharded(arrays, *names):
    """Arrays over all devices: rows, where a name is given, and else the same on each."""
    mesh = Mesh(np.array(jax.devices()), ("data",))
    return jax.device_put(arrays, NamedSharding(mesh, PartitionSpec(*names)))


def compare(objective, dtype, **kwargs):
    """How far the numbers of several devices are from those of one."""
    vae, elbo, key = ALL_CASES[objective.vae].make(m, dtype), objective.make(m), jax.random.key(0)
    shapes = jax.eval_shape(vae.init, key)
    weights = random_weights(to_weights(shapes))
    params = from_weights({k: w.astype(dtype) for k, w in weights.items()}, shapes)
    noise = np.random.default_rng(1).standard_normal((B, H)).astype(dtype)
    pair = vae.model, NumPyroNoise(vae.guide, {"z": noise})

    @jax.jit
    def numbers(params, x):
        loss, grads = jax.value_and_grad(elbo.loss, argnums=1)(key, params, *pair, x, **kwargs)
        return loss, grads, elbo.terms(key, params, *pair, x, **kwargs)

    x = jnp.asarray(data().astype(dtype))
    right = numbers(params, x)
    found = numbers(sharded(params), sharded(x, "data"))
    parts = zip(("loss", "grads", "terms"), found, right, strict=True)
    return {name: max(map(difference, *map(jax.tree.leaves, pair_of))) for name, *pair_of in parts}


def run(cases):
    found = {}
    for name, objective in TABLE.items():
        for case in cases:
            dtype, kwargs = CASES[case]
            found[f"{name}, {case}"] = compare(objective, dtype, **kwargs)
    return found


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)
    assert jax.device_count() == NUM
    print(json.dumps(run(sys.argv[2:])))
