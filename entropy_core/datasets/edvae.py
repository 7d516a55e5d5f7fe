"""Seeded generators of the two sets of the ED-VAE: normal latents, and modulated ones."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from entropy_core.checks import check_non_negative, check_positive_int
from entropy_core.datasets.dataset import Dataset, check_sizes


def edvae_normal(
    seed: int = 0,
    *,
    num_train: int = 10_000,
    num_test: int = 10_000,
    data_dim: int = 10,
    latent_dim: int = 5,
    noise_scale: float = 0.5,
    normalize: bool = True,
    dtype: DTypeLike = np.float32,
) -> Dataset:
    """Draws linear mixtures of standard normal latents, with noise.

    Lygerakis and Rueckert 2024, Sec. IV-A, data set 1:

        z ~ N(0, I)        x = z W + noise        W ~ N(0, 1), (latent_dim, data_dim)

    The paper states neither the numbers of data points, nor `data_dim`, nor the noise of this set,
    nor how much noise makes a positive: that is the option `positives` of `EDVAE_ELBO`. Its nets
    have five latents.

    Args:
        seed: The seed of `W` and of the draws.
        num_train: The number of training points.
        num_test: The number of held-out points.
        data_dim: The number of features.
        latent_dim: The number of latents.
        noise_scale: The standard deviation of the noise.
        normalize: Whether each feature is brought to mean 0 and variance 1 over the training set,
            as in Sec. IV-C.
        dtype: The float type.

    Returns:
        The truth in `parameters` is `weight` `(latent_dim, data_dim)` and `noise_scale`, before
        the features less `mean` `(data_dim,)` are divided by `scale` `(data_dim,)`.

    Raises:
        ValueError: If a size is not a positive integer, or `noise_scale` is negative or not finite.

    Example:
        >>> edvae_normal(num_train=1000, num_test=500).test.shape
        (500, 10)
    """

    def latents(rng: np.random.Generator, num: int) -> np.ndarray:
        return rng.standard_normal((num, latent_dim))

    sizes = (num_train, num_test, data_dim, latent_dim)
    return _mixed("edvae_normal", seed, latents, sizes, noise_scale, normalize, dtype)


def edvae_modulated(
    seed: int = 0,
    *,
    num_train: int = 10_000,
    num_test: int = 10_000,
    data_dim: int = 10,
    latent_dim: int = 5,
    num_components: int = 3,
    noise_scale: float = 0.5,
    normalize: bool = True,
    dtype: DTypeLike = np.float32,
) -> Dataset:
    """Draws linear mixtures of latents that a sine has bent, with noise.

    Lygerakis and Rueckert 2024, App. B and C, data set 2, with `K = num_components`:

        u_i ~ N(mu_i, s_i^2)        mu = linspace(-3, 3, K)        s = linspace(0.5, 1, K)
        z_i = u_i + sin(pi u_i / 2)        z_i ~ N(0, 1) for i > K        x = z W + noise

    So the steps of App. B read: the latents are one component each, more of them are normal noise,
    fewer are cut off. The text of Sec. IV-A, which calls the prior a mixture, would have each
    latent drawn from one of the components. The noise is written `N(0, 0.5)`: here 0.5 is its
    standard deviation; where it is the variance, `noise_scale` is its root. What else the paper
    does not state, the arguments and `parameters` are as in `edvae_normal`.

    Raises:
        ValueError: If a size is not a positive integer, or `noise_scale` is negative or not finite.

    Example:
        >>> edvae_modulated(num_train=1000, num_test=500).test.shape
        (500, 10)
    """
    check_positive_int(num_components, "num_components")

    def latents(rng: np.random.Generator, num: int) -> np.ndarray:
        return modulated_latents(rng, num, latent_dim, num_components)

    sizes = (num_train, num_test, data_dim, latent_dim)
    return _mixed("edvae_modulated", seed, latents, sizes, noise_scale, normalize, dtype)


def modulated_latents(
    rng: np.random.Generator, num: int, latent_dim: int = 5, num_components: int = 3
) -> np.ndarray:
    """Draws of the latents of `edvae_modulated`, `(num, latent_dim)`, such as for a mixture prior.

    Args:
        rng: The generator.
        num: How many.
        latent_dim: The number of latents.
        num_components: How many of them are modulated.

    Example:
        >>> modulated_latents(np.random.default_rng(0), 3).shape
        (3, 5)
    """
    mean, scale = np.linspace(-3, 3, num_components), np.linspace(0.5, 1, num_components)
    u = mean + scale * rng.standard_normal((num, num_components))
    rest = rng.standard_normal((num, max(0, latent_dim - num_components)))
    return np.hstack([u + np.sin(0.5 * math.pi * u), rest])[:, :latent_dim]


def _mixed(
    name: str,
    seed: int,
    latents: Callable[[np.random.Generator, int], np.ndarray],
    sizes: tuple[int, int, int, int],
    noise_scale: float,
    normalize: bool,
    dtype: DTypeLike,
) -> Dataset:
    num_train, num_test, data_dim, latent_dim = sizes
    check_sizes(num_train=num_train, num_test=num_test, data_dim=data_dim, latent_dim=latent_dim)
    check_non_negative(noise_scale, "noise_scale")
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((latent_dim, data_dim))

    def draw(num: int) -> np.ndarray:
        z = latents(rng, num)
        return z @ weight + noise_scale * rng.standard_normal((num, data_dim))

    train, test = draw(num_train), draw(num_test)
    mean = train.mean(0) if normalize else np.zeros(data_dim)
    scale = train.std(0) if normalize else np.ones(data_dim)
    return Dataset(
        name=name,
        train=((train - mean) / scale).astype(dtype),
        test=((test - mean) / scale).astype(dtype),
        parameters={"weight": weight, "noise_scale": noise_scale, "mean": mean, "scale": scale},
    )
