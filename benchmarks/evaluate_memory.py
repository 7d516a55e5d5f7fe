"""Memory and time of `log_likelihood` as the number of particles grows, of a diagnostic as data do.

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
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from entropy_core.files import write_whole

D, H, HIDDEN, BATCH = 784, 20, (200,), 100


def images(num: int) -> Iterator[np.ndarray]:
    """Batches of random binary images, made when they are asked for."""
    rng = np.random.default_rng(0)
    for _ in range(num // BATCH):
        yield (rng.random((BATCH, D)) < 0.5).astype(np.float32)


def in_pyro(task: str) -> Callable[[int, int], float]:
    """A task with Pyro: a function of the numbers of images and of draws."""
    import torch

    from pyro_entropy import BernoulliVAE, EntropySumDiagnostic
    from pyro_entropy.evaluation.likelihood import log_likelihood

    vae = BernoulliVAE(D, H, hidden=HIDDEN)

    def run(num_images: int, num_particles: int) -> float:
        batches = map(torch.tensor, images(num_images))
        if task == "likelihood":
            return log_likelihood(vae.model, vae.guide, batches, num_particles=num_particles).mean
        diagnostic = EntropySumDiagnostic(vae.model, vae.guide, num_particles=num_particles)
        return float(diagnostic.run(batches)["elbo"])

    return run


def in_numpyro(task: str) -> Callable[[int, int], float]:
    """A task with NumPyro: a function of the numbers of images and of draws."""
    import jax

    from numpyro_entropy import BernoulliVAE, EntropySumDiagnostic
    from numpyro_entropy.evaluation.likelihood import log_likelihood

    vae, key = BernoulliVAE(D, H, hidden=HIDDEN), jax.random.key(0)
    params = vae.init(key)

    def run(num_images: int, num_particles: int) -> float:
        batches = map(jax.numpy.asarray, images(num_images))
        if task == "likelihood":
            return log_likelihood(
                key, params, vae.model, vae.guide, batches, num_particles=num_particles
            ).mean
        diagnostic = EntropySumDiagnostic(vae.model, vae.guide, num_particles=num_particles)
        return float(diagnostic.run(key, params, batches)["elbo"])

    return run


BACKENDS = {"pyro": in_pyro, "numpyro": in_numpyro}


def peak() -> float:
    """The most resident memory that this process has had so far, in MiB."""
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def measure(backend: str, task: str, num_images: int, num_particles: int) -> str:
    """Runs one setting in this process: its peaks before and after in MiB, and its seconds."""
    run = BACKENDS[backend](task)
    # Little is held of one batch; but all code has run once.
    run(BATCH, min(num_particles, 100))
    before, start = peak(), time.perf_counter()
    found = run(num_images, num_particles)
    return f"{before} {peak()} {time.perf_counter() - start} {found}"


def row(backend: str, task: str, num_images: int, num_particles: int) -> list[float]:
    """The numbers of one setting, from a fresh process."""
    setting = (f"--images={num_images}", f"--particles={num_particles}", f"--backend={backend}")
    root = Path(__file__).parents[1]
    result = subprocess.run(
        [sys.executable, __file__, f"--one={task}", *setting],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(number) for number in result.stdout.split()]


def table(task: str, backends: Iterable[str], settings: Sequence[tuple[int, int]]) -> Iterator[str]:
    """A line for each setting of a task, and the ratio of its peaks."""
    for backend in backends:
        peaks = []
        for num_images, num_particles in settings:
            before, after, seconds, mean = row(backend, task, num_images, num_particles)
            peaks.append(after)
            yield (
                f"{task:10} {backend:8} {num_images:7} {num_particles:6} {before:8.0f} "
                f"{after:8.0f} {seconds:8.1f} {mean:9.3f}"
            )
        yield f"{task:10} {backend:8} ratio of the peaks {peaks[1] / peaks[0]:.3f}"


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, and writes it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=[*BACKENDS], help="both, if not given")
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 5000, 50_000])
    parser.add_argument("--particles", type=int, nargs="+", default=[500, 5000, 10])
    parser.add_argument("--one", choices=["likelihood", "diagnostic"], help="here and now")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    args = parser.parse_args(argv)
    if args.one:
        print(measure(args.backend, args.one, args.images[0], args.particles[0]))
        return
    points, *sizes = args.images
    *particles, draws = args.particles
    packages = ("torch", "pyro-ppl", "jax", "numpyro")
    lines = [
        f"Binary images under a BernoulliVAE {D}-{HIDDEN[0]}-{H}, float32, in batches of {BATCH};",
        "log_likelihood in chunks of 100 draws, and EntropySumDiagnostic. Each line is a process",
        "of its own, which makes a batch when it is asked for. Peaks of resident memory in MiB:",
        "with everything imported and one batch done, and at the end. The seconds include JAX's",
        "compilation.",
        f"python benchmarks/evaluate_memory.py --images {' '.join(map(str, args.images))} "
        f"--particles {' '.join(map(str, args.particles))}; Python {platform.python_version()},",
        f"{', '.join(f'{name} {version(name)}' for name in packages)}; CPU.",
        "",
        f"{'task':10} {'backend':8} {'images':>7} {'draws':>6} {'before':>8} {'peak':>8} "
        f"{'seconds':>8} {'nats':>9}",
    ]
    print("\n".join(lines))
    backends = [args.backend] if args.backend else list(BACKENDS)
    for task, settings in (
        ("likelihood", [(points, number) for number in particles]),
        ("diagnostic", [(size, draws) for size in sizes]),
    ):
        for line in table(task, backends, settings):
            lines.append(line)
            print(line, flush=True)
    write_whole(args.output, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
