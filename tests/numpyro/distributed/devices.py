"""A program of its own: every objective over several devices, beside one device.

    python -m tests.numpyro.distributed.devices CASE ...

The devices are those that JAX finds. With `NAME@CASE` only one objective of a case is run, and of
the rest `fit` alone. It writes the largest differences to its output.
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpyro.infer import SVI
from numpyro.optim import Adam

import numpyro_entropy as m
from numpyro_entropy.params import from_weights, to_weights
from numpyro_entropy.training.data import Data
from tests.parity.noise import NumPyroNoise
from tests.support.helpers import B, D, H, data, random_weights
from tests.support.objective_table import ALL_CASES, OBJECTIVES, Objective

PARTICLES, FIT_ROWS = 3, 28
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


def key():
    # Not before processes have found each other.
    return jax.random.key(0)


def difference(found, right):
    """The largest difference of two trees, each array relative to its largest number."""

    def of(found, right):
        found, right = np.asarray(found, float), np.asarray(right, float)
        return np.abs(found - right).max() / np.abs(right).max().clip(1e-3)

    leaves = zip(*map(jax.tree.leaves, (found, right)), strict=True)
    return float(np.max([of(*pair) for pair in leaves]))


def over_devices(arrays, *names, mesh=None):
    """Arrays over all devices: their rows, where a name is given, and else the same on each."""
    mesh = mesh or Mesh(np.array(jax.devices()), ("data",))
    return jax.device_put(arrays, NamedSharding(mesh, PartitionSpec(*names)))


def compare(objective, dtype, **kwargs):
    """How far the loss, its gradients and the terms are from those of one device."""
    vae, elbo = ALL_CASES[objective.vae].make(m, dtype), objective.make(m)
    shapes = jax.eval_shape(vae.init, key())
    weights = random_weights(to_weights(shapes))
    params = from_weights({key: w.astype(dtype) for key, w in weights.items()}, shapes)
    noise = np.random.default_rng(1).standard_normal((B, H)).astype(dtype)
    pair = vae.model, NumPyroNoise(vae.guide, {"z": noise})

    @jax.jit
    def numbers(params, x):
        loss, grads = jax.value_and_grad(elbo.loss, argnums=1)(key(), params, *pair, x, **kwargs)
        return loss, grads, elbo.terms(key(), params, *pair, x, **kwargs)

    x = jnp.asarray(data().astype(dtype))
    right = numbers(params, x)
    return difference(numbers(over_devices(params), over_devices(x, "data")), right)


def trained(x):
    """The losses of `fit`, whose batches do not divide evenly, and its report."""
    vae = ALL_CASES["VAE1"].make(m, jnp.float64)
    options = {"num_epochs": 1, "batch_size": 7, "progress_bar": False}
    fitted = m.fit(key(), vae.model, vae.guide, x, loss=m.Profiled_ELBO(), **options)
    return fitted.losses, fitted.report.summary().to_numpy(float), fitted.params


def looped(x):
    """The losses of a loop of one's own."""
    vae, losses = ALL_CASES["VAE1"].make(m, jnp.float64), []
    svi = SVI(vae.model, vae.guide, Adam(0.01), m.BAGGINS_ELBO(prior="model"))
    state, update = svi.init(key(), x), jax.jit(svi.update)
    for _ in range(3):
        state, loss = update(state, x)
        losses.append(float(loss))
    return losses


def looked(x):
    """The numbers of the diagnostic and of the log-likelihood."""
    vae = ALL_CASES["VAE1"].make(m, jnp.float64)
    params = from_weights(
        random_weights(to_weights(vae.init(key()))), jax.eval_shape(vae.init, key())
    )
    diagnostic = m.EntropySumDiagnostic(vae.model, vae.guide, num_particles=2)
    report = diagnostic.run(key(), params, x, batch_size=16)
    likelihood = m.log_likelihood(
        key(), params, vae.model, vae.guide, x, num_particles=4, chunk_size=4, batch_size=16
    )
    latents = report.latents().select_dtypes(["number", "bool"]).to_numpy(float)
    return report.summary().to_numpy(float), latents, likelihood.values


def is_split(x, num_rows, num_columns=7):
    """Whether each device does its part of what is computed of a batch, and no more."""
    source = Data(x, num_rows)

    def product(rows, arrays, weights):
        return jnp.tanh(source.rows(key(), rows, arrays).args[0] @ weights).sum()

    inputs = np.arange(num_rows), source.arrays, np.ones((D, num_columns))
    text = jax.jit(product).lower(*inputs).compile().as_text()
    own = -(-num_rows // jax.device_count())
    return f"[{own},{num_columns}]" in text and f"[{num_rows},{num_columns}]" not in text


def run(cases):
    found, whole = {}, not any("@" in case for case in cases)
    for name in TABLE:
        for case in cases:
            of, _, case = case.rpartition("@")
            if of in ("", name):
                dtype, kwargs = CASES[case]
                found[f"{name}, {case}"] = compare(TABLE[name], dtype, **kwargs)
    x = data(FIT_ROWS)
    for function in (trained, looped, looked) if whole else (trained,):
        found[function.__name__] = difference(function(over_devices(x, "data")), function(x))
    if whole:
        explicit = over_devices(x, "data", mesh=jax.make_mesh((jax.device_count(),), ("data",)))
        found["explicit axes"] = difference(looked(explicit), looked(x))
    split = all(is_split(over_devices(x, "data"), num_rows) for num_rows in (8, 9))
    return {"num_devices": jax.device_count(), "is_split": split, "differences": found}


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)
    print(json.dumps(run(sys.argv[1:])))
