"""The few functions of an array library that formulas of the core ask for."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Elementwise = Callable[[Any], Any]
FloatArray = NDArray[np.float64]


class Operations(NamedTuple):
    """What torch and JAX do by different names, or what an array has no method for.

    What arrays of both have alike (arithmetic, `@`, `.mT`, `sum`, `mean`, `reshape`, `diagonal`) is
    not here. Each side has one instance, `operations.OPERATIONS`.

    Args:
        exp: The exponential, elementwise, as are the next ones.
        expm1: `exp(x) - 1`.
        log: The logarithm.
        log1p: `log(1 + x)`.
        lgamma: `log Gamma(x)`.
        i0e: The Bessel function `exp(-|x|) I0(x)`.
        i1e: `exp(-|x|) I1(x)`.
        xlogy: `x log y`, zero where `x` is.
        where: Entries of one array or of another.
        at_least: Entries no less than a number.
        at_most: Entries no greater than a number.
        zeros_like: Zeros in the shape and float type of an array.
        cast: A number or an array in the float type, and on the device, of another.
        constant: An array without its gradient.
        eps: The distance from one to the next number of an array's float type.
        weighted_sum: `sum_i weights_i f(*nodes_i)` of a function `f`, nodes `(N, k)` and weights
            `(N,)` of NumPy, in the float type and in the shape of a last argument.
        log_sum_exp: `log sum_j exp(x_ij)` over the last dimension.
        logsumexp: The same over any dimension.
        permute: The dimensions of an array in another order.
        log_softmax: `x - log sum exp(x)` over a dimension.
        broadcast_to: An array in another shape.
        concatenate: Arrays one after another.
        stack: Arrays that broadcast to one shape, side by side in a new last dimension.
        diag: A diagonal matrix.
        eye_like: The unit matrix of the shape of another.
        log_det: The logarithm of the determinant of a symmetric positive definite matrix.
        solve: The solution `x` of `a x = b`.
    """

    exp: Elementwise
    expm1: Elementwise
    log: Elementwise
    log1p: Elementwise
    lgamma: Elementwise
    i0e: Elementwise
    i1e: Elementwise
    xlogy: Callable[[Any, Any], Any]
    where: Callable[[Any, Any, Any], Any]
    at_least: Callable[[Any, float], Any]
    at_most: Callable[[Any, float], Any]
    zeros_like: Elementwise
    cast: Callable[[Any, Any], Any]
    constant: Elementwise
    eps: Callable[[Any], float]
    weighted_sum: Callable[[Callable[..., Any], FloatArray, FloatArray, Any], Any]
    log_sum_exp: Elementwise
    logsumexp: Callable[[Any, int], Any]
    permute: Callable[[Any, tuple[int, ...]], Any]
    log_softmax: Callable[[Any, int], Any]
    broadcast_to: Callable[[Any, Any], Any]
    concatenate: Callable[[Sequence[Any]], Any]
    stack: Callable[[Sequence[Any]], Any]
    diag: Elementwise
    eye_like: Elementwise
    log_det: Elementwise
    solve: Callable[[Any, Any], Any]
