"""Whether trainings by the entropy-decomposed bound stay near those by the ELBO, over a grid.

Each run is a VAE-0 (variance 1/2, standard normal prior, one hidden layer of 50) that is trained by
`EDVAE_ELBO(temperature=...)`, all else its default, and one by `Standard_ELBO` from the same seed,
data and learning rate; the number is the ELBO of the first less that of the second, over the
training data, in nats per data point. The sets are the two of Lygerakis and Rueckert (2024), also
with fewer features than latents, the digits of scikit-learn, and p-PCA data (Damm et al. 2023).

    python benchmarks/edvae_grid.py      # prints the table, and writes it to edvae_grid.txt
"""

import argparse
from collections.abc import Callable, Sequence
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from entropy_core.datasets import digits, edvae_modulated, edvae_normal, ppca
from entropy_core.files import write_whole

HIDDEN = (50,)
# Data, and the number of latents.
SETS: dict[str, tuple[Callable[[int], np.ndarray], int]] = {
    "set 1, D = 10": (lambda n: edvae_normal(num_train=n, num_test=1).train, 5),
    "set 1, D = 4": (lambda n: edvae_normal(num_train=n, num_test=1, data_dim=4).train, 5),
    "set 2, D = 10": (lambda n: edvae_modulated(num_train=n, num_test=1).train, 5),
    "set 2, D = 4": (lambda n: edvae_modulated(num_train=n, num_test=1, data_dim=4).train, 5),
    "digits, D = 64": (lambda n: digits().train[:n], 5),
    "p-PCA, D = 10": (lambda n: ppca(num_train=n, num_test=1).train, 2),
}
TEMPERATURES, RATES = (0.1, 1.0, 10.0), (1e-3, 1e-2)
LARGEST_FALL = 0.5


def in_pyro(x: np.ndarray, latents: int, seeds: int, rate: float, options: dict) -> Callable:
    """What trains in Pyro by an objective: the ELBO of each seed."""
    import pyro
    import torch

    from pyro_entropy import VAE0, fit_seeds

    def make() -> Any:
        vae = VAE0(x.shape[1], latents, variance=0.5, hidden=HIDDEN)
        return vae.model, vae.guide

    def train(loss: Any) -> np.ndarray:
        optim = pyro.optim.Adam({"lr": rate})
        found = fit_seeds(
            make, torch.tensor(x), seeds=range(seeds), loss=loss, optim=optim, **options
        )
        return np.array([report["elbo"] for report in found.reports])

    return train


def in_numpyro(x: np.ndarray, latents: int, seeds: int, rate: float, options: dict) -> Callable:
    """What trains in NumPyro by an objective: the ELBO of each seed."""
    from numpyro.optim import Adam

    from numpyro_entropy import VAE0, fit_seeds

    vae = VAE0(x.shape[1], latents, variance=0.5, hidden=HIDDEN)

    def train(loss: Any) -> np.ndarray:
        found = fit_seeds(
            vae.model, vae.guide, x, seeds=range(seeds), loss=loss, optim=Adam(rate), **options
        )
        return np.array([report["elbo"] for report in found.reports])

    return train


def differences(
    backend: str,
    name: str,
    rate: float,
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    num_data: int,
    num_epochs: int,
    batch_size: int,
    seeds: int,
) -> dict[float, np.ndarray]:
    """For each temperature and seed, the ELBO less that of a training by the ELBO."""
    if backend == "pyro":
        import pyro_entropy as module

        kind: Callable = in_pyro
    else:
        import numpyro_entropy as module

        kind = in_numpyro
    make, latents = SETS[name]
    options = {
        "num_epochs": num_epochs,
        "batch_size": batch_size,
        "diagnose_every": num_epochs,
        "progress_bar": False,
    }
    train = kind(make(num_data), latents, seeds, rate, options)
    best = train(module.Standard_ELBO())
    return {t: train(module.EDVAE_ELBO(temperature=t)) - best for t in temperatures}


def main(argv: Sequence[str] | None = None) -> None:
    """Trains, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["pyro", "numpyro", "both"], default="numpyro")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--num-data", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--temperatures", nargs="+", type=float, default=TEMPERATURES)
    parser.add_argument("--rates", nargs="+", type=float, default=RATES)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    args = parser.parse_args(argv)
    backends = ["pyro", "numpyro"] if args.backend == "both" else [args.backend]
    lines = [
        f"{args.num_data} points at most, batches of {args.batch_size}, {args.epochs} epochs, "
        f"{args.seeds} seeds, Adam; " + ", ".join(f"{b} {_version(b)}" for b in backends),
        "the ELBO less that of a training by the ELBO: the lowest and the highest of the seeds",
        "",
        f"{'backend':9}{'data':16}{'rate':>7}"
        + "".join(f"{'temperature ' + format(t, 'g'):>20}" for t in args.temperatures),
    ]
    worst = 0.0
    for backend, name, rate in product(backends, args.sets, args.rates):
        found = differences(
            backend,
            name,
            rate,
            temperatures=args.temperatures,
            num_data=args.num_data,
            num_epochs=args.epochs,
            batch_size=args.batch_size,
            seeds=args.seeds,
        )
        cells = [f"{d.min():9.3f} to{d.max():8.3f}" for d in found.values()]
        lines.append(f"{backend:9}{name:16}{rate:7g}" + "".join(f"{cell:>20}" for cell in cells))
        worst = min(worst, *(float(d.min()) for d in found.values()))
        print(lines[-1], flush=True)
    lines += ["", f"lowest of all: {worst:.3f}"]
    write_whole(args.output, ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))


def _version(backend: str) -> str:
    return version({"pyro": "pyro-ppl", "numpyro": "numpyro"}[backend])


if __name__ == "__main__":
    main()
