"""Time of `fit` in NumPyro: a step beside hand-written loops, a second start, fifty seeds at once.

All contenders take an epoch in turn in one process, ours within a single `fit`, so that what
disturbs one disturbs all. The table has the median time of a step, the median of the ratios within
a turn, and their quartiles. All are trained with `optax.adam`, in float32.

    make bench      # prints the tables, and writes them to benchmarks/scan_time.txt
"""

import argparse
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from entropy_core.datasets import pca_ring
from entropy_core.files import write_whole
from entropy_core.training import Callback

# The data's dimension, hidden layers, the latents' dimension, the size of a batch.
SIZES = {"784-400-20": (784, (400,), 20, 128), "18-(128,24)-12": (18, (128, 24), 12, 1024)}
WARM_UP = 4
SCANNED = "by hand, scanned epoch"


def by_hand(vae: Any, x: Any, batch: int) -> dict[str, Callable[[], None]]:
    """An epoch of each contender: hand-written code, and the host's objective."""
    import jax
    import jax.numpy as jnp
    import optax
    from jax import random
    from numpyro.infer import SVI, TraceMeanField_ELBO

    optim, key, num = optax.adam(1e-3), random.key(0), len(x)

    def loss_of(params: dict, key: jax.Array, data: jax.Array) -> jax.Array:
        encoder = {"params": params["encoder.net$params"]}
        decoder = {"params": params["decoder.net$params"]}
        loc, log_tau2 = jnp.split(vae.encoder.net.apply(encoder, data), 2, -1)
        z = loc + jnp.exp(0.5 * log_tau2) * random.normal(key, loc.shape)
        squares = jnp.sum((data - vae.decoder.net.apply(decoder, z)) ** 2)
        kl = 0.5 * jnp.sum(loc**2 + jnp.exp(log_tau2) - 1 - log_tau2)
        log_variance = params["decoder.log_variance"]
        constant = jnp.log(2 * jnp.pi) + log_variance
        return (kl + 0.5 * (squares * jnp.exp(-log_variance) + constant * data.size)) / len(data)

    def update(carry: tuple, rows: jax.Array, x: jax.Array) -> tuple:
        params, state, key = carry
        key, draw = random.split(key)
        loss, grads = jax.value_and_grad(loss_of)(params, draw, x[rows])
        updates, state = optim.update(grads, state)
        return (optax.apply_updates(params, updates), state, key), loss

    svi = SVI(vae.model, vae.guide, optim, TraceMeanField_ELBO(), total=num)

    def host_update(state: Any, rows: jax.Array, x: jax.Array) -> tuple:
        return svi.update(state, x[rows])

    def epoch_of(step: Callable, carry: Any, *, scanned: bool) -> Callable[[], None]:
        order = jax.jit(lambda key: random.permutation(key, num).reshape(-1, batch))
        one = jax.jit(step)

        @partial(jax.jit, donate_argnums=0)
        def scan(carry: Any, rows: jax.Array, x: jax.Array) -> tuple:
            return jax.lax.scan(lambda carry, rows: step(carry, rows, x), carry, rows)

        order_key = random.key(1)

        def epoch() -> None:
            nonlocal carry, order_key
            order_key, draw = random.split(order_key)
            rows = order(draw)
            if scanned:
                carry, losses = scan(carry, rows, x)
            else:
                losses = []
                for batch_rows in rows:
                    carry, loss = one(carry, batch_rows, x)
                    losses.append(loss)
            np.asarray(jax.device_get(losses))

        return epoch

    def hand() -> tuple:
        params = vae.init(key)
        return params, optim.init(params), random.key(2)

    return {
        SCANNED: epoch_of(update, hand(), scanned=True),
        "by hand, jitted steps": epoch_of(update, hand(), scanned=False),
        "svi.update, scanned": epoch_of(host_update, svi.init(key, x[:batch]), scanned=True),
        "svi.update, jitted": epoch_of(host_update, svi.init(key, x[:batch]), scanned=False),
    }


class Turns(Callback):
    """Times the epochs of a training, and those of others between them."""

    def __init__(self, others: dict[str, Callable[[], None]]) -> None:
        self.others = others
        self.times: dict[str, list[float]] = {name: [] for name in ["fit", *others]}
        self.begun = self.last = 0.0

    def start(self, progress: Any) -> None:
        """Begins the clock."""
        self.begun = self.last = time.perf_counter()

    def epoch(self, progress: Any) -> None:
        """Reads it, and lets the others take an epoch, each turn in another order."""
        self.times["fit"].append(time.perf_counter() - self.last)
        names = list(self.others)
        first = progress.epoch % max(1, len(names))
        for name in names[first:] + names[:first]:
            begin = time.perf_counter()
            self.others[name]()
            self.times[name].append(time.perf_counter() - begin)
        self.last = time.perf_counter()


