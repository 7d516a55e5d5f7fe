"""When `fit` stops: a fixed number of epochs, early stopping, and the stop by the theorem.

Three trainings in Pyro with Adam: the linear VAE on probabilistic PCA (1,000 points), VAE-3 on the
ring (1,000 points) and VAE-1 on 5,000 digits, each from one seed with each of three ends. The table
has the epochs, the time, the ELBO and how far it is from the entropy sum, at 20 draws in the end.

    .venv/bin/python benchmarks/stopping.py    # after `make demo`; writes benchmarks/stopping.txt
"""

import argparse
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyro
import torch

import pyro_entropy
from entropy_core.datasets import mnist_5k, pca_ring, ppca
from entropy_core.files import write_whole
from entropy_core.training import EarlyStopping, TheoremStop

END = {"num_draws": 10, "patience": 2, "window": 8}


class Training(NamedTuple):
    """What is trained, how long at most, how often the theorem looks, and what counts as zero."""

    data: Callable[[], tuple[np.ndarray, np.ndarray]]
    make: Callable[[int], Any]
    lr: float
    batch_size: int
    num_epochs: int
    diagnose_every: int
    tol: float


def halves(data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Points to train on, and held-out ones."""
    return data.train, data.test


TRAININGS = {
    "p-PCA": Training(
        lambda: halves(ppca(num_train=1000, num_test=500)),
        lambda dim: pyro_entropy.LinearVAE(dim, 2),
        *(0.01, 100, 1000, 20, 0.1),
    ),
    "ring": Training(
        lambda: halves(pca_ring(num_train=1000, num_test=500)),
        lambda dim: pyro_entropy.VAE3(dim, 2, hidden=(50, 50)),
        *(0.003, 100, 1000, 20, 0.1),
    ),
    "digits": Training(
        lambda: halves(mnist_5k(num_test=500)),
        lambda dim: pyro_entropy.VAE1(dim, 2, hidden=(50, 50)),
        *(0.003, 200, 300, 10, 0.5),
    ),
}


def rows(name: str, training: Training) -> Iterator[str]:
    """A row for each way to end."""
    train, test = (torch.tensor(part).float() for part in training.data())
    rules = {
        "fixed": None,
        "early": EarlyStopping(patience=5),
        "theorem": TheoremStop(tol=training.tol, **END),
    }
    for end, rule in rules.items():
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        vae = training.make(train.shape[1])
        start = time.perf_counter()
        result = pyro_entropy.fit(
            vae.model,
            vae.guide,
            train,
            optim=pyro.optim.Adam({"lr": training.lr}),
            validation=test if end == "early" else None,
            stop=rule,
            num_epochs=training.num_epochs,
            batch_size=training.batch_size,
            diagnose_every={"fixed": training.num_epochs, "early": 5}.get(
                end, training.diagnose_every
            ),
            progress_bar=False,
        )
        seconds = time.perf_counter() - start
        diagnostic = pyro_entropy.EntropySumDiagnostic(vae.model, vae.guide, num_particles=20)
        report = diagnostic.run(train)
        epochs = result.stopped.epoch
        yield (
            f"{name:<8}{end:<9}{result.stopped.rule:<16}{epochs:>7}{seconds:>9.1f}"
            f"{report['elbo']:>12.4f}{report['gap']:>10.4f}"
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, and writes it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(TRAININGS), help="which trainings")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    asked = {name: TRAININGS[name] for name in args.names}
    lines = [
        "When fit stops: python benchmarks/stopping.py",
        f"torch {version('torch')}, pyro-ppl {version('pyro-ppl')}, Python "
        f"{platform.python_version()}; two shared cores, one thread",
        "the theorem: "
        + ", ".join(f"{n} tol {t.tol}, every {t.diagnose_every} epochs" for n, t in asked.items())
        + f"; looks of {END['num_draws']} draws",
        "early stopping: looks of one draw every 5 epochs, patience 5",
        "",
        f"{'data':<8}{'asked':<9}{'ended by':<16}{'epochs':>7}{'seconds':>9}"
        f"{'ELBO':>12}{'gap':>10}",
    ]
    for name, training in asked.items():
        for line in rows(name, training):
            lines.append(line)
            print(line, flush=True)
    write_whole(args.output, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
