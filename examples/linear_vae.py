"""Train a linear VAE on p-PCA data, where the log-likelihood is known (Damm et al. 2023, Fig. 1a).

At the end ELBO, entropy sum and the log-likelihood of probabilistic PCA are the same number.

    python examples/linear_vae.py                       # 1,000 points, both backends
    python examples/linear_vae.py --full                # the paper's 10,000 points, batch and draws
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from entropy_core import datasets
from entropy_core.report import EntropyReport, compare
from entropy_core.theory.closed_form import (
    optimal_decoder_variance,
    ppca_log_likelihood,
    ppca_optimum,
)

FULL = {"num_data": 10_000, "batch_size": 2000, "epochs": 1500, "draws": 100}
FINAL_LR = 0.01  # of the first one, reached along half a cosine


def train_pyro(
    x: np.ndarray, log_variance: float, args: argparse.Namespace
) -> tuple[EntropyReport, Mapping[str, np.ndarray]]:
    """Trains in Pyro; returns the report and the weights."""
    import pyro
    import torch

    from pyro_entropy import EntropySumDiagnostic, LinearVAE, fit

    pyro.set_rng_seed(args.seed)
    vae = LinearVAE(
        x.shape[1], args.latent_dim, initial_log_variance=log_variance, dtype=torch.float64
    )
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
        torch.tensor(x),
        optim=optim,
        num_epochs=args.epochs,
        batch_size=args.batch_size,
        diagnostic=EntropySumDiagnostic(vae.model, vae.guide, num_particles=args.draws),
        diagnose_every=max(1, args.epochs // 100),
    )
    return result.report, vae.get_weights()


def train_numpyro(
    x: np.ndarray, log_variance: float, args: argparse.Namespace
) -> tuple[EntropyReport, Mapping[str, np.ndarray]]:
    """Trains in NumPyro; returns the report and the weights."""
    import jax
    import numpyro
    import optax

    from numpyro_entropy import EntropySumDiagnostic, LinearVAE, fit

    numpyro.enable_x64()
    vae = LinearVAE(x.shape[1], args.latent_dim, initial_log_variance=log_variance)
    steps = args.epochs * max(1, len(x) // args.batch_size)
    result = fit(
        jax.random.key(args.seed),
        vae.model,
        vae.guide,
        x,
        optim=optax.adam(optax.cosine_decay_schedule(args.lr, steps, FINAL_LR)),
        num_epochs=args.epochs,
        batch_size=args.batch_size,
        diagnostic=EntropySumDiagnostic(vae.model, vae.guide, num_particles=args.draws),
        diagnose_every=max(1, args.epochs // 100),
    )
    return result.report, vae.get_weights(result.params)


BACKENDS = {"pyro": ("Pyro", train_pyro), "numpyro": ("NumPyro", train_numpyro)}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["both", *BACKENDS], default="both")
    parser.add_argument("--num-data", type=int, default=1000)
    parser.add_argument("--latent-dim", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=5000)
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--draws", type=int, default=100, help="a data point, for the report")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full", action="store_true", help=f"the paper's sizes: {FULL}")
    parser.add_argument("--output", type=Path, default=Path("out/linear_vae"))
    args = parser.parse_args(argv)
    if args.full:
        vars(args).update(FULL)
    return args


def main(argv: Sequence[str] | None = None) -> dict[str, EntropyReport]:
    """Runs the experiment, and returns the report of each backend."""
    args = parse(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    data = datasets.ppca(args.seed, num_train=args.num_data, dtype=np.float64)
    x = data.train
    log_variance = float(np.log(optimal_decoder_variance(x, x.mean(0))))

    reports, likelihoods, files = {}, {}, []
    for name in BACKENDS if args.backend == "both" else [args.backend]:
        label, train = BACKENDS[name]
        print(f"\n{label}")
        reports[label], weights = train(x, log_variance, args)
        likelihoods[label] = ppca_log_likelihood(
            x,
            weights["decoder.net.weight"],
            weights["decoder.net.bias"],
            float(np.exp(weights["decoder.log_variance"])),
        )
        files.append(args.output / f"{name}.nc")
        reports[label].save(files[-1])

    table = compare(reports)
    table.loc["log-likelihood (Eq. 26)"] = likelihoods
    best = ppca_optimum(x, args.latent_dim)
    maximum = ppca_log_likelihood(x, best.weight, best.mean, best.variance)
    truth = ppca_log_likelihood(x, **data.parameters)
    print("\nELBO, entropy sum and log-likelihood of a linear VAE, in nats per data point\n")
    print(table.to_string(float_format="{:.3f}".format))
    print(
        f"\nmaximum of the log-likelihood {maximum:.3f}, of the generating parameters {truth:.3f}"
    )
    print("\nWritten:", *files, sep="\n  ")
    return reports


if __name__ == "__main__":
    main()
