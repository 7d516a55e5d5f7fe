"""Train VAEs on the two sets of the ED-VAE (Lygerakis and Rueckert 2024, Table II).

On each set and with each prior there are four trainings: by the ELBO; by the loss of the paper as
it is written, dot products without a floor; the same with a floor; and with the densities as
critic, the default. The likelihood has the constant variance 1/2, so that its loss is the paper's
squared error. Beside the paper's metrics, in both readings of its KLD, stand the ELBO of held-out
data and their log-likelihood by importance sampling, as means and standard deviations over seeds.

    python examples/edvae_table.py                      # small, both backends
    python examples/edvae_table.py --full               # the paper's nets, epochs and seeds

What the paper leaves unstated is an argument: the numbers of points and features, and the noise of
data and positives. All trainings stop early by the held-out ELBO but for the one as written, which
has no end by it.
"""

import argparse
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from entropy_core import datasets
from entropy_core.elbos.edvae_metrics import edvae_metrics
from entropy_core.report import EntropyReport
from entropy_core.training import EarlyStopping, NotFiniteLoss

FULL = {"hidden": [400], "epochs": 1000, "batch_size": 512, "seeds": 5, "draws": 1000}
LATENTS, VARIANCE, COMPONENTS = 5, 0.5, 3
SETS: dict[str, Callable] = {"1": datasets.edvae_normal, "2": datasets.edvae_modulated}
# Options of `EDVAE_ELBO`; the ELBO itself has none.
OBJECTIVES: dict[str, dict[str, Any] | None] = {
    "VAE": None,
    "ED-VAE as written": {"critic": "dot", "floor": False},
    "ED-VAE, floored": {"critic": "dot"},
    "ED-VAE, densities": {},
}
PRIORS = ("normal", "mixture")
COLUMNS = ("MSE", "KL", "-MSE-KL", "marginal KL", "-MSE-marginal KL", "ELBO", "log p(x)")


class Trained(NamedTuple):
    """What a training has come to, on held-out data.

    Args:
        values: The columns of the table.
        report: The report on the training data.
    """

    values: list[float]
    report: EntropyReport


def train_pyro(
    data: Any, prior: Any, options: Mapping[str, Any] | None, seed: int, args: argparse.Namespace
) -> Trained:
    """Trains in Pyro; a prior of `None` is the standard normal one."""
    import pyro
    import torch

    import pyro_entropy as m

    pyro.set_rng_seed(seed)
    pyro.clear_param_store()
    vae: Any = m.VAE0(data.train.shape[1], LATENTS, variance=VARIANCE, hidden=args.hidden)
    if prior is not None:
        mixture = m.MixturePrior.from_samples(prior, COMPONENTS, dtype=torch.float32)
        vae = m.VAE(mixture, vae.encoder, vae.decoder, data.train.shape[1:])
    x, test = torch.tensor(data.train), torch.tensor(data.test)
    loss = m.Standard_ELBO() if options is None else m.EDVAE_ELBO(**options)
    report = m.fit(
        vae.model,
        vae.guide,
        x,
        loss=loss,
        optim=pyro.optim.Adam({"lr": args.lr}),
        **fit_options(args, options, test),
    ).report
    pair = vae.model, vae.guide, test
    terms = m.EDVAE_ELBO(10, mutual_information="aggregate").terms(*pair)
    elbo = m.EntropySumDiagnostic(*pair[:2]).run(test)["elbo"]
    rows = test[: args.num_likelihood]
    likelihood = m.log_likelihood(*pair[:2], rows, num_particles=args.draws).mean
    return Trained(columns(terms, test.shape[1], elbo, likelihood), report)


def train_numpyro(
    data: Any, prior: Any, options: Mapping[str, Any] | None, seed: int, args: argparse.Namespace
) -> Trained:
    """Trains in NumPyro; a prior of `None` is the standard normal one."""
    import jax
    import jax.numpy as jnp
    import numpyro

    import numpyro_entropy as m

    key = jax.random.key(seed)
    vae: Any = m.VAE0(data.train.shape[1], LATENTS, variance=VARIANCE, hidden=args.hidden)
    if prior is not None:
        mixture = m.MixturePrior.from_samples(prior, COMPONENTS, dtype=jnp.float32)
        vae = m.VAE(mixture, vae.encoder, vae.decoder, data.train.shape[1:])
    test = jnp.asarray(data.test)
    loss = m.Standard_ELBO() if options is None else m.EDVAE_ELBO(**options)
    result = m.fit(
        key,
        vae.model,
        vae.guide,
        data.train,
        loss=loss,
        optim=numpyro.optim.Adam(args.lr),
        **fit_options(args, options, test),
    )
    pair = vae.model, vae.guide
    objective = m.EDVAE_ELBO(10, mutual_information="aggregate")
    terms = jax.jit(objective.terms, static_argnums=(2, 3))(key, result.params, *pair, test)
    elbo = m.EntropySumDiagnostic(*pair).run(key, result.params, test)["elbo"]
    rows = test[: args.num_likelihood]
    likelihood = m.log_likelihood(key, result.params, *pair, rows, num_particles=args.draws).mean
    return Trained(columns(terms, test.shape[1], elbo, likelihood), result.report)


