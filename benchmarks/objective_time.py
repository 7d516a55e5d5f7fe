"""Time of one training step with each objective, relative to that with `Standard_ELBO`.

A VAE of the shape of Damm et al. (2023), Fig. 7: 100 data dimensions, hidden layers of 128 and 40,
20 latents, batches of 512. All objectives of a backend run in turn in one process, so that what
disturbs one disturbs all; the table gives the median of their times and of the ratios in a turn.

    make bench      # prints the table, and writes it to benchmarks/objective_time.txt
"""

import argparse
import platform
import statistics
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from step_time import Steps, measure

from entropy_core.files import write_whole

D, H, HIDDEN, BATCH = 100, 20, (128, 40), 512

# The objective from the package, and the name of the VAE that it trains.
OBJECTIVES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "Standard_ELBO": (lambda m: m.Standard_ELBO(), "VAE1"),
    "Standard_ELBO, free bits": (lambda m: m.Standard_ELBO(free_bits=0.05), "VAE1"),
    "ED-VAE, aggregate": (lambda m: m.EDVAE_ELBO(mutual_information="aggregate"), "VAE1"),
    "ED-VAE, InfoNCE": (lambda m: m.EDVAE_ELBO(), "VAE1"),
    "Profiled_ELBO": (lambda m: m.Profiled_ELBO(prior="diagonal"), "VAE1"),
    "BILBO_ELBO": (lambda m: m.BILBO_ELBO(), "ConstantVarianceVAE"),
    "BILBO_ELBO, full": (lambda m: m.BILBO_ELBO(full_covariance=True), "ConstantVarianceVAE"),
    "BAGGINS_ELBO": (lambda m: m.BAGGINS_ELBO(), "ConstantVarianceVAE"),
    "IWAE_ELBO(10)": (lambda m: m.IWAE_ELBO(10), "VAE1"),
    "IWAE_ELBO(10), dreg": (lambda m: m.IWAE_ELBO(10, gradient="dreg"), "VAE1"),
    "IWAE_ELBO(10), chunks of 2": (lambda m: m.IWAE_ELBO(10, chunk_size=2), "VAE1"),
}
HOST = "host's RenyiELBO(10)"


def pyro_steps(x: np.ndarray) -> Steps:
    """A step of each objective in Pyro, with Adam."""
    import pyro
    import torch
    from pyro.infer import SVI, RenyiELBO

    import pyro_entropy

    data = torch.tensor(x)

    def step(elbo: Any, name: str) -> Callable[[], object]:
        vae = getattr(pyro_entropy, name)(D, H, hidden=HIDDEN, activation="leaky_relu")
        svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), elbo)
        return lambda: svi.step(data)

    steps = {name: step(make(pyro_entropy), vae) for name, (make, vae) in OBJECTIVES.items()}
    renyi = RenyiELBO(alpha=0.0, num_particles=10, vectorize_particles=True)
    return {**steps, HOST: step(renyi, "VAE1")}


def numpyro_steps(x: np.ndarray) -> Steps:
    """A compiled step of each objective in NumPyro, with Adam."""
    import jax
    import jax.numpy as jnp
    import numpyro
    from numpyro.infer import SVI, RenyiELBO

    import numpyro_entropy

    data, key = jnp.asarray(x), jax.random.key(0)

    def step(elbo: Any, name: str) -> Callable[[], None]:
        vae = getattr(numpyro_entropy, name)(D, H, hidden=HIDDEN, activation="leaky_relu")
        svi = SVI(vae.model, vae.guide, numpyro.optim.Adam(1e-3), elbo)
        update, state = jax.jit(svi.update), svi.init(key, data)

        def once() -> None:
            nonlocal state
            state, loss = update(state, data)
            loss.block_until_ready()

        return once

    steps = {name: step(make(numpyro_entropy), vae) for name, (make, vae) in OBJECTIVES.items()}
    return {**steps, HOST: step(RenyiELBO(alpha=0.0, num_particles=10), "VAE1")}


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, and writes it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    args = parser.parse_args(argv)
    x = np.random.default_rng(0).random((BATCH, D), dtype=np.float32)
    packages = ("torch", "pyro-ppl", "jax", "numpyro")
    lines = [
        f"One training step, VAE {D}-{HIDDEN[0]}-{HIDDEN[1]}-{H}, batch {BATCH}, float32, Adam; "
        f"{args.turns} turns.",
        "python benchmarks/objective_time.py; Python " + platform.python_version() + ", "
        f"{', '.join(f'{name} {version(name)}' for name in packages)}; CPU.",
        "",
        f"{'backend':8} {'objective':28} {'median ms':>9} {'this/Standard_ELBO':>20}",
    ]
    for label, make in (("Pyro", pyro_steps), ("NumPyro", numpyro_steps)):
        times = measure(make(x), args.turns)
        standard = times["Standard_ELBO"]
        for name, values in times.items():
            ratio = statistics.median(a / b for a, b in zip(values, standard, strict=True))
            lines.append(
                f"{label:8} {name:28} {1e3 * statistics.median(values):9.2f} {ratio:20.2f}"
            )
    text = "\n".join(lines) + "\n"
    print(text)
    write_whole(args.output, text.encode())


if __name__ == "__main__":
    main()
