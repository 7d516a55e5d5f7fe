"""Time of `guide_error` for a VAE 784-200-10: 10,000 simulations, ours and hand-written code.

Both run on one core, in turn in one process, in batches of 1,000; the table gives medians, after
NumPyro's functions have been compiled, and the peak of resident memory while simulations were
added. By hand are the draws, the densities at true latents and the guide's, and the counts of
ranks: no check, no plate, and only for this model.

    .venv/bin/python benchmarks/guide_error_time.py    # writes guide_error_time.txt
"""

import argparse
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from entropy_core.files import write_whole

D, H, HIDDEN, BATCH = 784, 10, (200,), 1000
LOG_2PI = float(np.log(2 * np.pi))
Contenders = dict[str, Callable[[int], object]]


def pyro_contenders() -> Contenders:
    """Ours and hand-written code in torch."""
    import torch

    from pyro_entropy import VAE1, guide_error

    torch.set_num_threads(1)
    vae, data = VAE1(D, H, hidden=HIDDEN), torch.zeros(BATCH, D)
    encoder, decoder = vae.encoder.net, vae.decoder.net
    log_variance = vae.decoder.log_variance

    def batch() -> tuple:
        z = torch.randn(BATCH, H)
        x = decoder(z)
        x = x + torch.exp(0.5 * log_variance) * torch.randn_like(x)
        loc, log_tau2 = encoder(x).chunk(2, -1)
        scale = torch.exp(0.5 * log_tau2)
        drawn = loc + scale * torch.randn_like(loc)

        def log_w(z: torch.Tensor) -> torch.Tensor:
            squares = ((x - decoder(z)) ** 2).sum(-1) * torch.exp(-log_variance)
            likelihood = -0.5 * (squares + D * (log_variance + LOG_2PI))
            prior = -0.5 * (z**2 + LOG_2PI).sum(-1)
            return (
                likelihood + prior + 0.5 * (((z - loc) / scale) ** 2 + log_tau2 + LOG_2PI).sum(-1)
            )

        return log_w(z) - log_w(drawn), torch.special.ndtr((z - loc) / scale)

    @torch.no_grad()
    def by_hand(num: int) -> tuple[float, float]:
        return _added(num, lambda i: [part.numpy() for part in batch()])

    def ours(num: int) -> object:
        return guide_error(vae.model, vae.guide, data, num_simulations=num, batch_size=BATCH)

    return {"guide_error": ours, "by hand": by_hand}


def numpyro_contenders() -> Contenders:
    """Ours and hand-written code in JAX."""
    import jax
    import jax.numpy as jnp
    from jax import random

    from numpyro_entropy import VAE1, guide_error

    vae, data, key = VAE1(D, H, hidden=HIDDEN), jnp.zeros((BATCH, D)), random.key(0)
    params = vae.init(key)

    @jax.jit
    def batch(params: dict, key: jax.Array) -> tuple:
        log_variance, keys = params["decoder.log_variance"], random.split(key, 3)

        def decoder(z: jax.Array) -> jax.Array:
            return vae.decoder.net.apply({"params": params["decoder.net$params"]}, z)

        z = random.normal(keys[0], (BATCH, H))
        x = decoder(z)
        x = x + jnp.exp(0.5 * log_variance) * random.normal(keys[1], x.shape)
        encoded = vae.encoder.net.apply({"params": params["encoder.net$params"]}, x)
        loc, log_tau2 = jnp.split(encoded, 2, -1)
        scale = jnp.exp(0.5 * log_tau2)
        drawn = loc + scale * random.normal(keys[2], loc.shape)

        def log_w(z: jax.Array) -> jax.Array:
            squares = ((x - decoder(z)) ** 2).sum(-1) * jnp.exp(-log_variance)
            likelihood = -0.5 * (squares + D * (log_variance + LOG_2PI))
            prior = -0.5 * (z**2 + LOG_2PI).sum(-1)
            return (
                likelihood + prior + 0.5 * (((z - loc) / scale) ** 2 + log_tau2 + LOG_2PI).sum(-1)
            )

        return log_w(z) - log_w(drawn), jax.scipy.special.ndtr((z - loc) / scale)

    def by_hand(num: int) -> tuple[float, float]:
        return _added(num, lambda i: jax.device_get(batch(params, random.fold_in(key, i))))

    def ours(num: int) -> object:
        pair = params, vae.model, vae.guide
        return guide_error(key, *pair, data, num_simulations=num, batch_size=BATCH)

    return {"guide_error": ours, "by hand": by_hand}


def _added(num: int, batch: Callable[[int], Sequence[np.ndarray]]) -> tuple[float, float]:
    total, squares, counts = 0.0, 0.0, np.zeros((H, 200), int)
    for i in range(num // BATCH):
        values, below = batch(i)
        total, squares = total + float(values.sum()), squares + float((values**2).sum())
        ranks = np.minimum((200 * below).astype(int), 199) + 200 * np.arange(H)
        counts += np.bincount(ranks.ravel(), minlength=200 * H).reshape(H, 200)
    mean = total / num
    return mean, ((squares / num - mean**2) / num) ** 0.5


def measure(contenders: Contenders, num: int, turns: int) -> dict[str, list[float]]:
    """The seconds of each contender in each turn, after a first one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(turns + 1):
        for name, contender in contenders.items():
            start = time.perf_counter()
            contender(num)
            if turn:
                times[name].append(time.perf_counter() - start)
    return times


def peak() -> float:
    """The peak of resident memory of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, and writes it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--simulations", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    args = parser.parse_args(argv)
    # Before JAX counts the cores.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    num, lines = args.simulations, []
    for backend, make in (("Pyro", pyro_contenders), ("NumPyro", numpyro_contenders)):
        contenders = make()
        times = measure(contenders, num, args.turns)
        ours = statistics.median(times["guide_error"])
        for name, values in times.items():
            seconds = statistics.median(values)
            lines.append(f"{backend:8} {name:12} {seconds:10.2f} {ours / seconds:12.2f}")
        before = peak()
        contenders["guide_error"](10 * num)
        lines.append(
            f"{backend:8} peak memory, MiB: {before:.0f} after {num:,} simulations, {peak():.0f} "
            f"after {10 * num:,}"
        )
    packages = ", ".join(f"{p} {version(p)}" for p in ("torch", "pyro-ppl", "jax", "numpyro"))
    table = [
        f"{num:,} simulations, VAE 784-200-10, batches of {BATCH:,}, float32, one core; "
        f"{args.turns} turns.",
        f"python benchmarks/guide_error_time.py; Python {platform.python_version()}, {packages}.",
        "",
        f"{'backend':8} {'':12} {'median s':>10} {'ours/this':>12}",
        *lines,
    ]
    text = "\n".join(table) + "\n"
    print(text)
    write_whole(args.output, text.encode())


if __name__ == "__main__":
    main()
