"""The same training with several seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro
import xarray as xr
from numpy.typing import NDArray

from entropy_core.checks import expected
from entropy_core.report.report import EntropyReport
from entropy_core.training.history import over_seeds
from entropy_core.training.stopping import Stopped
from pyro_entropy.traces.modes import keeping_random_state
from pyro_entropy.training.fit import fit


@dataclass(frozen=True)
class SeedsResult:
    """What a training with several seeds returns.

    Args:
        pairs: The model and guide of each seed.
        losses: The loss of each step, in nats per data point, `(S, steps)`; NaN after the end of a
            training that was shorter.
        report: The groups of the reports, `history` among them, over the dimension `seed`.
        reports: The report of each seed.
        stopped: What has ended each training.
    """

    pairs: tuple[tuple[Callable, Callable], ...]
    losses: NDArray[np.float64]
    report: xr.DataTree
    reports: tuple[EntropyReport, ...]
    stopped: tuple[Stopped, ...]


def fit_seeds(
    make: Callable[[], tuple[Callable, Callable]],
    data: Any,
    *,
    seeds: Sequence[int],
    **options: Any,
) -> SeedsResult:
    """Trains one model and guide for each of several seeds, one after the other.

    The attribute `seeds` of the history says how they ran. Pyro's generators are afterwards as they
    were.

    Args:
        make: Makes a model and guide, with initial values from Pyro's generator.
        data: See `fit`.
        seeds: The seeds.
        **options: Those of `fit`, but for `checkpoints` and `diagnostic`, which belong to one
            training.

    Raises:
        ValueError: If there are no seeds, or an option belongs to one training; and as `fit` does.

    Example:
        >>> import torch
        >>> from pyro_entropy import VAE1, fit_seeds
        >>> def make():
        ...     vae = VAE1(4, 2)
        ...     return vae.model, vae.guide
        >>> x = torch.rand(100, 4)
        >>> result = fit_seeds(make, x, seeds=[0, 1], num_epochs=2, progress_bar=False)
        >>> result.report["history"]["elbo"].shape
        (2, 2)
    """
    if not seeds:
        raise ValueError(expected("at least one seed", "seeds", list(seeds)))
    for name in ("checkpoints", "diagnostic"):
        if options.get(name) is not None:
            raise ValueError(expected("None, as it belongs to one training,", name, "another"))
    pairs, results = [], []
    for seed in seeds:
        with keeping_random_state():
            pyro.set_rng_seed(seed)
            pairs.append(make())
            results.append(fit(*pairs[-1], data, **options))
    losses = np.full((len(seeds), max(len(result.losses) for result in results)), np.nan)
    for row, result in zip(losses, results, strict=True):
        row[: len(result.losses)] = result.losses
    reports = tuple(result.report for result in results)
    report = over_seeds(reports, seeds, "one after the other")
    return SeedsResult(tuple(pairs), losses, report, reports, tuple(r.stopped for r in results))
