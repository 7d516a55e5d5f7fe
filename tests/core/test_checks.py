"""What each check takes, what it refuses, and in which words."""

import re

import numpy as np
import pytest

from entropy_core.checks import check_batch, check_finite, check_positive_int, expected


def refused(message: str):
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")


def test_every_message_has_one_form():
    message = expected("a positive integer", "latent_dim", -1)
    assert message == "expected a positive integer for `latent_dim`; got -1"


@pytest.mark.parametrize("value", [1, 10**20, np.int32(1), np.uint8(255), np.int64(3)])
def test_positive_integers_of_any_kind_are_taken(value):
    check_positive_int(value, "n")


BELOW_ONE = [0, -1, np.int64(0), np.int8(-3)]
NO_INTEGERS = [True, False, np.True_, 1.0, np.float64(2), np.nan, "1", None, [1], np.array(1)]


@pytest.mark.parametrize("value", BELOW_ONE + NO_INTEGERS, ids=repr)
def test_all_else_is_no_positive_integer(value):
    with refused(f"expected a positive integer for `n`; got {value!r}"):
        check_positive_int(value, "n")


@pytest.mark.parametrize(
    "x",
    [
        np.array(1.0),
        np.zeros((0, 3)),
        np.float32([[1, -2]]),
        np.array([np.finfo(float).max]),
        np.arange(3),
        np.array([True, False]),
    ],
    ids=repr,
)
def test_finite_arrays_are_taken(x):
    check_finite(x, "x")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("shape", "where"),
    [((), [()]), ((3,), [(2,)]), ((2, 3), [(0, 2), (1, 0)]), ((2, 2, 2), [(1, 0, 1), (1, 1, 0)])],
)
def test_entries_that_are_not_finite_are_counted_and_the_first_is_located(shape, where, bad, dtype):
    x = np.zeros(shape, dtype)
    for index in where:
        x[index] = bad
    with refused(
        f"expected finite values for `x`; got {len(where)} NaN or infinite, first at {where[0]}"
    ):
        check_finite(x, "x")


@pytest.mark.parametrize(
    ("shape", "data_shape", "total"),
    [
        ((3, 4), (4,), None),
        ((3, 4), (4,), 3),
        ((3, 4), (4,), np.int64(100)),
        ((1, 2, 5, 5), (2, 5, 5), 1),
        ((3,), (), None),
        ((3, 4), None, None),
        ((3,), None, 3),
    ],
)
def test_batches_of_the_right_shape_are_taken(shape, data_shape, total):
    check_batch(shape, data_shape, total)


@pytest.mark.parametrize(
    ("shape", "data_shape", "wanted"),
    [
        ((3, 5), (4,), "B, 4"),
        ((4,), (4,), "B, 4"),
        ((3, 4, 1), (4,), "B, 4"),
        ((3, 28, 28), (1, 28, 28), "B, 1, 28, 28"),
        ((3, 4), (), "B"),
        ((), None, "B, ..."),
        ((), (4,), "B, 4"),
        ((0, 5), (4,), "B, 4"),
    ],
)
def test_batches_of_another_shape_are_refused(shape, data_shape, wanted):
    with refused(f"expected shape ({wanted}) for `x`; got shape {shape}"):
        check_batch(shape, data_shape)


@pytest.mark.parametrize(("shape", "data_shape"), [((0, 4), (4,)), ((0,), ()), ((0, 4), None)])
def test_an_empty_batch_is_refused(shape, data_shape):
    with refused(f"expected at least one data point for `x`; got shape {shape}"):
        check_batch(shape, data_shape, 10)


@pytest.mark.parametrize("total", [0, -5, 3.0, True, "3"])
def test_total_is_a_positive_integer(total):
    with refused(f"expected a positive integer for `total`; got {total!r}"):
        check_batch((1, 4), (4,), total)


@pytest.mark.parametrize("total", [2, np.int64(2)])
def test_total_is_not_below_the_batch_size(total):
    with refused("expected at least the batch size 3 for `total`; got 2"):
        check_batch((3, 4), (4,), total)
