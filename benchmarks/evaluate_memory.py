"""Memory and time of `log_likelihood` as the number of particles grows.

Each setting runs in a process of its own, whose peak of resident memory is read at its end, and
before, once everything is imported, made and warmed up.

    python benchmarks/evaluate_memory.py    # prints the table, and writes it beside this file
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from entropy_core.files import write_whole

D, H, HIDDEN = 784, 20, (200,)


def pyro_log_likelihood(x: np.ndarray) -> partial:
    """The estimate with Pyro; it lacks `num_particles`."""
    import torch

    from pyro_entropy import BernoulliVAE
    from pyro_entropy.evaluation.likelihood import log_likelihood

    vae = BernoulliVAE(D, H, hidden=HIDDEN)
    return partial(log_likelihood, vae.model, vae.guide, torch.tensor(x))


def numpyro_log_likelihood(x: np.ndarray) -> partial:
    """The estimate with NumPyro; it lacks `num_particles`."""
    import jax

    from numpyro_entropy import BernoulliVAE
    from numpyro_entropy.evaluation.likelihood import log_likelihood

    vae, key = BernoulliVAE(D, H, hidden=HIDDEN), jax.random.key(0)
    return partial(log_likelihood, key, vae.init(key), vae.model, vae.guide, jax.numpy.asarray(x))


BACKENDS = {"pyro": pyro_log_likelihood, "numpyro": numpyro_log_likelihood}


def peak() -> float:
    """The most resident memory that this process has had so far, in MiB."""
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def measure(backend: str, num_images: int, num_particles: int) -> str:
    """Runs one setting in this process: its peaks before and after in MiB, and its seconds."""
    x = (np.random.default_rng(0).random((num_images, D)) < 0.5).astype(np.float32)
    estimate = BACKENDS[backend](x)
    # With so few draws there is next to nothing to hold; but all code has run once.
    estimate(num_particles=25, chunk_size=5)
    before, start = peak(), time.perf_counter()
    found = estimate(num_particles=num_particles)
    return f"{before} {peak()} {time.perf_counter() - start} {found.mean}"


def row(backend: str, num_images: int, num_particles: int) -> list[float]:
    """The numbers of one setting, from a fresh process."""
    options = (f"--images={num_images}", f"--one={num_particles}", f"--backend={backend}")
    root = Path(__file__).parents[1]
    result = subprocess.run(
        [sys.executable, __file__, *options],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(number) for number in result.stdout.split()]


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, and writes it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=[*BACKENDS], help="both, if not given")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--particles", type=int, nargs=2, default=[100, 5000])
    parser.add_argument("--one", type=int, help="measure this number of particles, here and now")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    args = parser.parse_args(argv)
    if args.one:
        print(measure(args.backend, args.images, args.one))
        return
    packages = ("torch", "pyro-ppl", "jax", "numpyro", "arviz-stats")
    lines = [
        f"log_likelihood of {args.images} binary images under a BernoulliVAE {D}-{HIDDEN[0]}-{H},",
        "float32, batches of 100 images, chunks of 100 particles; each line a process of its own.",
        "Peaks of resident memory in MiB: with everything imported and warmed up, and at the end.",
        "The seconds include the compilation by JAX.",
        "python benchmarks/evaluate_memory.py; Python " + platform.python_version() + ",",
        f"{', '.join(f'{name} {version(name)}' for name in packages)}; CPU.",
        "",
        f"{'backend':8} {'particles':>9} {'before':>8} {'peak':>8} {'seconds':>8} {'nats':>9}",
    ]
    for backend in [args.backend] if args.backend else BACKENDS:
        peaks = []
        for num_particles in args.particles:
            before, after, seconds, mean = row(backend, args.images, num_particles)
            peaks.append(after)
            lines.append(
                f"{backend:8} {num_particles:9} {before:8.0f} {after:8.0f} "
                f"{seconds:8.1f} {mean:9.3f}"
            )
        lines.append(f"{backend:8} ratio of the peaks {peaks[1] / peaks[0]:.3f}")
    text = "\n".join(lines) + "\n"
    print(text)
    write_whole(args.output, text.encode())


if __name__ == "__main__":
    main()
