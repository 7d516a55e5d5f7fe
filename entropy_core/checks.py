"""The one form that every error at the border takes: ``expected X for `name`; got Y``."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray


def expected(what: str, name: str, got: object) -> str:
    """Words an error message.

    Args:
        what: What would have been right, such as `"a positive integer"`.
        name: The argument as the caller knows it.
        got: What came instead.

    Example:
        >>> raise ValueError(expected("a positive integer", "latent_dim", -1))
        Traceback (most recent call last):
            ...
        ValueError: expected a positive integer for `latent_dim`; got -1
    """
    return f"expected {what} for `{name}`; got {got}"


def check_positive_int(value: object, name: str) -> None:
    """Refuses all but the integers from 1.

    Raises:
        ValueError: If `value` is not an integer, or is below 1.
    """
    # bool is an int to Python, and never a size to a person.
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(expected("a positive integer", name, repr(value)))


def check_objective(loss: object, method: str) -> None:
    """Refuses what is no objective of the host's SVI.

    Args:
        loss: The objective.
        method: What the host calls of it.

    Raises:
        TypeError: If it is a class, or has no such method.
    """
    if isinstance(loss, type) or not callable(getattr(loss, method, None)):
        got = f"the class {loss.__name__}" if isinstance(loss, type) else repr(loss)
        raise TypeError(expected("an objective, such as Standard_ELBO()", "loss", got))


def check_choice(value: object, choices: Any, name: str) -> None:
    """Refuses all but the values of a `Literal`.

    Raises:
        ValueError: If `value` is none of them.
    """
    allowed = get_args(choices) or tuple(choices)
    if value not in allowed:
        raise ValueError(expected(f"one of {list(allowed)}", name, repr(value)))


def check_levels(value: object) -> None:
    """Refuses all but the integers from 2.

    Raises:
        ValueError: If `value` is not an integer, or is below 2.
    """
    check_positive_int(value, "num_levels")
    if value == 1:
        raise ValueError(expected("at least 2 levels", "num_levels", value))


def check_shape(value: int | Sequence[int], name: str) -> tuple[int, ...]:
    """A shape from a size or from several; `D` is short for `(D,)`.

    Raises:
        ValueError: If there is no size, or one is no positive integer.

    Example:
        >>> check_shape(3, "data_dim"), check_shape([3, 32, 32], "data_dim")
        ((3,), (3, 32, 32))
    """
    if not isinstance(value, Sequence):
        value = (value,)
    if not value:
        raise ValueError(expected("at least one size", name, value))
    for size in value:
        check_positive_int(size, name)
    return tuple(int(size) for size in value)


def check_positive(value: float | ArrayLike, name: str) -> NDArray[np.float64]:
    """Numbers that are all positive and finite, as an array.

    Raises:
        ValueError: If a number is not positive, or is NaN or infinite.
    """
    array = np.asarray(value, np.float64)
    if not (np.isfinite(array) & (array > 0)).all():
        raise ValueError(expected("positive numbers", name, value))
    return array


def check_number(value: object, name: str) -> float:
    """One positive number.

    Raises:
        ValueError: If `value` is not one number, or is not positive and finite.
    """
    if np.ndim(value):  # type: ignore[arg-type]
        raise ValueError(expected("one number", name, value))
    return float(check_positive(value, name))  # type: ignore[arg-type]


def check_non_negative(value: object, name: str) -> float:
    """One finite number from 0.

    Raises:
        ValueError: If `value` is not one number, or is negative, NaN or infinite.

    Example:
        >>> check_non_negative(0, "kl_weight")
        0.0
    """
    array = np.asarray(value)
    if array.ndim or array.dtype.kind not in "fiu" or not 0 <= array < np.inf:
        raise ValueError(expected("a non-negative finite number", name, repr(value)))
    return float(array)


def check_weight(value: Any, name: str) -> Any:
    """One finite number from 0, or a scalar array of a host, whose value is not looked at.

    Raises:
        ValueError: If `value` is a number that is negative, NaN or infinite, or is not one number.
    """
    if isinstance(value, np.generic | np.ndarray) or not hasattr(value, "ndim"):
        return check_non_negative(value, name)
    # Under a transformation an array has a shape and no value.
    if value.ndim:
        raise ValueError(expected("one number", name, f"shape {tuple(value.shape)}"))
    return value


def check_inside(inside: NDArray[np.bool_], x: NDArray[np.generic], name: str, where: str) -> None:
    """Refuses data outside the support of their distribution; says how many and the first one.

    Args:
        inside: For each value, or for each row of values, whether it is in the support.
        x: The values.
        name: The argument as the caller knows it.
        where: The support in words.

    Raises:
        ValueError: If a value is outside.
    """
    if not inside.all():
        first = tuple(int(i) for i in np.argwhere(~inside)[0])
        got = f"{int((~inside).sum())} outside, first at {first}: {x[first]}"
        raise ValueError(expected(f"values in {where}", name, got))


def check_outside(counts: Mapping[str, int | NDArray[np.integer]]) -> None:
    """Refuses observations outside the support of their distribution.

    Args:
        counts: For each observed site the number of elements of its batch outside.

    Raises:
        ValueError: If there is one.
    """
    for site, count in counts.items():
        if count:
            what = "values in the support of their distribution"
            raise ValueError(expected(what, site, f"{count} elements of its batch outside"))


def check_finite(x: NDArray[np.generic], name: str) -> None:
    """Refuses arrays with NaN or infinite entries, and says how many and where the first one is.

    Raises:
        ValueError: If an entry of `x` is NaN or infinite.
    """
    bad = ~np.isfinite(x)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            expected("finite values", name, f"{int(bad.sum())} NaN or infinite, first at {first}")
        )


def check_batch(
    shape: tuple[int, ...], data_shape: tuple[int, ...] | None, total: object = None
) -> None:
    """Refuses a batch that a model cannot take; looks at shapes only, so that it can be traced.

    Args:
        shape: The shape of the batch, `(B, *data_shape)`.
        data_shape: The shape of one data point, `None` where the model does not know it.
        total: The size of the data set that the batch is a part of, `None` for the batch itself.

    Raises:
        ValueError: If the batch is empty or has another shape, or if `total` is no integer from B.
    """
    if not shape or (data_shape is not None and shape[1:] != data_shape):
        sizes = "B, ..." if data_shape is None else ", ".join(map(str, ("B", *data_shape)))
        raise ValueError(expected(f"shape ({sizes})", "x", f"shape {shape}"))
    if shape[0] == 0:
        raise ValueError(expected("at least one data point", "x", f"shape {shape}"))
    if total is not None:
        if getattr(total, "shape", ()):
            # Labels in a batch come here.
            got = f"an array of shape {tuple(total.shape)}"  # type: ignore[attr-defined]
            raise ValueError(
                expected("the size of the data set (a VAE takes no labels)", "total", got)
            )
        check_positive_int(total, "total")
        if int(total) < shape[0]:  # type: ignore[call-overload]
            raise ValueError(expected(f"at least the batch size {shape[0]}", "total", total))
