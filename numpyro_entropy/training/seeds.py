"""The same training with several seeds."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from jax import random

from entropy_core.checks import expected
from numpyro_entropy.training.at_once import SeedsResult
from numpyro_entropy.training.fit import fit


def fit_seeds(
    model: Callable, guide: Callable, data: Any, *, seeds: Sequence[int], **options: Any
) -> SeedsResult:
    """Trains a model and guide for each of several seeds at once.

    It is `fit` with a batch of keys, `jax.random.key` of each seed; the attribute `seeds` of the
    history says how they ran.

    Args:
        model: See `fit`.
        guide: See `fit`.
        data: See `fit`.
        seeds: The seeds.
        **options: Those of `fit`, but for `stop`, `callbacks` and `checkpoints`.

    Raises:
        ValueError: If there are no seeds; and as `fit` does.

    Example:
        >>> from numpyro_entropy import VAE1, fit_seeds
        >>> vae, x = VAE1(4, 2), random.uniform(random.key(0), (100, 4))
        >>> options = {"num_epochs": 2, "progress_bar": False}
        >>> result = fit_seeds(vae.model, vae.guide, x, seeds=[0, 1], **options)
        >>> result.report["history"]["elbo"].shape
        (2, 2)
    """
    if not seeds:
        raise ValueError(expected("at least one seed", "seeds", list(seeds)))
    keys = jnp.stack([random.key(seed) for seed in seeds])
    result = fit(keys, model, guide, data, **options)
    assert isinstance(result, SeedsResult)
    report = result.report.copy()
    for name, group in report.children.items():
        report[name] = group.dataset.assign_coords(seed=list(seeds))
    return replace(result, report=report)
