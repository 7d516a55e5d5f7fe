"""Time of `log_likelihood` and of the diagnostic, beside hand-written code and a training epoch.

All contenders of a group run in turn in one process, so that what disturbs one disturbs all. The
table has the median over the turns of a contender's seconds, and of its ratio to the first one of
the group in the same turn, with the quartiles of that. Hand-written likelihoods are eager PyTorch,
which encodes a batch once and adds up chunks of 100 draws, and a compiled `lax.scan` of JAX over
such chunks; they have neither standard errors nor Pareto's k. Whatever is compiled or traced at
the first call of all has been before; what each call traces anew counts.

    python benchmarks/evaluation_time.py    # prints the table, and writes it beside this file
"""

import argparse
import math
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyro
import torch
from jax import lax, random

import numpyro_entropy
import pyro_entropy
from entropy_core.files import write_whole
from entropy_core.training import Callback

# Evaluates so many data points, and returns the seconds.
Contender = Callable[[int], float]
CHUNK, BATCH = 100, 100


class Size(NamedTuple):
    """The widths of a VAE-1."""

    data: int
    hidden: tuple[int, ...]
    latent: int

    def __str__(self) -> str:
        """The widths."""
        return "-".join(map(str, (self.data, *self.hidden, self.latent)))


SIZES = (Size(784, (400,), 20), Size(18, (128, 24), 12))


def timed(function: Callable[[int], Any]) -> Contender:
    """A contender: all of a function's time."""

    def run(num_data: int) -> float:
        start = time.perf_counter()
        function(num_data)
        return time.perf_counter() - start

    return run


