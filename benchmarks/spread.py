"""How many data points an estimate of the training ELBO needs: sampled, or as a sum of entropies.

A VAE-1 is trained on the manifold set of Damm et al. (2023), Fig. 7. Each estimate then looks at
`n` random points of the training data: the ELBO with one draw for each, its KL divergence in closed
form, and the sum of entropies `mean_n H[q(z|x_n)] - H[p(z)] - H[p(x|z)]`, which needs the encoder
alone. The target is the ELBO of all the training data, with 100 draws for each.

The entropy sum is biased by the residuals that training has left, so that the table has the
standard deviations and the root-mean-square errors, and what it costs to reach the same of either.

    make bench      # prints the table, and writes it to benchmarks/spread.txt
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from entropy_core.datasets import manifold
from entropy_core.files import write_whole
from entropy_core.theory.closed_form import optimal_decoder_variance

D, H, HIDDEN = 100, 20, (128, 40)


class Estimators(NamedTuple):
    """Two estimates from `n` data points, and the target, in nats per data point."""

    elbo: Callable[[np.ndarray], float]
    entropy_sum: Callable[[np.ndarray], float]
    target: float
    residuals: dict[str, float]


def pyro_estimators(x: np.ndarray, num_epochs: int) -> Estimators:
    """Trains in Pyro, and returns estimators of the ELBO."""
    import pyro
    import torch

    from pyro_entropy import VAE1, EntropySumDiagnostic, Standard_ELBO, fit

    pyro.set_rng_seed(0)
    data = torch.tensor(x)
    start = float(np.log(optimal_decoder_variance(x, x.mean(0))))
    vae = VAE1(D, H, hidden=HIDDEN, activation="leaky_relu", initial_log_variance=start)
    options = {"num_epochs": num_epochs, "batch_size": 512, "diagnose_every": num_epochs}
    fit(vae.model, vae.guide, data, progress_bar=False, **options)
    report = EntropySumDiagnostic(vae.model, vae.guide, num_particles=100).run(data)
    elbo = Standard_ELBO()

    @torch.no_grad()
    def elbo_of(rows: np.ndarray) -> float:
        batch = data[torch.as_tensor(rows)]
        return -elbo.loss(vae.model, vae.guide, batch) / len(batch)

    @torch.no_grad()
    def entropy_sum_of(rows: np.ndarray) -> float:
        encoder = vae.encoder(data[torch.as_tensor(rows)]).entropy().mean()
        decoder = vae.decode(torch.zeros(H)).entropy()
        return (encoder - vae.prior().entropy() - decoder).item()

    residuals = report.summary()["mean"].filter(like="residual").to_dict()
    return Estimators(elbo_of, entropy_sum_of, report["elbo"], residuals)


def numpyro_estimators(x: np.ndarray, num_epochs: int) -> Estimators:
    """Trains in NumPyro, and returns compiled estimators of the ELBO."""
    import jax
    import jax.numpy as jnp

    from numpyro_entropy import VAE1, EntropySumDiagnostic, Standard_ELBO, fit

    start = float(np.log(optimal_decoder_variance(x, x.mean(0))))
    vae = VAE1(D, H, hidden=HIDDEN, activation="leaky_relu", initial_log_variance=start)
    options = {"num_epochs": num_epochs, "batch_size": 512, "diagnose_every": num_epochs}
    key = jax.random.key(0)
    params = fit(key, vae.model, vae.guide, x, progress_bar=False, **options).params
    diagnostic = EntropySumDiagnostic(vae.model, vae.guide, num_particles=100)
    report = diagnostic.run(key, params, x)
    data, elbo = jnp.asarray(x), Standard_ELBO()

    @jax.jit
    def elbo_of_rows(key: jax.Array, rows: jax.Array) -> jax.Array:
        return -elbo.loss(key, params, vae.model, vae.guide, data[rows]) / len(rows)

    @jax.jit
    def entropy_sum_of_rows(rows: jax.Array) -> jax.Array:
        encoder = vae.encode(params, data[rows]).entropy().mean()
        decoder = vae.decode(params, jnp.zeros((1, H))).entropy()[0]
        return encoder - H * (0.5 * jnp.log(2 * jnp.pi * jnp.e)) - decoder

    def elbo_of(rows: np.ndarray) -> float:
        nonlocal key
        key, draw = jax.random.split(key)
        return elbo_of_rows(draw, rows).item()

    residuals = report.summary()["mean"].filter(like="residual").to_dict()
    return Estimators(
        elbo_of, lambda rows: entropy_sum_of_rows(rows).item(), report["elbo"], residuals
    )


def rows_of(
    label: str, found: Estimators, num_data: int, sizes: Sequence[int], repeats: int
) -> list[str]:
    """A line for each number of data points: both estimates, and what equal errors cost."""
    lines, rng = [], np.random.default_rng(1)
    for size in sizes:
        values: dict[str, list[float]] = {"elbo": [], "entropy_sum": []}
        times: dict[str, list[float]] = {"elbo": [], "entropy_sum": []}
        for repeat in range(-3, repeats):  # the first ones compile and warm up
            chosen = rng.choice(num_data, size, replace=False)
            for name in values:
                begin = time.perf_counter()
                value = getattr(found, name)(chosen)
                if repeat >= 0:
                    times[name].append(time.perf_counter() - begin)
                    values[name].append(value)
        std = {name: statistics.stdev(v) for name, v in values.items()}
        bias = {name: statistics.fmean(v) - found.target for name, v in values.items()}
        rmse = {name: (std[name] ** 2 + bias[name] ** 2) ** 0.5 for name in values}
        cost = {name: statistics.median(t) for name, t in times.items()}
        ratio = cost["elbo"] / cost["entropy_sum"]
        # The number of points that it takes grows as the variance.
        lines.append(
            f"{label:8} {size:6} {std['elbo']:9.4f} {std['entropy_sum']:9.4f} "
            f"{(std['elbo'] / std['entropy_sum']) ** 2:9.1f} {rmse['elbo']:9.4f} "
            f"{rmse['entropy_sum']:9.4f} {ratio:7.2f} "
            f"{ratio * (std['elbo'] / std['entropy_sum']) ** 2:10.1f} "
            f"{ratio * (rmse['elbo'] / rmse['entropy_sum']) ** 2:10.2f}"
        )
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, and writes it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-data", type=int, default=10_000)
    parser.add_argument("--num-epochs", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--sizes", type=int, nargs="+", default=[30, 100, 300, 1000])
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    args = parser.parse_args(argv)
    x = manifold(num_train=args.num_data).train
    packages = ("torch", "pyro-ppl", "jax", "numpyro")
    lines = [
        f"Estimates of the training ELBO of a VAE-1, {D}-{HIDDEN[0]}-{HIDDEN[1]}-{H}, on",
        f"{args.num_data:,} points of the manifold set after {args.num_epochs} epochs; "
        f"{args.repeats} estimates from n points each, in nats.",
        "Costs: time of an ELBO estimate over that of an entropy sum, for the same n, for an equal",
        "standard deviation, and for an equal root-mean-square error (more than 1: entropies win).",
        "python benchmarks/spread.py; Python " + platform.python_version() + ", "
        f"{', '.join(f'{name} {version(name)}' for name in packages)}; CPU.",
        "",
    ]
    table = [
        f"{'backend':8} {'n':>6} {'sd ELBO':>9} {'sd sum':>9} {'var ratio':>9} {'rmse ELBO':>9} "
        f"{'rmse sum':>9} {'same n':>7} {'equal sd':>10} {'equal rmse':>10}"
    ]
    for label, make in (("Pyro", pyro_estimators), ("NumPyro", numpyro_estimators)):
        found = make(x, args.num_epochs)
        residuals = ", ".join(f"{name} {value:+.3f}" for name, value in found.residuals.items())
        lines.append(f"{label}: ELBO {found.target:.3f}; {residuals}.")
        table += rows_of(label, found, len(x), args.sizes, args.repeats)
    text = "\n".join([*lines, "", *table]) + "\n"
    print(text)
    write_whole(args.output, text.encode())


if __name__ == "__main__":
    main()
