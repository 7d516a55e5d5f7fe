"""The log evidence of a Gaussian model by its decoder's Jacobian, from arrays of either backend.

Shapes: `B` data points, `H` latents, `D` data dimensions; float64, in nats per data point.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray


class GaussNewton(NamedTuple):
    """A model about a value of the latents of each data point.

    Args:
        deviation: The latents less the mean of their prior, `(B, H)`.
        prior_covariance: `S^2`, `(B, H, H)`.
        residual: The data less the decoder's means, `(B, D)`.
        variance: The decoder's variances, the diagonal of `R`, `(B, D)`.
        jacobian: The derivatives `J` of the decoder's means by the latents, `(B, D, H)`.
    """

    deviation: Any
    prior_covariance: Any
    residual: Any
    variance: Any
    jacobian: Any


class ConstantVariancePenalty(NamedTuple):
    """What a constant encoder variance costs at best.

    Args:
        penalty: How much lower the ELBO is, in nats per data point.
        covariance: The best constant `Sigma`, of shape `(H, H)`.
    """

    penalty: float
    covariance: Float[np.ndarray, "H H"]


def log_evidence(at: GaussNewton) -> Float[np.ndarray, " B"]:
    """The Laplace approximation of the log evidence of each data point; Fyffe 2020, Eq. 26.

        -1/2 ( D log 2 pi + |S^-1 z|^2 + (x - mu)^T R^-1 (x - mu) + log|R|
               + log|I + S J^T R^-1 J S| )

    The determinant is one of `H x H`, for tall and wide Jacobians.
    """
    at = _float64(at)
    root = np.linalg.cholesky(at.prior_covariance)
    whitened = np.linalg.solve(root, at.deviation[..., None])[..., 0]
    data_dim = at.residual.shape[1]
    squares = (whitened**2).sum(1) + (at.residual**2 / at.variance).sum(1)
    inner = np.eye(root.shape[-1]) + root.mT @ _information(at) @ root
    log_dets = np.log(at.variance).sum(1) + np.linalg.slogdet(inner)[1]
    return -0.5 * (data_dim * np.log(2 * np.pi) + squares + log_dets)


def precision(at: GaussNewton) -> Float[np.ndarray, "B H H"]:
    """The precision of the posterior, `A = S^-2 + J^T R^-1 J`; Fyffe 2020, Eq. 25."""
    at = _float64(at)
    return np.linalg.inv(at.prior_covariance) + _information(at)


def penalty(precisions: Iterable[NDArray[np.float64]]) -> ConstantVariancePenalty:
    """What a constant encoder variance costs, `1/4 E tr[(A Abar^-1 - I)^2]`; Fyffe 2020, Eq. 22.

    Args:
        precisions: `A` of batches of data points, each of shape `(B, H, H)`.

    Returns:
        The penalty for the best constant `Sigma = Abar^-1`, `Abar = E A`.

    Example:
        >>> penalty([np.array([[[1.0]], [[3.0]]])])  # relative variance 1/4
        ConstantVariancePenalty(penalty=0.0625, covariance=array([[0.5]]))
    """
    stacked = np.concatenate(list(precisions))
    covariance = np.linalg.inv(stacked.mean(0))
    excess = stacked @ covariance - np.eye(len(covariance))
    squares = np.einsum("bij,bji->b", excess, excess)
    return ConstantVariancePenalty(float(0.25 * squares.mean()), covariance)


def _information(at: GaussNewton) -> NDArray[np.float64]:
    return at.jacobian.mT @ (at.jacobian / at.variance[..., None])


def _float64(at: GaussNewton) -> GaussNewton:
    return GaussNewton(*(np.asarray(part, np.float64) for part in at))