def steps(size: str, num_batches: int, turns: int) -> list[str]:
    """The rows of a size: a step of each contender, and what a fit of the same shapes starts in."""
    import jax
    import jax.numpy as jnp
    import optax

    from numpyro_entropy import VAE1, Standard_ELBO, fit

    data_dim, hidden, latent_dim, batch = SIZES[size]
    vae, loss = VAE1(data_dim, latent_dim, hidden=hidden), Standard_ELBO()
    x = jnp.asarray(np.random.default_rng(0).random((num_batches * batch, data_dim), np.float32))

    def start_of(seed: int, turn: Turns, num_epochs: int) -> float:
        """Trains; the seconds until its first epoch was done."""
        begin = time.perf_counter()
        options = {"diagnose_every": num_epochs, "progress_bar": False, "callbacks": [turn]}
        fit(
            jax.random.key(seed),
            vae.model,
            vae.guide,
            x,
            loss=loss,
            optim=optax.adam(1e-3),
            batch_size=batch,
            num_epochs=num_epochs,
            **options,
        )
        return turn.begun - begin + turn.times["fit"][0]

    turn = Turns(by_hand(vae, x, batch))
    start_of(0, turn, WARM_UP + turns)
    starts = [start_of(seed, Turns({}), 2) for seed in (1, 2, 3)]
    times = {name: values[WARM_UP:-1] for name, values in turn.times.items()}
    lines = [row(size, name, values, times[SCANNED], num_batches) for name, values in times.items()]
    epoch = statistics.median(times["fit"])
    again = statistics.median(starts) - epoch
    return [*lines, f"{size:15} a second fit of the same shapes starts in {again:.2f} s"]


def row(size: str, name: str, values: list[float], scanned: list[float], num_steps: int) -> str:
    """A line: the median time of a step, and its ratio to that of the hand-written scan."""
    ratios = [a / b for a, b in zip(values, scanned, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    ms = 1e3 * statistics.median(values) / num_steps
    return f"{size:15} {name:24} {ms:9.3f} {middle:8.3f}   {low:.3f} to {high:.3f}"


def looks(num_data: int) -> list[str]:
    """A line for each evaluation: its first call, and the median of three more."""
    import jax

    from numpyro_entropy import (
        VAE1,
        laplace_log_evidence,
        log_likelihood,
        mutual_information,
    )

    data_dim, hidden, latent_dim, _ = SIZES["18-(128,24)-12"]
    vae, key = VAE1(data_dim, latent_dim, hidden=hidden), jax.random.key(0)
    x, params = jax.random.uniform(key, (num_data, data_dim)), vae.init(key)
    pair = params, vae.model, vae.guide, x
    calls: dict[str, Callable[[], object]] = {
        "log_likelihood, 100 draws": lambda: log_likelihood(key, *pair, num_particles=100),
        "laplace_log_evidence": lambda: laplace_log_evidence(*pair),
        "mutual_information": lambda: mutual_information(key, *pair),
    }
    lines = []
    for name, call in calls.items():
        times = []
        for _ in range(4):
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
        again = statistics.median(times[1:])
        lines.append(f"{name:26} first {times[0]:5.2f} s, again {again:5.2f} s")
    return lines


def seeds(num_seeds: int, num_epochs: int, num_fits: int) -> list[float]:
    """The seconds of some trainings one after another in a new process; with 1, of several seeds.

    Args:
        num_seeds: The number of seeds that train at once.
        num_epochs: The number of epochs.
        num_fits: The number of trainings.
    """
    import jax

    from numpyro_entropy import VAE3, fit

    x = pca_ring(num_train=1000).train
    vae, times = VAE3(x.shape[1], 2, hidden=(50, 50)), []
    options = {"num_epochs": num_epochs, "batch_size": 100, "diagnose_every": num_epochs}
    for seed in range(num_fits):
        keys = jax.random.split(jax.random.key(seed), num_seeds)
        begin = time.perf_counter()
        key = keys if num_seeds > 1 else keys[0]
        fit(key, vae.model, vae.guide, x, progress_bar=False, **options)
        times.append(time.perf_counter() - begin)
    return times


def in_new_process(*args: int) -> list[float]:
    """`seeds` where nothing has been compiled yet."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(seeds, *args).result()


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the tables, and writes them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    args = parser.parse_args(argv)
    packages = ("jax", "numpyro", "flax", "optax")
    # Those that the process may use.
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count()
    lines = [
        f"A training of a VAE-1, float32, {args.batches} batches an epoch; {args.turns} turns.",
        "python benchmarks/scan_time.py; Python " + platform.python_version() + ", "
        f"{', '.join(f'{name} {version(name)}' for name in packages)}; CPU, {cores} core(s).",
        "",
        f"{'size':15} {'contender':24} {'median ms':>9} {'ratio':>8}   quartiles",
    ]
    for size in SIZES:
        lines += steps(size, args.batches, args.turns)
    lines += ["", "Evaluations of 200 data points, 18-(128,24)-12, whole calls:", *looks(200), ""]
    alone = in_new_process(1, args.epochs, 10)
    together = in_new_process(args.seeds, args.epochs, 2)
    lines += [
        f"VAE-3 on 1000 points of pca_ring, 10-(50,50)-2, batches of 100, {args.epochs} epochs:",
        f"ten fits one after another {sum(alone):.1f} s: the first, with compiling, "
        f"{alone[0]:.1f} s, then {statistics.median(alone[1:]):.2f} s each",
        f"{args.seeds} seeds at once {together[0]:.1f} s with compiling, then {together[1]:.1f} s",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    write_whole(args.output, text.encode())


if __name__ == "__main__":
    main()
