"""Memory of `fit` and of its report on more data than one would hold, in a file on disk.

Each backend runs in a process of its own: one epoch and the final report on a file of random
numbers that is mapped into memory. The table has the memory of the process itself, without the
pages of the file that the system holds and can drop at any time: before, once a small training has
been, and at most.

    python benchmarks/big_data.py    # prints the table, and writes it beside this file
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from entropy_core.files import write_whole

DIM, BATCH = 784, 1024


def make(path: Path, gigabytes: float) -> int:
    """Writes a file of random numbers; the number of its data points."""
    num_data = int(gigabytes * 2**30 / (4 * DIM)) // BATCH * BATCH
    data = np.lib.format.open_memmap(path, "w+", np.float32, (num_data, DIM))
    rng = np.random.default_rng(0)
    for i in range(0, num_data, BATCH):
        data[i : i + BATCH] = rng.random((BATCH, DIM), dtype=np.float32)
    data.flush()
    return num_data


def own_memory() -> float:
    """The resident memory of this process that is no page of a file, in MiB; Linux alone says."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024


def measure(backend: str, path: Path) -> str:
    """Trains in this process: its memory before and at most in MiB, seconds, and the ELBO."""
    package: Any = import_module(f"{backend}_entropy")
    vae = package.VAE1(DIM, 2, hidden=(50,))
    diagnostic = package.EntropySumDiagnostic(vae.model, vae.guide, num_particles=1)

    def train(data: np.ndarray) -> float:
        keys = []
        if backend == "numpyro":
            import jax

            keys = [jax.random.key(0)]
        options = {"num_epochs": 1, "batch_size": BATCH, "diagnostic": diagnostic}
        fitted = package.fit(*keys, vae.model, vae.guide, data, progress_bar=False, **options)
        return fitted.report["elbo"]

    data = np.load(path, mmap_mode="r")
    train(np.asarray(data[: 4 * BATCH]))
    before, peaks, done = own_memory(), [own_memory()], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            peaks.append(own_memory())

    watcher, start = threading.Thread(target=watch), time.perf_counter()
    watcher.start()
    elbo = train(data)
    done.set()
    watcher.join()
    return f"{before} {max(peaks)} {time.perf_counter() - start} {elbo}"


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, and writes it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--one", nargs=2, metavar=("BACKEND", "FILE"), help="here and now")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    args = parser.parse_args(argv)
    if args.one:
        print(measure(args.one[0], Path(args.one[1])))
        return
    packages = ("torch", "pyro-ppl", "jax", "numpyro")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npy"
        num_data = make(path, args.gigabytes)
        lines = [
            f"One epoch and a report on {num_data} points of {DIM} numbers, {args.gigabytes:g} GiB",
            "of float32 in a file mapped into memory; VAE-1 784-50-2, batches of 1024. MiB of the",
            "process itself: once a small training has been, and at most.",
            f"python benchmarks/big_data.py --gigabytes {args.gigabytes:g}; "
            f"Python {platform.python_version()},",
            f"{', '.join(f'{name} {version(name)}' for name in packages)}; CPU.",
            "",
            f"{'backend':8} {'before':>8} {'peak':>8} {'seconds':>8} {'elbo':>9}",
        ]
        print("\n".join(lines))
        for backend in ("pyro", "numpyro"):
            result = subprocess.run(
                [sys.executable, __file__, "--one", backend, str(path)],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
                capture_output=True,
                text=True,
                check=True,
            )
            before, peak, seconds, elbo = map(float, result.stdout.split())
            lines.append(f"{backend:8} {before:8.0f} {peak:8.0f} {seconds:8.1f} {elbo:9.3f}")
            print(lines[-1], flush=True)
    write_whole(args.output, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
