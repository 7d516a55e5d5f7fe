"""Time of `explain` against one training step, for the tutorial models of the tests.

The step is that of the host's `SVI` with `TraceEnum_ELBO` or `Trace_ELBO` on the same batch, the
median of 30; `explain` is `EntropySumDiagnostic.run(batch, explain=True)` with 10 draws, and with
up to 50 where its verdicts need them: the first call, and the median of three more. The deep Markov
model has latents of size 4, hidden layers of 8, and 8 sequences of 6 steps.

    JAX_ENABLE_X64=1 .venv/bin/python -m benchmarks.explain_time    # writes explain_time.txt
"""

import argparse
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import jax
import numpyro
import pyro
import pyro.distributions as dist
import torch
from torch import nn

import numpyro_entropy
import pyro_entropy
from entropy_core.files import write_whole
from tests.numpyro.tutorials import TUTORIALS as NUMPYRO
from tests.pyro.tutorials import TUTORIALS as PYRO
from tests.pyro.tutorials import Tutorial


class Timed(NamedTuple):
    """A model's name, its training step, and its explanation."""

    name: str
    step: Callable[[], object]
    explain: Callable[[], object]


class DeepMarkov(nn.Module):
    """A deep Markov model as Pyro's example has it, with a net backwards over the sequence."""

    def __init__(self, x_dim: int = 5, z_dim: int = 4, hidden: int = 8) -> None:
        super().__init__()
        self.transition = nn.Sequential(
            nn.Linear(z_dim, hidden), nn.ReLU(), nn.Linear(hidden, 2 * z_dim)
        )
        self.emission = nn.Sequential(nn.Linear(z_dim, hidden), nn.ReLU(), nn.Linear(hidden, x_dim))
        self.rnn = nn.GRU(x_dim, hidden, batch_first=True)
        self.combine = nn.Sequential(nn.Linear(z_dim, hidden), nn.Tanh())
        self.out = nn.Linear(hidden, 2 * z_dim)
        self.z_0, self.z_q = nn.Parameter(torch.zeros(z_dim)), nn.Parameter(torch.zeros(z_dim))
        self.log_scale = nn.Parameter(torch.zeros(()))

    def model(self, x: torch.Tensor) -> None:
        """Transitions and emissions of a batch of sequences."""
        pyro.module("dmm", self)
        with pyro.plate("data", len(x)):
            z = self.z_0.expand(len(x), -1)
            for t in range(x.shape[1]):
                loc, log_variance = self.transition(z).chunk(2, -1)
                z = pyro.sample(f"z_{t}", dist.Normal(loc, (0.5 * log_variance).exp()).to_event(1))
                likelihood = dist.Normal(self.emission(z), self.log_scale.exp()).to_event(1)
                pyro.sample(f"x_{t}", likelihood, obs=x[:, t])

    def guide(self, x: torch.Tensor) -> None:
        """The latents, each given the one before and what follows."""
        pyro.module("dmm", self)
        backwards = self.rnn(x.flip(1))[0].flip(1)
        with pyro.plate("data", len(x)):
            z = self.z_q.expand(len(x), -1)
            for t in range(x.shape[1]):
                both = 0.5 * (self.combine(z) + backwards[:, t])
                loc, log_variance = self.out(both).chunk(2, -1)
                z = pyro.sample(f"z_{t}", dist.Normal(loc, (0.5 * log_variance).exp()).to_event(1))


def deep_markov() -> tuple[Callable, Callable]:
    """The methods of one net."""
    net = DeepMarkov()
    return net.model, net.guide


DEEP_MARKOV = Tutorial(deep_markov, lambda: (torch.randn(8, 6, 5),), 8)


def pyro_models() -> Iterator[Timed]:
    """Each tutorial model of Pyro's side, one after the other."""
    for name, tutorial in {**PYRO, "deep Markov model, 6 steps": DEEP_MARKOV}.items():
        pyro.clear_param_store()
        pyro.set_rng_seed(0)
        model, guide = tutorial.make()
        data = tutorial.data()
        guide(*data)
        loss = pyro.infer.Trace_ELBO()
        if tutorial.plates is not None:
            loss = pyro.infer.TraceEnum_ELBO(max_plate_nesting=tutorial.plates)
        svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 1e-4}), loss)
        diagnostic = pyro_entropy.EntropySumDiagnostic(model, guide, data_plate=tutorial.data_plate)
        yield Timed(
            name,
            lambda svi=svi, data=data: svi.step(*data),
            lambda diagnostic=diagnostic, data=data: diagnostic.run([data], explain=True),
        )


def numpyro_models() -> Iterator[Timed]:
    """Each of NumPyro's side without enumerated sites."""
    key = jax.random.key(0)
    for name, tutorial in NUMPYRO.items():
        model, guide = tutorial.make()
        data = tutorial.data()
        if tutorial.enumerated:
            # The host's objective for it needs funsor, which is not installed here.
            continue
        loss = numpyro.infer.Trace_ELBO()
        svi = numpyro.infer.SVI(model, guide, numpyro.optim.Adam(1e-4), loss)
        state = svi.init(key, *data)
        params, update = svi.get_params(state), jax.jit(svi.update)
        diagnostic = numpyro_entropy.EntropySumDiagnostic(
            model, guide, data_plate=tutorial.data_plate
        )
        yield Timed(
            name,
            lambda update=update, state=state, data=data: jax.block_until_ready(
                update(state, *data)
            ),
            lambda diagnostic=diagnostic, params=params, data=data: diagnostic.run(
                key, params, [data], explain=True
            ),
        )


def seconds(run: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def table(side: str, models: Iterator[Timed]) -> Iterator[str]:
    """A row for each model."""
    yield f"{side:<32}{'step':>9}{'first':>9}{'next':>9}{'next / step':>13}"
    for name, step, explain in models:
        step()
        one = statistics.median(seconds(step) for _ in range(30))
        try:
            first = seconds(explain)
        except NotImplementedError:
            yield f"{name:<32}{1e3 * one:>6.2f} ms  refused: draws without derivatives"
            continue
        further = statistics.median(seconds(explain) for _ in range(3))
        yield (
            f"{name:<32}{1e3 * one:>6.2f} ms{first:>7.2f} s{further:>7.2f} s{further / one:>13.0f}"
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, and writes it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    names = "torch", "pyro-ppl", "jax", "numpyro"
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    lines = [
        "Time of explain against one training step: python -m benchmarks.explain_time",
        f"{versions}, Python {platform.python_version()}; two shared cores, one thread in torch",
        "",
        *table("Pyro", pyro_models()),
        "",
        *table("NumPyro (its step is compiled)", numpyro_models()),
    ]
    print(*lines, sep="\n")
    write_whole(args.output, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
