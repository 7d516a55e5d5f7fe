"""Time of a training step in Pyro: replayed from a graph, by the host, and by hand-written code.

All contenders run in turn in one process and train on the same data in shuffled batches, so that
what disturbs one disturbs all. Hand-written code is eager PyTorch with one fused Adam. The table
has the median over the turns of a step's time, and of its ratio to the hand-written one in the same
turn, with the quartiles of that.

    .venv/bin/python benchmarks/capture_time.py  # after `make demo`; writes capture_time.txt
"""

import argparse
import math
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyro
import torch
from pyro.infer import SVI, TraceMeanField_ELBO
from torch import Tensor

from entropy_core.files import write_whole
from entropy_core.training import Callback
from pyro_entropy import IWAE_ELBO, VAE1, CapturedSVI, Standard_ELBO, fit

# Runs some epochs of batches of a size, and returns the seconds of a step.
Contender = Callable[[], float]


class Size(NamedTuple):
    """The widths of a VAE, and its batches."""

    data: int
    hidden: tuple[int, ...]
    latent: int
    batch: int

    def __str__(self) -> str:
        """The widths and the batch size."""
        widths = "-".join(map(str, (self.data, *self.hidden, self.latent)))
        return f"{widths}, batch {self.batch}"


SIZES = (Size(784, (400,), 20, 128), Size(18, (128, 24), 12, 1024))
STEPS_AN_EPOCH = 10


def batches(x: Tensor, size: int) -> Iterator[Tensor]:
    """An epoch of shuffled batches."""
    for rows in torch.randperm(len(x)).split(size):
        yield x[rows]


def stepping(step: Callable[[Tensor], object], x: Tensor, size: int, epochs: int) -> Contender:
    """A contender that takes steps."""

    def run() -> float:
        start = time.perf_counter()
        for _ in range(epochs):
            for batch in batches(x, size):
                step(batch)
        return (time.perf_counter() - start) / (epochs * STEPS_AN_EPOCH)

    return run


def by_hand(size: Size, num_particles: int = 0) -> Callable[[Tensor], object]:
    """A step of hand-written code: the ELBO, or the importance weighted bound."""
    vae = VAE1(size.data, size.latent, hidden=size.hidden)
    encoder, decoder, log_variance = vae.encoder.net, vae.decoder.net, vae.decoder.log_variance
    optim = torch.optim.Adam(vae.parameters(), lr=1e-3, fused=True)

    def elbo_loss(x: Tensor) -> Tensor:
        loc, log_tau2 = encoder(x).chunk(2, -1)
        z = loc + torch.exp(0.5 * log_tau2) * torch.randn_like(loc)
        squares = ((x - decoder(z)) ** 2).sum()
        kl = 0.5 * (loc**2 + log_tau2.exp() - 1 - log_tau2).sum()
        constant = math.log(2 * math.pi) + log_variance
        return kl + 0.5 * (squares * torch.exp(-log_variance) + constant * x.numel())

    def iwae_loss(x: Tensor) -> Tensor:
        loc, log_tau2 = encoder(x).chunk(2, -1)
        noise = torch.randn(num_particles, *loc.shape)
        z = loc + torch.exp(0.5 * log_tau2) * noise
        squares = ((x - decoder(z)) ** 2).sum(-1)
        constant = math.log(2 * math.pi) + log_variance
        log_p = -0.5 * (squares * torch.exp(-log_variance) + constant * size.data)
        log_w = log_p - 0.5 * (z**2).sum(-1) + 0.5 * (noise**2 + log_tau2).sum(-1)
        return -(torch.logsumexp(log_w, 0) - math.log(num_particles)).sum()

    loss_of = iwae_loss if num_particles else elbo_loss

    def step(x: Tensor) -> float:
        loss = loss_of(x)
        optim.zero_grad()
        loss.backward()
        optim.step()
        return loss.item()

    return step


class _Times(Callback):
    """The time at the end of each epoch."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def epoch(self, progress: object) -> None:
        """Notes the time."""
        self.times.append(time.perf_counter())


def fitting(size: Size, x: Tensor, epochs: int, *, capture: bool = True) -> Contender:
    """`fit` in the state that it comes to: the first epochs, in which graphs are made, are left."""

    def run() -> float:
        vae, times, first = VAE1(size.data, size.latent, hidden=size.hidden), _Times(), 7
        fit(
            vae.model,
            vae.guide,
            x,
            num_epochs=first + epochs,
            batch_size=size.batch,
            diagnose_every=first + epochs,
            callbacks=[times],
            capture=capture,
            progress_bar=False,
        )
        # The last epoch ends with a look.
        taken = times.times[first - 1 : -1]
        return (taken[-1] - taken[0]) / ((len(taken) - 1) * STEPS_AN_EPOCH)

    return run


def svi_step(kind: type, size: Size, loss: pyro.infer.ELBO) -> Callable:
    """A step of an SVI of the host or of ours."""
    vae = VAE1(size.data, size.latent, hidden=size.hidden)
    return kind(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), loss).step


def contenders(size: Size, epochs: int) -> dict[str, dict[str, Contender]]:
    """Groups of contenders; the first one of a group is hand-written."""
    x = torch.rand(STEPS_AN_EPOCH * size.batch, size.data)

    def taking(step: Callable, of: Tensor = x, num: int = epochs) -> Contender:
        return stepping(step, of, size.batch, num)

    return {
        f"VAE-1, {size}": {
            "by hand": taking(by_hand(size)),
            "SVI, TraceMeanField_ELBO": taking(svi_step(SVI, size, TraceMeanField_ELBO())),
            "SVI, Standard_ELBO": taking(svi_step(SVI, size, Standard_ELBO())),
            "CapturedSVI, TraceMeanField_ELBO": taking(
                svi_step(CapturedSVI, size, TraceMeanField_ELBO())
            ),
            "CapturedSVI, Standard_ELBO": taking(svi_step(CapturedSVI, size, Standard_ELBO())),
            "fit": fitting(size, x, epochs),
            "fit, capture=False": fitting(size, x, epochs, capture=False),
        },
        f"IWAE K=50, {size}": {
            "by hand": taking(by_hand(size, 50), num=1),
            "SVI, IWAE_ELBO": taking(svi_step(SVI, size, IWAE_ELBO(50)), num=1),
            "CapturedSVI, IWAE_ELBO": taking(svi_step(CapturedSVI, size, IWAE_ELBO(50)), num=1),
        },
    }


def rows(group: str, runs: dict[str, Contender], turns: int) -> Iterator[str]:
    """A line for each contender of a group."""
    yield group
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns):
        names = list(runs)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            times[name].append(runs[name]())
    (first, *_) = times
    for name, taken in times.items():
        ratios = np.array(taken) / np.array(times[first])
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        milliseconds = 1e3 * float(np.median(taken))
        yield f"  {name:<34}{milliseconds:>9.2f}{middle:>8.2f}  ({low:.2f} to {high:.2f})"


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, and writes it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    lines = [
        "A training step in Pyro, float32, Adam: python benchmarks/capture_time.py",
        f"torch {version('torch')}, pyro-ppl {version('pyro-ppl')}, Python "
        f"{platform.python_version()}; two shared cores, one thread; {args.turns} turns",
        "",
        f"  {'':<34}{'ms':>9}{'ratio':>8}  (quartiles)",
    ]
    print("\n".join(lines))
    for size in SIZES:
        pyro.clear_param_store()
        for group, runs in contenders(size, args.epochs).items():
            for line in rows(group, runs, args.turns):
                lines.append(line)
                print(line, flush=True)
    write_whole(args.output, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
