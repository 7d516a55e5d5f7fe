"""Which entropy-decomposed bounds stay near the ELBO: each critic, floor and entropy estimate.

A VAE-0 with a standard normal prior (variance 1/2, one hidden layer of 50, five latents) is trained
on data set 1 of Lygerakis and Rueckert (2024), `edvae_normal`, by each objective. At the end, and
for the last epoch, the table has the ELBO of the model less that of the same training by the ELBO
itself, the objective less the ELBO, InfoNCE as it is used, the estimate by the aggregate at the
same draws, and the share of steps at which the floor was active. The limit is what the objective
may be above the ELBO in expectation, by the formulas.

    make bench      # prints the table, and writes it to benchmarks/edvae_limits.txt
"""

import argparse
import math
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import jax

from entropy_core.datasets import edvae_normal
from entropy_core.files import write_whole
from numpyro_entropy import EDVAE_ELBO, VAE0, Standard_ELBO, fit

BATCH, HIDDEN, LATENTS = 500, (50,), 5


def last_row(loss: Any, x: Any, num_epochs: int, seed: int) -> dict[str, float]:
    """The last row of the history of a training, and the ELBO of its report."""
    vae = VAE0(x.shape[1], LATENTS, variance=0.5, hidden=HIDDEN)
    options = {"num_epochs": num_epochs, "batch_size": BATCH, "diagnose_every": num_epochs}
    key = jax.random.key(seed)
    result = fit(key, vae.model, vae.guide, x, loss=loss, progress_bar=False, **options)
    history = result.report.to_datatree()["history"]
    names = ("loss", "mutual_information", "aggregate_information", "floor_active")
    found = {name: float(history[name][-1]) for name in names if name in history}
    return found | {"elbo": result.report["elbo"]}


def limit_of(estimator: str, floor: bool, num_data: int) -> float:
    """What the objective may be above the ELBO, in nats."""
    if not floor or estimator == "moment":
        return math.inf
    logs = {"minibatch": [BATCH], "stratified": [num_data], "weighted": [BATCH, num_data]}
    return sum(math.log(n) for n in logs[estimator])


def main(argv: Sequence[str] | None = None) -> None:
    """Trains, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--num-data", type=int, default=5000)
    parser.add_argument("--critics", nargs="+", default=["density", "dot"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".txt"))
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore", UserWarning)
    x = edvae_normal(num_train=args.num_data, num_test=1).train
    best = last_row(Standard_ELBO(), x, args.epochs, args.seed)["elbo"]
    lines = [
        f"{args.num_data} points, D = {x.shape[1]}, batches of {BATCH}, {args.epochs} epochs, "
        f"Adam 1e-3, NumPyro {version('numpyro')}; ELBO of the training by the ELBO {best:.2f}",
        "",
        f"{'critic':9}{'floor':7}{'entropy':12}{'limit':>7}{'ELBO -':>11}{'objective':>11}"
        f"{'InfoNCE':>11}{'aggregate':>11}{'share':>7}",
        f"{'':35}{'best':>11}{'- ELBO':>11}{'':11}{'':11}{'floor':>7}",
    ]
    estimators = ("minibatch", "stratified", "weighted", "moment")
    for critic, floor, estimator in product(args.critics, (True, False), estimators):
        loss = EDVAE_ELBO(critic=critic, floor=floor, aggregate_entropy=estimator)
        limit = limit_of(estimator, floor, args.num_data)
        head = f"{critic:9}{'yes' if floor else 'no':7}{estimator:12}{limit:7.2f}"
        try:
            row = last_row(loss, x, args.epochs, args.seed)
        except FloatingPointError as error:
            lines.append(f"{head}  {error}")
            continue
        values = (
            row["elbo"] - best,
            -row["loss"] - row["elbo"],
            row["mutual_information"],
            row["aggregate_information"],
        )
        numbers = "".join(f"{v:11.2f}" if abs(v) < 1e6 else f"{v:11.1e}" for v in values)
        lines.append(f"{head}{numbers}{row['floor_active']:7.2f}")
        print(lines[-1], flush=True)
    write_whole(args.output, ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))


if __name__ == "__main__":
    main()
