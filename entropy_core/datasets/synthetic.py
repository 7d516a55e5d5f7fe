"""Seeded generators of the papers' synthetic data sets."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import DTypeLike

from entropy_core.checks import expected
from entropy_core.datasets.dataset import Dataset, check_sizes


def ppca(
    seed: int = 0,
    *,
    num_train: int = 10_000,
    num_test: int = 10_000,
    data_dim: int = 10,
    latent_dim: int = 2,
    noise_scale: float = 0.1,
    dtype: DTypeLike = np.float32,
) -> Dataset:
    """Draws from a random probabilistic PCA, whose likelihood is known.

    Damm et al. 2023, Eq. 78-79, the entries of `W` and `mean` uniform on `[0, 1]`:

        p(z) = N(z; 0, I)        p(x|z) = N(x; W z + mean, noise_scale^2 I)

    The truth in `parameters` is `weight` `(D, H)`, `mean` `(D,)` and `variance`.

    Raises:
        ValueError: If a size is not a positive integer, or `noise_scale` is negative or not finite.

    Example:
        >>> from entropy_core.theory.closed_form import ppca_log_likelihood
        >>> data = ppca(num_train=1000, num_test=500)
        >>> data.train.shape, data.test.shape
        ((1000, 10), (500, 10))
        >>> ppca_log_likelihood(data.test, **data.parameters) > 0
        True
    """
    check_sizes(num_train=num_train, num_test=num_test, data_dim=data_dim, latent_dim=latent_dim)
    _check_noise(noise_scale)
    rng = np.random.default_rng(seed)
    weight = rng.uniform(size=(data_dim, latent_dim))
    mean = rng.uniform(size=data_dim)

    def draw(num: int) -> np.ndarray:
        z = rng.standard_normal((num, latent_dim))
        noise = noise_scale * rng.standard_normal((num, data_dim))
        return (z @ weight.T + mean + noise).astype(dtype)

    return Dataset(
        name="ppca",
        train=draw(num_train),
        test=draw(num_test),
        parameters={"weight": weight, "mean": mean, "variance": noise_scale**2},
    )


def pca_ring(
    seed: int = 0,
    *,
    num_train: int = 10_000,
    num_test: int = 10_000,
    data_dim: int = 10,
    latent_dim: int = 2,
    noise_scale: float = 0.1,
    dtype: DTypeLike = np.float32,
) -> Dataset:
    """Bends the draws of `ppca` onto a ring; arguments, truth and errors are the same.

    Damm et al. 2023, Eq. 82, as printed (the authors' code bends `z` instead of `x`):

        x' = mean + x / 10 + x / |x|

    Example:
        >>> pca_ring(num_train=1000).train.shape
        (1000, 10)
    """
    plane = ppca(
        seed,
        num_train=num_train,
        num_test=num_test,
        data_dim=data_dim,
        latent_dim=latent_dim,
        noise_scale=noise_scale,
        dtype=np.float64,
    )

    def bend(x: np.ndarray) -> np.ndarray:
        radius = np.linalg.norm(x, axis=1, keepdims=True)
        return (plane.parameters["mean"] + x / 10 + x / radius).astype(dtype)

    return replace(plane, name="pca_ring", train=bend(plane.train), test=bend(plane.test))


def manifold(
    seed: int = 0,
    *,
    num_train: int = 25_000,
    num_test: int = 25_000,
    data_dim: int = 100,
    intrinsic_dim: int = 9,
    noise_scale: float = 0.01,
    dtype: DTypeLike = np.float32,
) -> Dataset:
    """Draws noisy points of a curved manifold whose dimension is known.

    Damm et al. 2023, Sec. D.4: the first `k = intrinsic_dim` features are Gaussian and the others

        x_p = cos(x_r^2 + x_s^2)        r, s drawn from the first k, with replacement

    then all get noise and are rescaled to `[0, 1]` over training and test set together. The paper
    gives no scales: 0.35 for the first features is from the authors' code, `noise_scale` is ours.

    The truth in `parameters` is `pairs` `(D - k, 2)`, the `r, s` of each `p`; `low` and `high`
    `(D,)`, the range of each feature before rescaling; and `noise_scale`.

    Raises:
        ValueError: If a size is not a positive integer, if `intrinsic_dim` is not below `data_dim`,
            or if `noise_scale` is negative or not finite.

    Example:
        >>> data = manifold(num_train=1000, num_test=1000)
        >>> data.train.shape, data.parameters["pairs"].shape
        ((1000, 100), (91, 2))
    """
    check_sizes(num_train=num_train, num_test=num_test)
    check_sizes(data_dim=data_dim, intrinsic_dim=intrinsic_dim)
    if intrinsic_dim >= data_dim:
        raise ValueError(expected(f"an integer below {data_dim}", "intrinsic_dim", intrinsic_dim))
    _check_noise(noise_scale)
    rng = np.random.default_rng(seed)
    pairs = rng.integers(intrinsic_dim, size=(data_dim - intrinsic_dim, 2))
    base = 0.35 * rng.standard_normal((num_train + num_test, intrinsic_dim))
    x = np.hstack([base, np.cos((base[:, pairs] ** 2).sum(axis=-1))])
    x += noise_scale * rng.standard_normal(x.shape)
    low, high = x.min(axis=0), x.max(axis=0)
    x = ((x - low) / (high - low)).astype(dtype)
    return Dataset(
        name="manifold",
        train=x[:num_train],
        test=x[num_train:],
        parameters={"pairs": pairs, "low": low, "high": high, "noise_scale": noise_scale},
    )


def _check_noise(noise_scale: float) -> None:
    if not 0 <= noise_scale < math.inf:
        raise ValueError(expected("a finite number from 0", "noise_scale", noise_scale))