BACKENDS = {"pyro": ("Pyro", train_pyro), "numpyro": ("NumPyro", train_numpyro)}


def fit_options(
    args: argparse.Namespace, options: Mapping[str, Any] | None, test: Any
) -> dict[str, Any]:
    """The options of `fit` that both backends have alike."""
    found = {
        "num_epochs": args.epochs,
        "batch_size": args.batch_size,
        "diagnose_every": max(1, args.epochs // 10),
        "progress_bar": False,
    }
    if options is None or options.get("floor", True):
        found |= {"validation": test, "stop": EarlyStopping(patience=4)}
    return found


def columns(terms: Any, data_dim: int, elbo: float, likelihood: float) -> list[float]:
    """The numbers of a row of the table."""
    found = edvae_metrics(terms, data_dim, variance=VARIANCE)
    values = (found.mse, found.kl, found.elbo, found.marginal_kl, found.marginal_elbo)
    return [*map(float, values), elbo, likelihood]


def cell(values: np.ndarray) -> str:
    """A mean and a standard deviation over seeds."""
    mean, deviation = values.mean(), values.std(ddof=min(1, len(values) - 1))
    form = ".2f" if abs(mean) < 1e5 else ".1e"
    return f"{mean:{form}} ± {deviation:{form}}"


def table(backend: str, args: argparse.Namespace) -> tuple[list[str], EntropyReport]:
    """The rows of a backend, and the report of its last training."""
    label, train = BACKENDS[backend]
    lines = [
        f"{label:8}{'set':4}{'prior':10}{'objective':20}" + "".join(f"{c:>20}" for c in COLUMNS)
    ]
    print(lines[-1], flush=True)
    for name, prior, objective in product(args.sets, args.priors, args.objectives):
        options = OBJECTIVES[objective]
        found: list[list[float]] = []
        failed = []
        for seed in range(args.seeds):
            data = SETS[name](
                num_train=args.num_data,
                num_test=args.num_test,
                data_dim=args.data_dim,
                noise_scale=args.noise_scale,
            )
            if options is not None:
                options = {**options, "positives": args.radius}
            try:
                trained = train(
                    data, samples(name) if prior == "mixture" else None, options, seed, args
                )
            except NotFiniteLoss as error:
                failed.append(f"seed {seed}: {error}")
                continue
            found.append(trained.values)
            report = trained.report
        cells = map(cell, np.array(found).T) if found else ()
        line = f"{'':8}{name:4}{prior:10}{objective:20}" + "".join(f"{c:>20}" for c in cells)
        lines += ["  ".join([line, *failed])]
        print(lines[-1], flush=True)
    return lines, report


def samples(name: str) -> np.ndarray:
    """Draws of the latents that have made a set, to which the mixture prior is fitted."""
    rng = np.random.default_rng(1)
    if name == "1":
        return rng.standard_normal((5000, LATENTS))
    return datasets.modulated_latents(rng, 5000, LATENTS)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["both", *BACKENDS], default="both")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--priors", nargs="+", choices=PRIORS, default=PRIORS)
    parser.add_argument(
        "--objectives", nargs="+", choices=list(OBJECTIVES), default=list(OBJECTIVES)
    )
    parser.add_argument("--num-data", type=int, default=2000)
    parser.add_argument("--num-test", type=int, default=1000)
    parser.add_argument("--num-likelihood", type=int, default=200, help="points for log p(x)")
    parser.add_argument("--data-dim", type=int, default=10)
    parser.add_argument("--noise-scale", type=float, default=0.5)
    parser.add_argument("--radius", type=float, default=0.1, help="the noise of the positives")
    parser.add_argument("--hidden", type=int, nargs="*", default=[50])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=500)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--draws", type=int, default=200, help="a data point, for log p(x)")
    parser.add_argument("--full", action="store_true", help=f"the paper's: {FULL}")
    parser.add_argument("--output", type=Path, default=Path("out/edvae_table"))
    args = parser.parse_args(argv)
    if args.full:
        vars(args).update(FULL)
    return args


def main(argv: Sequence[str] | None = None) -> dict[str, EntropyReport]:
    """Runs the trainings, and returns the report of the last one of each backend."""
    args = parse(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    # The loss as written warns that nothing bounds it, and `fit` that the ELBO falls: it is here
    # to show that.
    warnings.simplefilter("ignore", UserWarning)
    asked = {name: value for name, value in vars(args).items() if name != "output"}
    lines, reports, files = [f"Arguments: {asked}", ""], {}, []
    for backend in BACKENDS if args.backend == "both" else [args.backend]:
        label = BACKENDS[backend][0]
        rows, reports[label] = table(backend, args)
        lines += rows
        files.append(args.output / f"{backend}.nc")
        reports[label].save(files[-1])
        print(f"{label}: ELBO of the last training {reports[label]['elbo']:.3f}")
    files.append(args.output / "table.txt")
    files[-1].write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\nWritten:", *files, sep="\n  ")
    return reports


if __name__ == "__main__":
    main()
