"""Train the same convolutional VAE-1 on MNIST digits in Pyro and in NumPyro, and look at images.

Each backend also writes a picture: digits that it has not seen, what it makes of them, and images
of its own.

    python examples/conv_vae.py                           # both backends, from the same weights
    python examples/conv_vae.py --backend pyro --num-data 4500 --latent-dim 6
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from entropy_core import datasets
from entropy_core.report import EntropyReport, compare
from entropy_core.theory.closed_form import optimal_decoder_variance

FINAL_LR = 0.05  # of the first one, reached along half a cosine
COLUMNS = 12  # images in a row of the picture

Result = tuple[EntropyReport, np.ndarray, np.ndarray]  # with reconstructed and with new images


def train_pyro(
    x: np.ndarray, shown: np.ndarray, vae_args: dict, args: argparse.Namespace, initial: Path | None
) -> Result:
    """Trains in Pyro, on a GPU where there is one; `initial` holds the weights to start from."""
    import pyro
    import torch

    from pyro_entropy import VAE1, EntropySumDiagnostic, fit

    pyro.set_rng_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    vae = VAE1(x.shape[1:], **vae_args)
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
    with torch.no_grad():
        reconstructed = vae.reconstruct(torch.tensor(shown, device=device))
    generated = vae.generate(len(shown), mean=True)
    return result.report, reconstructed.cpu().numpy(), generated.cpu().numpy()


def train_numpyro(
    x: np.ndarray, shown: np.ndarray, vae_args: dict, args: argparse.Namespace, initial: Path | None
) -> Result:
    """Trains in NumPyro, on a GPU where there is one; `initial` holds the weights to start from."""
    import jax
    import optax

    from numpyro_entropy import VAE1, EntropySumDiagnostic, fit

    key = jax.random.key(args.seed)
    vae = VAE1(x.shape[1:], **vae_args)
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
    reconstructed = vae.reconstruct(result.params, shown)
    generated = vae.generate(key, result.params, len(shown), mean=True)
    return result.report, np.asarray(reconstructed), np.asarray(generated)


BACKENDS = {"pyro": ("Pyro", train_pyro), "numpyro": ("NumPyro", train_numpyro)}


def plot_digits(rows: dict[str, np.ndarray], title: str) -> Figure:
    """Draws images of shape `(n, 1, height, width)` side by side, a labelled row for each entry."""
    figure = Figure(figsize=(COLUMNS, 1.1 * len(rows) + 0.4), layout="constrained")
    figure.suptitle(title)
    for axes, (label, images) in zip(figure.subplots(len(rows)), rows.items(), strict=True):
        # One scale for all: each row of its own would hide that the means are less sharp.
        axes.imshow(np.hstack(images[:, 0]), cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel(label, rotation="horizontal", ha="right", va="center")
    return figure


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["both", *BACKENDS], default="both")
    parser.add_argument("--num-data", type=int, default=2000, help="images to train on, to 4,500")
    parser.add_argument("--latent-dim", type=int, default=10)
    parser.add_argument("--hidden", type=int, nargs="+", default=[8, 16], help="channels")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--draws", type=int, default=10, help="a data point, for the report")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("out/conv_vae"))
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> dict[str, EntropyReport]:
    """Runs the experiment, and returns the report of each backend."""
    args = parse(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    data = datasets.mnist_5k(num_test=500)
    # Two more pixels on each side make 32, which can be halved five times; 28 only twice.
    train, test = (
        np.pad(x.reshape(-1, 1, *data.image_shape), [(0, 0), (0, 0), (2, 2), (2, 2)])
        for x in (data.train[: args.num_data], data.test[:COLUMNS])
    )
    flat = train.reshape(len(train), -1)
    vae_args = {
        "latent_dim": args.latent_dim,
        "net": "conv",
        "hidden": args.hidden,
        # Where a decoder that knows only the mean image would have it: from 0 it takes many epochs.
        "initial_log_variance": np.log(optimal_decoder_variance(flat, flat.mean(0))),
    }
    print(f"{data.name}: {len(train):,} images, H = {args.latent_dim}, channels {args.hidden}")

    reports, files, initial = {}, [], None
    for name in BACKENDS if args.backend == "both" else [args.backend]:
        label, train_backend = BACKENDS[name]
        print(f"\n{label}")
        reports[label], reconstructed, new = train_backend(train, test, vae_args, args, initial)
        initial = args.output / f"{name}-initial.safetensors"
        rows = {"held-out digits": test, "reconstructions": reconstructed, "new images": new}
        reports[label].save(args.output / f"{name}.nc")
        figure = plot_digits(rows, f"Convolutional VAE-1, {label}")
        figure.savefig(args.output / f"{name}-digits.png")
        files += sorted(args.output.glob(f"{name}[.-]*"))

    units = next(iter(reports.values())).units
    print(f"\nThe ELBO as a sum of three entropies, in {units}\n")
    print(compare(reports).to_string(float_format="{:.3f}".format))
    print("\nWritten:", *files, sep="\n  ")
    return reports


if __name__ == "__main__":
    main()
