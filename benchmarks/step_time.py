"""Time of one training step of a VAE-1: ours, the host's objective, and hand-written code.

All contenders of a backend run in turn in one process, so that what disturbs one disturbs all; the
table gives the median of their times and of the ratios within a turn.

    make bench      # prints the table, and writes it to benchmarks/step_time.txt
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from entropy_core.files import write_whole

D, H, HIDDEN = 784, 10, (200,)
Steps = dict[str, Callable[[], object]]


def pyro_steps(x: np.ndarray) -> Steps:
    """A step of each contender in Pyro, all with Adam from the same kind of start."""
    import pyro
    import torch
    from pyro.infer import SVI, TraceMeanField_ELBO

    from pyro_entropy import VAE1, Standard_ELBO

    data = torch.tensor(x)

    def svi(elbo: pyro.infer.ELBO) -> Callable[[], object]:
        vae = VAE1(D, H, hidden=HIDDEN)
        svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-3}), elbo)
        return lambda: svi.step(data)

    vae = VAE1(D, H, hidden=HIDDEN)
    encoder, decoder = vae.encoder.net, vae.decoder.net
    log_variance = vae.decoder.log_variance
    optim = torch.optim.Adam(vae.parameters(), lr=1e-3)

    def by_hand() -> None:
        loc, log_tau2 = encoder(data).chunk(2, -1)
        z = loc + torch.exp(0.5 * log_tau2) * torch.randn_like(loc)
        squares = ((data - decoder(z)) ** 2).sum()
        kl = 0.5 * (loc**2 + log_tau2.exp() - 1 - log_tau2).sum()
        constant = np.log(2 * np.pi) + log_variance
        loss = kl + 0.5 * (squares * torch.exp(-log_variance) + constant * data.numel())
        optim.zero_grad()
        loss.backward()
        optim.step()
        loss.item()

    return {
        "Standard_ELBO": svi(Standard_ELBO()),
        "TraceMeanField_ELBO": svi(TraceMeanField_ELBO()),
        "by hand": by_hand,
    }


def numpyro_steps(x: np.ndarray) -> Steps:
    """A compiled step of each contender in NumPyro."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import optax
    from numpyro.infer import SVI, TraceMeanField_ELBO

    from numpyro_entropy import VAE1, Standard_ELBO

    data, vae, key = jnp.asarray(x), VAE1(D, H, hidden=HIDDEN), jax.random.key(0)

    def svi(elbo: numpyro.infer.ELBO) -> Callable[[], None]:
        svi = SVI(vae.model, vae.guide, numpyro.optim.Adam(1e-3), elbo)
        update, state = jax.jit(svi.update), svi.init(key, data)

        def step() -> None:
            nonlocal state
            state, loss = update(state, data)
            loss.block_until_ready()

        return step

    optim = optax.adam(1e-3)

    def loss_by_hand(params: dict, key: jax.Array) -> jax.Array:
        encoder = {"params": params["encoder.net$params"]}
        decoder = {"params": params["decoder.net$params"]}
        loc, log_tau2 = jnp.split(vae.encoder.net.apply(encoder, data), 2, -1)
        z = loc + jnp.exp(0.5 * log_tau2) * jax.random.normal(key, loc.shape)
        squares = jnp.sum((data - vae.decoder.net.apply(decoder, z)) ** 2)
        kl = 0.5 * jnp.sum(loc**2 + jnp.exp(log_tau2) - 1 - log_tau2)
        log_variance = params["decoder.log_variance"]
        constant = jnp.log(2 * jnp.pi) + log_variance
        return kl + 0.5 * (squares * jnp.exp(-log_variance) + constant * data.size)

    @jax.jit
    def update(params: dict, state: optax.OptState, key: jax.Array) -> tuple:
        key, draw = jax.random.split(key)
        loss, grads = jax.value_and_grad(loss_by_hand)(params, draw)
        updates, state = optim.update(grads, state)
        return (optax.apply_updates(params, updates), state, key), loss

    params = vae.init(key)
    carry = (params, optim.init(params), key)

    def by_hand() -> None:
        nonlocal carry
        carry, loss = update(*carry)
        loss.block_until_ready()

    return {
        "Standard_ELBO": svi(Standard_ELBO()),
        "TraceMeanField_ELBO": svi(TraceMeanField_ELBO()),
        "by hand": by_hand,
    }


def measure(steps: Steps, turns: int) -> dict[str, list[float]]:
    """The seconds of each contender in each turn, in an order that changes with the turn."""
    for step in steps.values():
        for _ in range(5):
            step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(turns):
        names = list(steps)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            steps[name]()
            times[name].append(time.perf_counter() - start)
    return times


def rows(label: str, batch: int, times: dict[str, list[float]]) -> list[str]:
    """A line for each contender: its median time, and ours relative to it."""
    ours = times["Standard_ELBO"]
    return [
        f"{label:8} {batch:6} {name:20} {1e3 * statistics.median(values):9.2f} "
        f"{statistics.median(a / b for a, b in zip(ours, values, strict=True)):12.2f}"
        for name, values in times.items()
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, and writes it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[128, 1000])
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    args = parser.parse_args(argv)
    packages = ("torch", "pyro-ppl", "jax", "numpyro")
    lines = [
        f"One training step of a VAE-1, {D}-{HIDDEN[0]}-{H}, float32, Adam; {args.turns} turns.",
        "python benchmarks/step_time.py; Python " + platform.python_version() + ", "
        f"{', '.join(f'{name} {version(name)}' for name in packages)}; CPU.",
        "",
        f"{'backend':8} {'batch':>6} {'objective':20} {'median ms':>9} {'ours/this':>12}",
    ]
    for label, make in (("Pyro", pyro_steps), ("NumPyro", numpyro_steps)):
        for batch in args.batch_sizes:
            x = np.random.default_rng(0).random((batch, D), dtype=np.float32)
            lines += rows(label, batch, measure(make(x), args.turns))
    text = "\n".join(lines) + "\n"
    print(text)
    write_whole(args.output, text.encode())


if __name__ == "__main__":
    main()
