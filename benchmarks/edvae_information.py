"""Estimates of the mutual information beside its exact value, by the size of the batch.

The encoder is conjugate: `x ~ N(0, I)` in five dimensions and `z ~ N(x, v I)`, so that
`I(x; z) = 5/2 log(1 + 1/v)`. Each estimate is a mean over many batches, with its standard error:
InfoNCE with the densities of the guide and with dot products, as they are and with the floor of
each batch at zero, and the estimate by the aggregate of the batch. The positives are the data with
noise of standard deviation `radius`.

    python benchmarks/edvae_information.py    # writes edvae_information.txt, and the figure
"""

import argparse
import math
from collections.abc import Sequence
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch.distributions import Independent, Normal

from entropy_core.files import write_whole
from pyro_entropy.elbos.aggregate import aggregate_entropy
from pyro_entropy.elbos.edvae import density_info_nce, info_nce

LATENTS, BATCHES, RADIUS = 5, (8, 32, 128, 512), 0.3
EXACT = (0.5, 2.0, 6.0)
FIGURE = Path(__file__).parents[1] / "docs" / "images" / "edvae-information.png"
# Each estimate with its critic, and with the radius of its positives.
ESTIMATES = {
    "density": ("density", 0.0),
    f"density, radius {RADIUS:g}": ("density", RADIUS),
    "dot": ("dot", 0.0),
    "aggregate": ("aggregate", 0.0),
}


def estimate(kind: str, radius: float, variance: float, size: int) -> float:
    """One estimate, from one batch."""
    x = torch.randn(size, LATENTS)

    def encoder(x: torch.Tensor) -> Independent:
        return Independent(Normal(x, torch.full_like(x, variance**0.5)), 1)

    q, positive = encoder(x), encoder(x + radius * torch.randn_like(x))
    z = q.sample()
    if kind == "aggregate":
        return float(aggregate_entropy(q, z, size) - q.entropy().mean())
    if kind == "density":
        return float(density_info_nce(positive, z))
    return float(info_nce(z, positive.sample()))


def means(exact: float, num_draws: int) -> dict[tuple[str, int], NDArray[np.float64]]:
    """For each estimate and batch: the mean with its error, and the same after the floor."""
    variance = 1 / math.expm1(2 * exact / LATENTS)
    found = {}
    for name, (kind, radius) in ESTIMATES.items():
        for size in BATCHES:
            count = max(8, num_draws // size)
            values = np.array([estimate(kind, radius, variance, size) for _ in range(count)])
            both = np.stack([values, np.maximum(values, 0)])
            found[name, size] = np.stack([both.mean(1), both.std(1, ddof=1) / count**0.5], 1)
    return found


def draw(tables: dict[float, dict[tuple[str, int], NDArray[np.float64]]]) -> bytes:
    """The estimates by the size of the batch, a panel for each exact value."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    for panel, (exact, table) in zip(figure.subplots(1, len(tables)), tables.items(), strict=True):
        panel.axhline(exact, color="black", linewidth=1, label="exact")
        panel.plot(BATCHES, np.log(BATCHES), color="grey", linestyle=":", label="log B")
        for i, name in enumerate(ESTIMATES):
            floor = int(name != "aggregate")
            rows = np.array([table[name, size][floor] for size in BATCHES])
            label = f"{name}, floored" if floor else name
            panel.errorbar(
                BATCHES,
                rows[:, 0],
                2 * rows[:, 1],
                color=f"C{i}",
                linestyle="-" if floor else "--",
                marker="o",
                markersize=3,
                label=label,
            )
        panel.set(title=f"exact {exact:g} nats", xlabel="B", xscale="log")
        panel.set_ylim(-0.1 * exact, 1.25 * exact)
    figure.axes[0].set_ylabel("estimate of I(x; z), nats")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    file = BytesIO()
    figure.savefig(file, dpi=110)
    return file.getvalue()


def main(argv: Sequence[str] | None = None) -> None:
    """Estimates, and writes the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=20_000, help="data points of a mean")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    parser.add_argument("--figure", type=Path, default=FIGURE)
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    tables = {exact: means(exact, args.draws) for exact in EXACT}
    lines = [
        f"five latents, {args.draws} data points for each mean, 8 batches at least; torch "
        f"{version('torch')}",
        "mean and standard error, in nats, and the mean after the floor of each batch at zero",
        "",
        f"{'exact':>6}{'B':>6}{'log B':>7}" + "".join(f"{name:>30}" for name in ESTIMATES),
    ]
    for exact, table in tables.items():
        for size in BATCHES:
            line = f"{exact:6g}{size:6}{math.log(size):7.2f}"
            for name in ESTIMATES:
                (mean, error), (floored, _) = table[name, size]
                line += f"{mean:14.3f} +-{error:6.3f}{floored:7.3f}"
            lines.append(line)
    write_whole(args.output, ("\n".join(lines) + "\n").encode())
    write_whole(args.figure, draw(tables))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
