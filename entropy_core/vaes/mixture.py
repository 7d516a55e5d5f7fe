"""Mixtures of Gaussians: their parameters, checked, and their fit to samples by scikit-learn."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

from entropy_core.checks import check_finite, check_positive, check_positive_int, expected


class GaussianMixture(NamedTuple):
    """The parameters of a mixture of Gaussians.

    Args:
        weights: The probability of each component, `(K,)`.
        loc: The mean of each component, `(K, H)`.
        covariance: The variances of each component, `(K, H)`, or its covariance, `(K, H, H)`.
    """

    weights: Float[np.ndarray, " K"]
    loc: Float[np.ndarray, "K H"]
    covariance: Float[np.ndarray, "K H *H"]


def check_mixture(weights: ArrayLike, loc: ArrayLike, covariance: ArrayLike) -> GaussianMixture:
    """The parameters of a mixture of Gaussians as arrays, the weights with the sum one.

    Raises:
        ValueError: If shapes do not fit, weights or variances are not positive, or a covariance is
            not positive definite.

    Example:
        >>> check_mixture([1, 3], [[-1.0], [1.0]], [[0.1], [0.1]]).weights
        array([0.25, 0.75])
    """
    weights = check_positive(weights, "weights")
    loc, covariance = np.asarray(loc, np.float64), np.asarray(covariance, np.float64)
    check_finite(loc, "loc")
    if weights.ndim != 1 or loc.ndim != 2 or len(loc) != len(weights):
        shapes = f"{weights.shape} and {loc.shape}"
        raise ValueError(expected("shapes (K,) and (K, H)", "weights` and `loc", shapes))
    if covariance.shape == loc.shape:
        check_positive(covariance, "covariance")
    elif covariance.shape == (*loc.shape, loc.shape[1]):
        check_finite(covariance, "covariance")
        symmetric = np.allclose(covariance, covariance.swapaxes(1, 2))
        if not symmetric or np.linalg.eigvalsh(covariance).min() <= 0:
            raise ValueError(expected("positive definite matrices", "covariance", covariance))
    else:
        raise ValueError(
            expected(f"shape {loc.shape} or {(*loc.shape, loc.shape[1])}", "covariance",
                     covariance.shape)
        )  # fmt: skip
    return GaussianMixture(weights / weights.sum(), loc, covariance)


def fit_mixture(
    samples: ArrayLike, num_components: int, *, full_covariance: bool = True, seed: int = 0
) -> GaussianMixture:
    """Fits a mixture of Gaussians to samples by expectation maximisation.

    With scikit-learn's `GaussianMixture`, as for the priors of ED-VAE, Sec. IV-C.

    Args:
        samples: The samples, of shape `(N, H)`.
        num_components: The number of components, `K`.
        full_covariance: Whether components have a full covariance, or one variance a dimension.
        seed: The seed of the initial values.

    Raises:
        ImportError: If scikit-learn is missing.
        ValueError: If `samples` are not of that shape, not finite, or fewer than the components.

    Example:
        >>> samples = np.random.default_rng(0).normal(size=(1000, 1)) * [[0.1, 1.0]]
        >>> fit_mixture(samples, 1).covariance.round(1)
        array([[[0. , 0.1],
                [0.1, 1. ]]])
    """
    check_positive_int(num_components, "num_components")
    samples = np.asarray(samples, np.float64)
    if samples.ndim != 2 or len(samples) < max(num_components, 2):
        what = f"shape (N, H) with N >= {max(num_components, 2)}"
        raise ValueError(expected(what, "samples", samples.shape))
    check_finite(samples, "samples")
    mixture = _sklearn_mixture()(
        num_components, covariance_type="full" if full_covariance else "diag", random_state=seed
    ).fit(samples)
    return GaussianMixture(mixture.weights_, mixture.means_, mixture.covariances_)


def check_moments(moments: NDArray[np.floating]) -> None:
    """Refuses second moments that no normal distribution can have.

    In float32 they can be such where means are a thousand times as large as standard deviations.

    Args:
        moments: The variances, `(H,)`, or the covariance, `(H, H)`.

    Raises:
        ValueError: If `moments` are not positive definite.
    """
    smallest = (np.linalg.eigvalsh(moments) if moments.ndim == 2 else moments).min()
    # A factor that the host can compute has some digits to spare.
    if not smallest > np.finfo(moments.dtype).eps * np.abs(moments).max() * (moments.ndim - 1):
        what = f"second moments that are positive definite in {moments.dtype}"
        raise ValueError(expected(what, "data", f"the smallest eigenvalue {smallest}"))


def check_pseudo_inputs(inputs: NDArray[np.generic]) -> None:
    """Refuses pseudo-inputs that are missing or not finite.

    Args:
        inputs: The pseudo-inputs, of shape `(K, *data_shape)`.

    Raises:
        ValueError: If `inputs` are not of that shape, or not finite.
    """
    if inputs.ndim < 2 or not len(inputs):
        raise ValueError(expected("shape (K, *data_shape)", "pseudo_inputs", inputs.shape))
    check_finite(inputs, "pseudo_inputs")


def _sklearn_mixture() -> Any:
    try:
        from sklearn.mixture import GaussianMixture as SklearnMixture
    except ImportError as error:
        error.add_note("fitting a mixture needs scikit-learn: pip install 'elbo-entropy[data]'")
        raise
    return SklearnMixture
