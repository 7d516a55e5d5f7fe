"""What formulas of the core ask of the host's arrays."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax, nn
from jax.scipy.special import gammaln, i0e, i1e, xlogy
from jaxtyping import Array

from entropy_core.operations import FloatArray, Operations


def log_det(matrix: Array) -> Array:
    """The logarithm of the determinant of a symmetric positive definite matrix."""
    factor = jnp.linalg.cholesky(matrix)
    return 2 * jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)).sum(-1)


def scale_of(log_variance: Array) -> Array:
    """`exp(1/2 log sigma^2)`, computed once.

    XLA would take the exponential again in each sum that it puts it into, on a CPU one element at a
    time.
    """
    return lax.optimization_barrier(jnp.exp(0.5 * log_variance))


def weighted_sum(
    function: Callable[..., Array], nodes: FloatArray, weights: FloatArray, like: Array
) -> Array:
    """`sum_i weights_i f(*nodes_i)`, in the float type and in the shape of another array."""
    shape = (-1, *[1] * like.ndim)
    columns = [jnp.asarray(c, like.dtype).reshape(shape) for c in (weights, *nodes.T)]
    return (columns[0] * function(*columns[1:])).sum(0)


OPERATIONS = Operations(
    exp=jnp.exp,
    expm1=jnp.expm1,
    log=jnp.log,
    log1p=jnp.log1p,
    lgamma=gammaln,
    i0e=i0e,
    i1e=i1e,
    xlogy=xlogy,
    where=jnp.where,
    at_least=jnp.maximum,
    at_most=jnp.minimum,
    zeros_like=jnp.zeros_like,
    cast=lambda values, like: jnp.asarray(values, like.dtype),
    constant=lax.stop_gradient,
    eps=lambda values: float(jnp.finfo(values.dtype).eps),
    weighted_sum=weighted_sum,
    log_sum_exp=lambda values: nn.logsumexp(values, -1),
    logsumexp=nn.logsumexp,
    permute=jnp.transpose,
    log_softmax=nn.log_softmax,
    broadcast_to=jnp.broadcast_to,
    concatenate=jnp.concatenate,
    stack=lambda arrays: jnp.stack(jnp.broadcast_arrays(*arrays), -1),
    diag=jnp.diag,
    eye_like=lambda matrix: jnp.eye(len(matrix), dtype=matrix.dtype),
    log_det=log_det,
    solve=jnp.linalg.solve,
)
