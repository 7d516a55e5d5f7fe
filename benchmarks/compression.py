"""Data in bytes: rates and speed of `compress`, beside general compressors.

Two VAEs are trained on 4,000 of 5,000 MNIST digits, binarised (Bernoulli) and at 8 bits (logistic,
with a scale for each pixel from the net), and all 5,000 and the 1,000 others are compressed. Then
what the bits of a latent's bin change, how the rate and the speed grow with the number of chains,
and the speed with D and H.

    .venv/bin/python benchmarks/compression.py    # writes benchmarks/compression.txt
"""

import argparse
import platform
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pyro_entropy as m
from entropy_core.coding.general import general_compressors
from entropy_core.datasets import mnist_5k
from entropy_core.files import write_whole

PIXELS, LATENT, HIDDEN = 784, 20, (400,)
# Townsend et al. 2019, Table 1, for the 10,000 test digits and nets of their own.
BB_ANS = {"binarised": 0.19, "8 bits": 1.41}


class PixelLogisticDecoder(m.Decoder):
    """Levels by a logistic density, whose location and scale come from the net."""

    heads = 2

    def distribution(self, *heads: torch.Tensor) -> Any:
        """The probabilities of the levels."""
        loc, log_scale = heads
        return m.DiscretizedLogistic(loc, torch.exp(log_scale.clamp(-8, 2)), 256)


def make(kind: str, dim: int = PIXELS, latent: int = LATENT) -> m.VAE:
    """An untrained VAE."""
    if kind == "binarised":
        return m.BernoulliVAE(dim, latent, hidden=HIDDEN)
    encoder = m.NormalEncoder(m.MLP(dim, 2 * latent, HIDDEN))
    decoder = PixelLogisticDecoder(m.MLP(latent, 2 * dim, HIDDEN))
    return m.VAE(m.StandardNormalPrior(latent), encoder, decoder, (dim,))


def train(vae: m.VAE, x: torch.Tensor, num_epochs: int) -> None:
    """Trains with Adam."""
    bound = m.Standard_ELBO()(vae.model, vae.guide)
    optimiser = torch.optim.Adam(vae.parameters(), 1e-3)
    for _ in range(num_epochs):
        for rows in torch.randperm(len(x)).split(100):
            optimiser.zero_grad()
            (bound(x[rows]) / len(rows)).backward()
            optimiser.step()


def timed(vae: m.VAE, x: torch.Tensor, **options: Any) -> tuple[Any, float, float]:
    """A code, and the data points a second of both ways; they lose nothing, or this fails.

    Seconds are those of the processor: others work on the same cores.
    """
    start = time.process_time()
    compressed = m.compress(vae, x, **options)
    middle = time.process_time()
    if not torch.equal(m.decompress(vae, compressed), x):
        raise AssertionError("other data")
    end = time.process_time()
    return compressed.rate, len(x) / (middle - start), len(x) / (end - middle)


@torch.no_grad()
def nets_alone(vae: m.VAE, x: torch.Tensor, num_chains: int) -> float:
    """Data points a second of both nets at a code's batch shape."""
    z = torch.zeros(num_chains, vae.prior().event_shape[0])
    start = time.process_time()
    for rows in x.split(num_chains):
        vae.encoder(rows)
        vae.decoder(z)
    return len(x) / (time.process_time() - start)


@torch.no_grad()
def elbo_bits(vae: m.VAE, x: torch.Tensor, num_draws: int = 10) -> tuple[float, float]:
    """The negative ELBO in bits a point, as the host's objective has it, and its standard error."""
    bound = m.Standard_ELBO()(vae.model, vae.guide)
    draws = np.array([bound(x).item() for _ in range(num_draws)]) / len(x) / np.log(2)
    return float(draws.mean()), float(draws.std(ddof=1) / num_draws**0.5)


def rates(kind: str, vae: m.VAE, sets: dict[str, torch.Tensor]) -> Iterator[str]:
    """What a code takes, and others."""
    for name, x in sets.items():
        rate, there, back = timed(vae, x)
        mean, error = elbo_bits(vae, x)
        # The code has one draw of its own.
        both = 100 * error * 11**0.5 / mean
        alone = nets_alone(vae, x, rate.num_chains)
        per_dim = rate.num_points * rate.num_dims
        yield f"{kind}, {name}: {rate.num_chains} chains, latents of {rate.precision} bits"
        yield f"  code less seed and header   {rate.code_bits_per_dim:.5f} bits a pixel"
        exact = rate.negative_elbo / per_dim
        yield f"  negative ELBO, same draws   {exact:.5f} ({rate.excess:+.3%})"
        yield (
            f"  negative ELBO, other draws  {mean / rate.num_dims:.5f} "
            f"({rate.code_bits_per_point / mean - 1:+.3%} +- {both:.3f} %)"
        )
        yield f"  with the seed               {rate.code / per_dim:.5f}"
        yield f"  the whole file              {rate.file_bits_per_dim:.5f}"
        yield (
            f"  digits a second: {there:.0f} written, {back:.0f} read; both nets alone {alone:.0f}"
        )
        levels = np.rint(x.numpy() * (255 if kind == "8 bits" else 1))
        found = general_compressors(levels, (28, 28))
        others = ", ".join(f"{other} {bits:.3f}" for other, bits in found.items())
        yield f"  others, bits a pixel: {others}"
    yield (f"  published for BB-ANS, of another net and of all 10,000 test digits: {BB_ANS[kind]}")
    yield ""


