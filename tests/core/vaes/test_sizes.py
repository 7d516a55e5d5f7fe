"""Sizes, mixtures and bits: what both backends check alike."""

import numpy as np
import pytest

from entropy_core.checks import check_inside, check_outside, check_positive, check_shape
from entropy_core.evaluation.bits import bits_per_dim
from entropy_core.vaes.mixture import check_mixture, fit_mixture
from entropy_core.vaes.sizes import Sizes, check_halvings

pytestmark = pytest.mark.usefixtures("unchecked")


def test_sizes():
    sizes = Sizes((3, 32, 64), 5, "conv", [8, 16], "relu")
    assert (sizes.data_shape, sizes.hidden) == ((3, 32, 64), (8, 16))
    assert sizes.head_shape(2) == (6, 32, 64)
    assert check_halvings((3, 32, 64), (8, 16), "data_dim") == (16, 8, 16)
    assert Sizes(7, 5, "mlp", (), "relu").head_shape(2) == (14,)


@pytest.mark.parametrize(
    ("args", "match"),
    [
        ((0, 5, "mlp", (8,)), "a positive integer for `data_dim`; got 0"),
        (((3, -1), 5, "mlp", (8,)), "a positive integer for `data_dim`; got -1"),
        (((), 5, "mlp", (8,)), r"at least one size for `data_dim`; got \(\)"),
        ((7, 0, "mlp", (8,)), "a positive integer for `latent_dim`"),
        ((7, 5, "resnet", (8,)), "for `net`; got resnet"),
        ((7, 5, "mlp", (8, 0)), "a positive integer for `hidden`"),
        ((7, 5, "conv", (8,)), r"\(C, height, width\) with multiples of 2 for `data_dim`"),
        (((1, 28, 30), 5, "conv", (8, 8)), "multiples of 4 for `data_dim`"),
        (((1, 28, 28), 5, "conv", ()), "at least one size for `hidden`"),
    ],
)
def test_bad_sizes_are_refused(args, match):
    with pytest.raises(ValueError, match=match):
        Sizes(*args, "relu")


def test_checks_of_values():
    assert check_shape(np.int64(3), "n") == (3,)
    np.testing.assert_array_equal(check_positive([1, 2], "v"), [1, 2])
    for bad in (0, -1.0, [1, float("nan")], float("inf")):
        with pytest.raises(ValueError, match="positive numbers for `v`"):
            check_positive(bad, "v")
    x = np.array([[0.0, 0.5], [1.0, 0.25]])
    with pytest.raises(ValueError, match=r"in \{0, 1\} for `x`; got 2 outside, first at \(0, 1\)"):
        check_inside((x == 0) | (x == 1), x, "x", "{0, 1}")
    check_inside(x < 2, x, "x", "below 2")
    check_outside({"x": 0})
    with pytest.raises(ValueError, match="support of their distribution for `y`; got 3 elements"):
        check_outside({"x": 0, "y": np.int64(3)})


def test_bits_per_dim_of_a_uniform_model_are_eight():
    data_dim = 784
    # The probabilities of 256 levels, and the density of (k + u) / 256.
    assert bits_per_dim(-data_dim * np.log(256), data_dim) == 8
    assert bits_per_dim(0.0, data_dim, bin_width=1 / 256) == 8
    assert bits_per_dim(0.0, data_dim, bin_width=1 / 255) == pytest.approx(np.log2(255))
    with pytest.raises(ValueError, match="`data_dim`"):
        bits_per_dim(0.0, 0)
    with pytest.raises(ValueError, match="`bin_width`"):
        bits_per_dim(0.0, 1, bin_width=0)


@pytest.mark.parametrize("full_covariance", [True, False])
def test_a_mixture_is_found_again(full_covariance):
    rng = np.random.default_rng(0)
    spread = np.array([[0.5, 0.3], [0.0, 0.2]]) if full_covariance else np.diag([0.5, 0.2])
    samples = rng.standard_normal((20_000, 2)) @ spread
    samples[:5000] += [4, -4]
    mixture = fit_mixture(samples, 2, full_covariance=full_covariance)
    order = np.argsort(mixture.loc[:, 0])
    np.testing.assert_allclose(mixture.weights[order], [0.75, 0.25], atol=0.01)
    np.testing.assert_allclose(mixture.loc[order], [[0, 0], [4, -4]], atol=0.05)
    expected = spread.T @ spread
    expected = expected if full_covariance else np.diag(expected)
    np.testing.assert_allclose(mixture.covariance[0], expected, atol=0.02)
    # What is fitted can be given.
    for array, same in zip(mixture, check_mixture(*mixture), strict=True):
        np.testing.assert_allclose(array, same)


EYE = np.eye(2)[None]


@pytest.mark.parametrize(
    ("args", "match"),
    [
        (([1, 0], np.zeros((2, 3)), np.ones((2, 3))), "positive numbers for `weights`"),
        (([1], np.zeros((2, 3)), np.ones((2, 3))), r"shapes \(K,\) and \(K, H\) for `weights`"),
        (([1], np.full((1, 2), np.nan), np.ones((1, 2))), "finite values for `loc`"),
        (([1], np.zeros((1, 2)), -np.ones((1, 2))), "positive numbers for `covariance`"),
        (([1], np.zeros((1, 2)), np.ones((1, 3))), r"shape \(1, 2\) or \(1, 2, 2\)"),
        (([1], np.zeros((1, 2)), -EYE), "positive definite matrices for `covariance`"),
        (([1], np.zeros((1, 2)), EYE + np.tri(2)), "positive definite matrices"),
    ],
)
def test_bad_mixtures_are_refused(args, match):
    with pytest.raises(ValueError, match=match):
        check_mixture(*args)


@pytest.mark.parametrize(
    ("samples", "match"),
    [
        (np.zeros(5), r"shape \(N, H\) with N >= 3 for `samples`"),
        (np.zeros((2, 2)), r"for `samples`; got \(2, 2\)"),
        (np.full((5, 2), np.inf), "finite values for `samples`"),
    ],
)
def test_bad_samples_are_refused(samples, match):
    with pytest.raises(ValueError, match=match):
        fit_mixture(samples, 3)
