"""How the cost of a training step grows with the data, the model and the draws.

A step at four sizes of one quantity, all others as at the start; the slope is that of the logarithm
of its median time over the logarithm of the size, by least squares: 1 where it grows in proportion,
0 where it does not grow. In Pyro a step is one of `SVI` with the host's objective or ours, and of
`CapturedSVI` with ours; in NumPyro the compiled `SVI.update`. A step picks its batch from the data.

    python benchmarks/growth.py    # prints the table, and writes it beside this file
"""

import argparse
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.infer
import pyro
import pyro.infer
import torch
from jax import random

import numpyro_entropy
import pyro_entropy
from entropy_core.files import write_whole

Steps = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class Setting:
    """What a step costs by.

    Args:
        data: The number of data points, `N`.
        dim: The dimension of a data point, `D`.
        latent: The latent dimension, `H`.
        draws: The number of draws for each data point, `K`; with 0, the objective is the ELBO.
        batch: The number of data points in a batch.
        sites: The number of latent sites of a hierarchy; with 0, the model is a VAE-1.
    """

    data: int = 4096
    dim: int = 128
    latent: int = 16
    draws: int = 0
    batch: int = 128
    sites: int = 0


SIZES = {
    "data": (2048, 8192, 32768, 131_072),
    "dim": (128, 256, 512, 1024),
    "latent": (16, 32, 64, 128),
    "batch": (128, 256, 512, 1024),
    "draws": (8, 16, 32, 64),
    "sites": (1, 2, 4, 8),
}
HIDDEN = (128,)


def chain(host: object, zeros: Callable, sites: int) -> tuple[Callable, Callable]:
    """A chain of normal latent sites of one dimension in Pyro or NumPyro, and its guide."""

    def model(x: object) -> None:
        with host.plate("data", len(x)):
            loc = zeros(len(x))
            for i in range(sites):
                loc = host.sample(f"z{i}", host.distributions.Normal(loc, 1.0))
            host.sample("x", host.distributions.Normal(loc, 1.0), obs=x[:, 0])

    def guide(x: object) -> None:
        slopes = [host.param(f"slope{i}", zeros(()) + 0.1) for i in range(sites)]
        with host.plate("data", len(x)):
            for i, slope in enumerate(slopes):
                host.sample(f"z{i}", host.distributions.Normal(slope * x[:, 0], 0.5))

    return model, guide


def pyro_steps(setting: Setting) -> Steps:
    """A step of each contender in Pyro."""
    x = torch.rand(setting.data, setting.dim)

    def step(kind: type, loss: pyro.infer.ELBO) -> Callable[[], object]:
        if setting.sites:
            model, guide = chain(pyro, torch.zeros, setting.sites)
        else:
            vae = pyro_entropy.VAE1(setting.dim, setting.latent, hidden=HIDDEN)
            model, guide = vae.model, vae.guide
        svi = kind(model, guide, pyro.optim.Adam({"lr": 1e-3}), loss)
        return lambda: svi.step(x[torch.randint(setting.data, (setting.batch,))])

    if setting.draws:
        host = pyro.infer.RenyiELBO(0, setting.draws, vectorize_particles=True, max_plate_nesting=1)
        name, ours = "IWAE_ELBO", pyro_entropy.IWAE_ELBO(setting.draws)
    else:
        host, name, ours = pyro.infer.TraceMeanField_ELBO(), "Standard_ELBO", None
        ours = pyro_entropy.Standard_ELBO()
    return {
        f"SVI, {type(host).__name__}": step(pyro.infer.SVI, host),
        f"SVI, {name}": step(pyro.infer.SVI, ours),
        f"CapturedSVI, {name}": step(pyro_entropy.CapturedSVI, ours),
    }


def numpyro_steps(setting: Setting) -> Steps:
    """A compiled step of each contender in NumPyro."""
    x = random.uniform(random.key(0), (setting.data, setting.dim))

    def step(loss: numpyro.infer.ELBO) -> Callable[[], object]:
        if setting.sites:
            model, guide = chain(numpyro, jnp.zeros, setting.sites)
        else:
            vae = numpyro_entropy.VAE1(setting.dim, setting.latent, hidden=HIDDEN)
            model, guide = vae.model, vae.guide
        svi = numpyro.infer.SVI(model, guide, numpyro.optim.Adam(1e-3), loss)
        state = svi.init(random.key(0), x[: setting.batch])

        @jax.jit
        def update(state: tuple, key: jax.Array) -> tuple:
            rows = random.randint(key, (setting.batch,), 0, setting.data)
            return svi.update(state, x[rows])

        def run() -> None:
            nonlocal state
            state, loss = update(state, random.key(1))
            loss.block_until_ready()

        return run

    if setting.draws:
        host = numpyro.infer.RenyiELBO(0, setting.draws)
        ours = numpyro_entropy.IWAE_ELBO(setting.draws)
    else:
        host, ours = numpyro.infer.TraceMeanField_ELBO(), numpyro_entropy.Standard_ELBO()
    return {f"update, {type(loss).__name__}": step(loss) for loss in (host, ours)}


def medians(settings: Sequence[Setting], turns: int) -> dict[str, list[float]]:
    """The median seconds of each contender's step, for each setting; all of them in turn."""
    pyro.clear_param_store()
    found: dict[str, list[float]] = {}
    for steps_of in (pyro_steps, numpyro_steps):
        all_steps = [steps_of(setting) for setting in settings]
        times: dict[str, np.ndarray] = {
            name: np.empty((len(settings), turns)) for name in all_steps[0]
        }
        # The first steps trace or compile.
        for turn in range(-5, turns):
            for i, steps in enumerate(all_steps):
                for name, step in steps.items():
                    start = time.perf_counter()
                    step()
                    if turn >= 0:
                        times[name][i, turn] = time.perf_counter() - start
        for name, taken in times.items():
            found[f"{steps_of.__name__.partition('_')[0]}: {name}"] = list(np.median(taken, 1))
    return found


def rows(what: str, turns: int) -> Iterator[str]:
    """A line for each contender, as one quantity grows."""
    base = Setting(draws=8 if what == "draws" else 0)
    settings = [replace(base, **{what: size}) for size in SIZES[what]]
    yield f"{what}: {', '.join(map(str, SIZES[what]))}"
    for name, taken in medians(settings, turns).items():
        slope = np.polyfit(np.log(SIZES[what]), np.log(taken), 1)[0]
        times = "".join(f"{1e3 * seconds:>9.2f}" for seconds in taken)
        yield f"  {name:<37}{slope:>7.2f}{times}"


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, and writes it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--of", choices=[*SIZES], nargs="+", default=[*SIZES])
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    packages = ("torch", "pyro-ppl", "jax", "numpyro")
    base = Setting()
    lines = [
        "The growth of a training step's time, float32, Adam: python benchmarks/growth.py "
        f"--turns {args.turns}",
        f"{', '.join(f'{name} {version(name)}' for name in packages)}, Python "
        f"{platform.python_version()}; CPU, one thread of torch",
        f"Else N = {base.data}, VAE-1 {base.dim}-{HIDDEN[0]}-{base.latent}, batch {base.batch};",
        "draws are those of the importance weighted bound, sites a chain's of one dimension each.",
        "",
        f"  {'':<37}{'slope':>7}   milliseconds at each size",
    ]
    print("\n".join(lines))
    for what in args.of:
        for line in rows(what, args.turns):
            lines.append(line)
            print(line, flush=True)
    write_whole(args.output, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
