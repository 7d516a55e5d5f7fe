"""Training with variances in closed form, and without: no cure.

The linear VAE of probabilistic PCA, from `sigma^2 = 1`. How far the ELBO of all data is below the
largest log-likelihood, at two epochs and several learning rates.
"""

import argparse
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
from jax import random
from numpyro.infer import SVI
from numpyro.optim import Adam

from entropy_core.datasets import ppca
from entropy_core.theory.closed_form import ppca_log_likelihood, ppca_optimum
from numpyro_entropy import EntropySumDiagnostic, LinearVAE, Standard_ELBO, clear_state
from numpyro_entropy.training.variances import ClosedFormVariances

PACKAGES = ("numpyro", "jax", "numpy")


def trained(
    x: np.ndarray, latent_dim: int, *, rate: float, closed_form: bool, epochs: list[int], seed: int
) -> list[float]:
    """The ELBO of all data at some epochs, in nats per data point."""
    vae, size = LinearVAE(x.shape[1], latent_dim), len(x)
    svi = SVI(vae.model, vae.guide, Adam(rate), Standard_ELBO(), total=size)
    init_key, order_key, look_key = random.split(random.key(seed), 3)
    state = svi.init(init_key, x[:100])
    update = jax.jit(lambda state, x, rows: svi.update(state, x[rows])[0])
    variances = ClosedFormVariances(vae.model, vae.guide)
    diagnostic = EntropySumDiagnostic(vae.model, vae.guide)
    found = []
    for epoch in range(1, max(epochs) + 1):
        order = random.permutation(random.fold_in(order_key, epoch), size)
        for rows in order[: size - size % 100].reshape(-1, 100):
            state = update(state, x, rows)
        if closed_form:
            key = random.fold_in(look_key, epoch)
            new = variances.run(key, svi.get_params(state), x)
            state = clear_state(svi, state, new)
        if epoch in epochs:
            found.append(diagnostic.run(look_key, svi.get_params(state), x)["elbo"])
    return found


def main(arguments: list[str] | None = None) -> None:
    """Trains with and without, and writes a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.003, 0.01])
    parser.add_argument("--epochs", type=int, nargs="+", default=[120, 1500])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="where to write the table; default: print only")
    args = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    x = ppca(num_train=1000, num_test=1, dtype=np.float64).train
    latent_dim = 2
    best = ppca_log_likelihood(x, *ppca_optimum(x, latent_dim)[:3])
    head = "".join(f"{f'epoch {epoch:,}':>16}" for epoch in args.epochs)
    lines = [
        "ELBO less the largest log-likelihood of probabilistic PCA, nats per data point",
        f"{len(x):,} data points of {x.shape[1]} dimensions, {latent_dim} latents, batches of 100, "
        f"Adam, log sigma^2 = 0 at first, seed {args.seed}",
        ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "",
        f"{'rate':<8}{'variance':<14}{head}",
    ]
    for rate in args.rates:
        for closed_form in (False, True):
            elbos = trained(
                x,
                latent_dim,
                rate=rate,
                closed_form=closed_form,
                epochs=args.epochs,
                seed=args.seed,
            )
            how = "closed form" if closed_form else "learned"
            lines.append(f"{rate:<8g}{how:<14}" + "".join(f"{e - best:>16.4f}" for e in elbos))
            print(lines[-1], flush=True)
    table = "\n".join(lines) + "\n"
    print(table)
    if args.output:
        args.output.write_text(table)


if __name__ == "__main__":
    main()