def precisions(vae: m.VAE, x: torch.Tensor) -> Iterator[str]:
    """What the bits of a bin's number change."""
    mean, error = elbo_bits(vae, x, 20)
    yield (
        f"bits of a latent's bin, {len(x)} binarised digits; above the negative ELBO of "
        f"{mean:.3f} +- {error:.3f} bits a point on other draws"
    )
    yield f"{'b':>4}{'less seed':>12}{'with seed':>12}{'same draws':>12}"
    for bits in range(6, 19):
        rate = m.compress(vae, x, precision=bits).rate
        yield (
            f"{bits:>4}{rate.code_bits_per_point / mean - 1:>12.3%}"
            f"{rate.code / rate.num_points / mean - 1:>12.3%}{rate.excess:>12.4%}"
        )
    yield ""


def chains(vae: m.VAE, x: torch.Tensor) -> Iterator[str]:
    """What more chains cost and bring."""
    yield f"chains, {len(x)} binarised digits; above the negative ELBO on the same draws"
    yield f"{'chains':>8}{'less seed':>12}{'with seed':>12}{'written/s':>11}{'read/s':>9}"
    for num in (1, 4, 16, 64, 256):
        rate, there, back = timed(vae, x, num_chains=num)
        seeded = rate.code / rate.negative_elbo - 1
        yield f"{num:>8}{rate.excess:>12.3%}{seeded:>12.3%}{there:>11.0f}{back:>9.0f}"
    yield ""


def sizes() -> Iterator[str]:
    """How the speed grows with the sizes, with untrained nets."""
    yield "points a second, 1,000 points, 16 chains, untrained nets"
    yield f"{'data':<12}{'D':>6}{'H':>5}{'written':>9}{'read':>8}{'nets alone':>12}"
    rng = torch.Generator().manual_seed(0)
    for kind in BB_ANS:
        for dim, latent in ((196, 20), (784, 5), (784, 20), (784, 80), (3136, 20)):
            levels = torch.randint(0, 256, (1000, dim), generator=rng) / 255
            x = levels if kind == "8 bits" else levels.round()
            vae = make(kind, dim, latent)
            _, there, back = timed(vae, x, num_chains=16)
            alone = nets_alone(vae, x, 16)
            yield f"{kind:<12}{dim:>6}{latent:>5}{there:>9.0f}{back:>8.0f}{alone:>12.0f}"
    yield ""


def all_lines(num_epochs: int) -> Iterator[str]:
    """The whole table."""
    yield "Data in bytes: python benchmarks/compression.py"
    yield (
        f"torch {version('torch')}, constriction {version('constriction')}, Python "
        f"{platform.python_version()}; one thread; seconds are the processor's"
    )
    yield (
        f"MLPs of {HIDDEN[0]} hidden units, {LATENT} latents; {num_epochs} epochs of Adam at 1e-3 "
        f"for binarised digits, {num_epochs // 2} at 8 bits, batches of 100"
    )
    yield ""
    data = mnist_5k(num_test=1000)
    grey = torch.tensor(np.concatenate([data.train, data.test]))
    for kind in BB_ANS:
        x = grey if kind == "8 bits" else (grey > 0.5).float()
        torch.manual_seed(0)
        vae = make(kind)
        train(vae, x[:4000], num_epochs if kind == "binarised" else num_epochs // 2)
        yield from rates(kind, vae, {"5,000 digits": x, "1,000 held-out digits": x[4000:]})
        if kind == "binarised":
            yield from precisions(vae, x)
            yield from chains(vae, x[:2000])
    yield from sizes()


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the tables, and writes them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    lines = []
    for line in all_lines(args.epochs):
        lines.append(line)
        print(line, flush=True)
    write_whole(args.output, ("\n".join(lines).rstrip() + "\n").encode())


if __name__ == "__main__":
    main()