def pyro_likelihoods(size: Size, x: np.ndarray, num_particles: int) -> dict[str, Contender]:
    """Log-likelihoods by hand and by this package, in PyTorch."""
    vae = pyro_entropy.VAE1(size.data, size.latent, hidden=size.hidden)
    data = torch.tensor(x)
    encoder, decoder, log_variance = vae.encoder.net, vae.decoder.net, vae.decoder.log_variance

    @torch.no_grad()
    def by_hand(num_data: int) -> np.ndarray:
        found = []
        for batch in data[:num_data].split(BATCH):
            loc, log_tau2 = encoder(batch).chunk(2, -1)
            scale = torch.exp(0.5 * log_tau2)
            total = torch.full((len(batch),), -math.inf)
            for _ in range(num_particles // CHUNK):
                noise = torch.randn(CHUNK, *loc.shape)
                z = loc + scale * noise
                squares = ((batch - decoder(z)) ** 2).sum(-1)
                constant = math.log(2 * math.pi) + log_variance
                log_p = -0.5 * (squares * torch.exp(-log_variance) + constant * size.data)
                log_w = log_p - 0.5 * (z**2).sum(-1) + 0.5 * (noise**2 + log_tau2).sum(-1)
                total = torch.logaddexp(total, torch.logsumexp(log_w, 0))
            found.append(total - math.log(num_particles))
        return torch.cat(found).numpy()

    def ours(num_data: int) -> np.ndarray:
        options = {"num_particles": num_particles, "chunk_size": CHUNK, "batch_size": BATCH}
        return pyro_entropy.log_likelihood(vae.model, vae.guide, data[:num_data], **options).values

    return {"by hand": timed(by_hand), "log_likelihood": timed(ours)}


def numpyro_likelihoods(size: Size, x: np.ndarray, num_particles: int) -> dict[str, Contender]:
    """Log-likelihoods by hand and by this package, in JAX."""
    vae = numpyro_entropy.VAE1(size.data, size.latent, hidden=size.hidden)
    key, data = random.key(0), jnp.asarray(x)
    params = vae.init(key)

    @jax.jit
    def of_batch(key: jax.Array, params: dict, batch: jax.Array) -> jax.Array:
        net = {"params": params["encoder.net$params"]}
        loc, log_tau2 = jnp.split(vae.encoder.net.apply(net, batch), 2, -1)
        net = {"params": params["decoder.net$params"]}
        log_variance, scale = params["decoder.log_variance"], jnp.exp(0.5 * log_tau2)

        def chunk(total: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
            noise = random.normal(key, (CHUNK, *loc.shape))
            z = loc + scale * noise
            squares = jnp.sum((batch - vae.decoder.net.apply(net, z)) ** 2, -1)
            constant = math.log(2 * math.pi) + log_variance
            log_p = -0.5 * (squares * jnp.exp(-log_variance) + constant * size.data)
            log_q = -0.5 * jnp.sum(noise**2 + log_tau2, -1)
            log_w = log_p - 0.5 * jnp.sum(z**2, -1) - log_q
            return jnp.logaddexp(total, jax.nn.logsumexp(log_w, 0)), None

        keys = random.split(key, num_particles // CHUNK)
        return lax.scan(chunk, jnp.full(len(batch), -jnp.inf), keys)[0] - math.log(num_particles)

    def by_hand(num_data: int) -> np.ndarray:
        batches = enumerate(jnp.split(data[:num_data], num_data // BATCH))
        found = [of_batch(random.fold_in(key, i), params, batch) for i, batch in batches]
        return np.concatenate(jax.device_get(found))

    def ours(num_data: int) -> np.ndarray:
        options = {"num_particles": num_particles, "chunk_size": CHUNK, "batch_size": BATCH}
        arguments = key, params, vae.model, vae.guide, data[:num_data]
        return numpyro_entropy.log_likelihood(*arguments, **options).values

    return {"by hand": timed(by_hand), "log_likelihood": timed(ours)}


class _SecondEpoch(Callback):
    """The time of the second epoch, after which training is broken off, without a look."""

    class Over(Exception):
        """The second epoch is over."""

    def __init__(self) -> None:
        self.began = self.seconds = 0.0

    def epoch(self, progress: object) -> None:
        """Notes the time."""
        if self.began:
            self.seconds = time.perf_counter() - self.began
            raise self.Over
        self.began = time.perf_counter()


def epoch_of(fit: Callable[..., Any]) -> Contender:
    """The second epoch of a training: in the first one, all is compiled or traced."""

    def run(num_data: int) -> float:
        watch = _SecondEpoch()
        options = {"num_epochs": 3, "diagnose_every": 3, "progress_bar": False}
        with suppress(_SecondEpoch.Over):
            fit(num_data, batch_size=128, callbacks=[watch], **options)
        return watch.seconds

    return run


def pyro_passes(size: Size, x: np.ndarray) -> dict[str, Contender]:
    """A training epoch and passes of the diagnostic in Pyro."""
    vae = pyro_entropy.VAE1(size.data, size.latent, hidden=size.hidden)
    data = torch.tensor(x)

    def fit(num_data: int, **options: Any) -> None:
        pyro_entropy.fit(vae.model, vae.guide, data[:num_data], **options)

    def look(num_draws: int, num_data: int) -> None:
        diagnostic = pyro_entropy.EntropySumDiagnostic(
            vae.model, vae.guide, num_particles=num_draws
        )
        diagnostic.run(data[:num_data])

    looks = {f"diagnostic, {n} draw(s)": timed(partial(look, n)) for n in (10, 1)}
    return {"training epoch": epoch_of(fit), **looks}


def numpyro_passes(size: Size, x: np.ndarray) -> dict[str, Contender]:
    """A training epoch and passes of the diagnostic in NumPyro."""
    vae = numpyro_entropy.VAE1(size.data, size.latent, hidden=size.hidden)
    key, data = random.key(0), jnp.asarray(x)
    params = vae.init(key)

    def fit(num_data: int, **options: Any) -> None:
        numpyro_entropy.fit(key, vae.model, vae.guide, data[:num_data], **options)

    def look(num_draws: int, num_data: int) -> None:
        diagnostic = numpyro_entropy.EntropySumDiagnostic(
            vae.model, vae.guide, num_particles=num_draws
        )
        diagnostic.run(key, params, data[:num_data])

    looks = {f"diagnostic, {n} draw(s)": timed(partial(look, n)) for n in (10, 1)}
    return {"training epoch": epoch_of(fit), **looks}


def rows(group: str, runs: dict[str, Contender], num_data: int, turns: int) -> Iterator[str]:
    """A line for each contender of a group."""
    yield group
    for run in runs.values():
        run(num_data // 10)
        run(num_data // 10)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns):
        names = list(runs)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            times[name].append(runs[name](num_data))
    (first, *_) = times
    for name, taken in times.items():
        ratios = np.array(taken) / np.array(times[first])
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        seconds = float(np.median(taken))
        yield f"  {name:<24}{seconds:>9.2f}{middle:>8.2f}  ({low:.2f} to {high:.2f})"


def groups(
    widths: Sequence[str], points: int, particles: int, data: int
) -> Iterator[tuple[str, dict, int]]:
    """All groups of contenders, with the number of their data points."""
    rng = np.random.default_rng(0)
    for size in SIZES:
        if str(size) not in widths:
            continue
        x = rng.random((max(points, data), size.data), dtype=np.float32)
        what = f"likelihood of {points} points by {particles} draws, VAE-1 {size}"
        yield f"torch, {what}", pyro_likelihoods(size, x, particles), points
        yield f"JAX, {what}", numpyro_likelihoods(size, x, particles), points
        what = f"pass over {data} points, VAE-1 {size}"
        yield f"Pyro, {what}", pyro_passes(size, x), data
        yield f"NumPyro, {what}", numpyro_passes(size, x), data


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, and writes it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    widths = list(map(str, SIZES))
    parser.add_argument("--widths", nargs="+", choices=widths, default=widths)
    parser.add_argument("--points", type=int, default=1000, help="a multiple of 1000")
    parser.add_argument("--particles", type=int, default=5000, help="a multiple of 100")
    parser.add_argument("--data", type=int, default=50_000)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    packages = ("torch", "pyro-ppl", "jax", "numpyro")
    lines = [
        "Likelihoods and the diagnostic, float32: python benchmarks/evaluation_time.py "
        f"--turns {args.turns} --widths {' '.join(args.widths)}",
        f"{', '.join(f'{name} {version(name)}' for name in packages)}, Python "
        f"{platform.python_version()}; CPU, one thread of torch",
        "",
        f"  {'':<24}{'seconds':>9}{'ratio':>8}  (quartiles)",
    ]
    print("\n".join(lines))
    for group, runs, num_data in groups(args.widths, args.points, args.particles, args.data):
        pyro.clear_param_store()
        for line in rows(group, runs, num_data, args.turns):
            lines.append(line)
            print(line, flush=True)
    write_whole(args.output, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
