"""Train the same VAE-1 on MNIST digits in Pyro and in NumPyro, and report its entropy sum.

Each backend trains with its host's own SVI. At the end the ELBO has become encoder entropy minus
prior entropy minus decoder entropy (Damm et al. 2023, Eq. 13).

    python examples/mnist.py                              # both backends, from the same weights
    python examples/mnist.py --backend numpyro --full     # the network of Damm et al. 2023, Fig. 1b
    python examples/mnist.py --data FOLDER                # your own MNIST or Fashion-MNIST files
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from entropy_core import datasets
from entropy_core.figures.training import plot_history, plot_latents
from entropy_core.report import EntropyReport, compare
from entropy_core.theory.closed_form import optimal_decoder_variance

FULL = {"latent_dim": 2, "hidden": [50, 50], "epochs": 200, "batch_size": 2000, "draws": 100}
FINAL_LR = 0.05  # of the first one, reached along half a cosine


def train_pyro(
    x: np.ndarray, vae_args: dict[str, Any], args: argparse.Namespace, initial: Path | None
) -> EntropyReport:
    """Trains in Pyro, on a GPU where there is one; `initial` holds the weights to start from."""
    import pyro
    import torch

    from pyro_entropy import VAE1, EntropySumDiagnostic, fit

    pyro.set_rng_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    vae = VAE1(x.shape[1], **vae_args)
    if initial:
        vae.load_weights(initial)
    vae.save_weights(args.output / "pyro-initial.safetensors")
    vae.to(device)
    optim = pyro.optim.CosineAnnealingLR(
        {
            "optimizer": torch.optim.Adam,
            "optim_args": {"lr": args.lr},
            "T_max": args.epochs,
            "eta_min": FINAL_LR * args.lr,
        }
    )
    result = fit(
        vae.model,
        vae.guide,
        torch.tensor(x, device=device),
        optim=optim,
        num_epochs=args.epochs,
        batch_size=args.batch_size,
        diagnostic=EntropySumDiagnostic(vae.model, vae.guide, num_particles=args.draws),
    )
    vae.save_weights(args.output / "pyro.safetensors")
    return result.report


def train_numpyro(
    x: np.ndarray, vae_args: dict[str, Any], args: argparse.Namespace, initial: Path | None
) -> EntropyReport:
    """Trains in NumPyro, on a GPU where there is one; `initial` holds the weights to start from."""
    import jax
    import optax

    from numpyro_entropy import VAE1, EntropySumDiagnostic, fit

    key = jax.random.key(args.seed)
    vae = VAE1(x.shape[1], **vae_args)
    params = vae.load_weights(initial) if initial else vae.init(key)
    vae.save_weights(params, args.output / "numpyro-initial.safetensors")
    steps = args.epochs * max(1, len(x) // args.batch_size)
    result = fit(
        key,
        vae.model,
        vae.guide,
        x,
        init_params=params,
        optim=optax.adam(optax.cosine_decay_schedule(args.lr, steps, FINAL_LR)),
        num_epochs=args.epochs,
        batch_size=args.batch_size,
        diagnostic=EntropySumDiagnostic(vae.model, vae.guide, num_particles=args.draws),
    )
    vae.save_weights(result.params, args.output / "numpyro.safetensors")
    return result.report


BACKENDS = {"pyro": ("Pyro", train_pyro), "numpyro": ("NumPyro", train_numpyro)}


def write(report: EntropyReport, folder: Path, name: str) -> list[Path]:
    """Writes a report as netCDF, as a page and as two figures."""
    report.save(folder / f"{name}.nc")
    report.to_html(folder / f"{name}.html")
    plot_history(report).savefig(folder / f"{name}-history.png")
    plot_latents(report).savefig(folder / f"{name}-latents.png")
    return sorted(folder.glob(f"{name}[.-]*"))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["both", *BACKENDS], default="both")
    parser.add_argument("--data", type=Path, help="a folder of MNIST or Fashion-MNIST idx files")
    parser.add_argument("--num-data", type=int, help="use only so many images")
    parser.add_argument("--latent-dim", type=int, default=10)
    parser.add_argument("--hidden", type=int, nargs="*", default=[200])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--draws", type=int, default=10, help="a data point, for the report")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full", action="store_true", help=f"the paper's: {FULL}")
    parser.add_argument("--output", type=Path, default=Path("out/mnist"))
    args = parser.parse_args(argv)
    if args.full:
        vars(args).update(FULL)
    return args


def main(argv: Sequence[str] | None = None) -> dict[str, EntropyReport]:
    """Runs the experiment, and returns the report of each backend."""
    args = parse(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    data = datasets.idx(args.data) if args.data else datasets.mnist_5k()
    x = data.train[: args.num_data]
    vae_args = {
        "latent_dim": args.latent_dim,
        "hidden": args.hidden,
        # Where a decoder that knows only the mean image would have it: from 0 it takes many epochs.
        "initial_log_variance": np.log(optimal_decoder_variance(x, x.mean(0))),
    }
    print(f"{data.name}: {len(x):,} images, VAE-1 with H = {args.latent_dim}, hidden {args.hidden}")

    reports, files, initial = {}, [], None
    for name in BACKENDS if args.backend == "both" else [args.backend]:
        label, train = BACKENDS[name]
        print(f"\n{label}")
        reports[label] = train(x, vae_args, args, initial)
        initial = args.output / f"{name}-initial.safetensors"
        files += write(reports[label], args.output, name)

    units = next(iter(reports.values())).units
    print(f"\nThe ELBO as a sum of three entropies, in {units}\n")
    print(compare(reports).to_string(float_format="{:.3f}".format))
    print("\nWritten:", *files, sep="\n  ")
    return reports


if __name__ == "__main__":
    main()
