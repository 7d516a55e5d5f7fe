"""What is known in closed form, as oracles: float64, in nats per data point.

`D` is the data dimension, `H` the latent dimension, `N` the number of data points.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from entropy_core.checks import check_finite, check_positive_int, expected


def gaussian_entropy(variance: float | Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Entropy of a univariate Gaussian, in nats, element by element.

        H[N(m, v)] = 1/2 log(2 pi e v)

    Raises:
        ValueError: If a variance is not positive.

    Example:
        >>> gaussian_entropy(np.array([1.0, 0.01])).round(4)
        array([ 1.4189, -0.8836])
    """
    variance = _positive(variance, "variance")
    return np.asarray(0.5 * np.log(2 * np.pi * np.e * variance))


def ppca_log_likelihood(
    x: Float[np.ndarray, "N D"],
    weight: Float[np.ndarray, "D H"],
    mean: Float[np.ndarray, " D"],
    variance: float,
) -> float:
    """Log-likelihood of probabilistic PCA, in nats per data point.

    Damm et al. 2023, Eq. 26, with the covariance `S` of the data about `mean`:

        L = -D/2 log(2 pi) - 1/2 log|C| - 1/2 tr(C^-1 S)        C = W W^T + variance I

    Raises:
        ValueError: If `x` is empty or not finite, shapes do not fit, or `variance` is not positive.

    Example:
        >>> round(ppca_log_likelihood(np.eye(2), np.zeros((2, 1)), np.zeros(2), 1.0), 4)
        -2.3379
    """
    x = _data(x)
    data_dim = x.shape[1]
    if weight.ndim != 2 or len(weight) != data_dim:
        raise ValueError(expected(f"shape ({data_dim}, H)", "weight", weight.shape))
    if mean.shape != (data_dim,):
        raise ValueError(expected(f"shape ({data_dim},)", "mean", mean.shape))
    weight = weight.astype(np.float64)
    covariance = weight @ weight.T + _positive(variance, "variance") * np.eye(data_dim)
    _, log_det = np.linalg.slogdet(covariance)
    trace = np.trace(np.linalg.solve(covariance, _covariance(x, mean)))
    return float(-0.5 * (data_dim * np.log(2 * np.pi) + log_det + trace))


class PPCAOptimum(NamedTuple):
    """The linear VAE at the maximum of probabilistic PCA, where its bound is tight.

    Attributes:
        weight: The decoder's weight, `(D, H)`, with orthogonal columns.
        mean: The mean of the data, `(D,)`.
        variance: The decoder's variance.
        encoder_weight: The weight of the posterior mean, `encoder_weight @ (x - mean)`, `(H, D)`.
        encoder_variance: The variances of the posterior, `(H,)`.
    """

    weight: Float[np.ndarray, "D H"]
    mean: Float[np.ndarray, " D"]
    variance: float
    encoder_weight: Float[np.ndarray, "H D"]
    encoder_variance: Float[np.ndarray, " H"]


def ppca_optimum(x: Float[np.ndarray, "N D"], latent_dim: int) -> PPCAOptimum:
    """Maximum-likelihood probabilistic PCA and its exact posterior (Tipping and Bishop 1999).

    From the eigenvectors `U_H` and eigenvalues `L_H = diag(lambda_1, ..., lambda_H)` that lead the
    covariance of the data (divided by `N`):

        W = U_H (L_H - sigma^2 I)^1/2        sigma^2 = mean of the other D - H eigenvalues
        V = L_H^-1 W^T                       tau_h^2 = sigma^2 / lambda_h

    Any rotation of the latents has the same likelihood; only this one has a diagonal posterior,
    which an encoder with independent latents can reach. The signs of the columns are arbitrary.

    Raises:
        ValueError: If `x` is empty or not finite, if `latent_dim` is not a positive integer below
            `D`, or if `latent_dim` axes hold all the variance: the likelihood is then unbounded.

    Example:
        >>> x = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> optimum = ppca_optimum(x, latent_dim=1)
        >>> optimum.variance, optimum.encoder_variance.round(4)
        (0.5, array([0.1111]))
    """
    x = _data(x)
    data_dim = x.shape[1]
    check_positive_int(latent_dim, "latent_dim")
    if latent_dim >= data_dim:
        raise ValueError(expected(f"an integer below {data_dim}", "latent_dim", latent_dim))
    mean = x.mean(axis=0)
    eigenvalues, eigenvectors = (part[..., ::-1] for part in np.linalg.eigh(_covariance(x, mean)))
    leading = eigenvalues[:latent_dim]
    variance = float(eigenvalues[latent_dim:].mean())
    # Eigenvalues that are zero come out as rounding errors of the largest.
    if variance <= data_dim * np.finfo(np.float64).eps * leading[0]:
        raise ValueError(expected(f"variance off the {latent_dim} leading axes", "x", variance))
    # Where the last leading eigenvalue equals the others, their mean may round to above it.
    weight = eigenvectors[:, :latent_dim] * np.sqrt(np.maximum(leading - variance, 0))
    return PPCAOptimum(weight, mean, variance, weight.T / leading[:, None], variance / leading)


def linear_vae_entropy_sum(
    encoder_variance: Float[np.ndarray, " H"], variance: float, data_dim: int
) -> float:
    """Entropy sum of the linear VAE, in nats per data point.

    Damm et al. 2023, Eq. 20; at the maximum it is the p-PCA log-likelihood (Corollary 2):

        H_sum = 1/2 sum_h log tau_h^2 - D/2 log(2 pi e sigma^2)

    Raises:
        ValueError: If a variance is not positive, or `data_dim` is not a positive integer.

    Example:
        >>> round(linear_vae_entropy_sum(np.array([0.25, 1.0]), 1.0, data_dim=2), 4)
        -3.531
    """
    check_positive_int(data_dim, "data_dim")
    encoder_variance = _positive(encoder_variance, "encoder_variance")
    return float(0.5 * np.log(encoder_variance).sum() - data_dim * gaussian_entropy(variance))


def optimal_decoder_variance(x: Float[np.ndarray, "N D"], mean: Float[np.ndarray, "..."]) -> float:
    """The scalar decoder variance at which the ELBO is stationary in it.

    Damm et al. 2023, Eq. 76, the expectation as a mean over draws of `z`:

        sigma^2 = 1/(D N) sum_n E_q |x_n - mu(z)|^2

    The decoder's `mean` is `(S, N, D)` for `S` draws of `z`, `(N, D)` for one, `(D,)` if constant.

    Raises:
        ValueError: If `x` is empty, or `x` or `mean` is not finite.

    Example:
        >>> optimal_decoder_variance(np.array([[1.0, 2.0], [3.0, 6.0]]), np.array([2.0, 4.0]))
        2.5
    """
    x = _data(x)
    check_finite(mean, "mean")
    return float(np.mean((x - mean) ** 2))


def optimal_prior_variance(
    loc: Float[np.ndarray, "N H"], variance: Float[np.ndarray, "N H"] | Float[np.ndarray, " H"]
) -> Float[np.ndarray, " H"]:
    """The prior variance of each latent at which the ELBO is stationary in it.

    Damm et al. 2023, Eq. 76, for a Gaussian encoder and a prior with mean zero:

        alpha_h^2 = 1/N sum_n (m_h(x_n)^2 + tau_h^2(x_n))

    Raises:
        ValueError: If `loc` is empty or not finite, or a variance is not positive.

    Example:
        >>> optimal_prior_variance(np.array([[1.0], [-1.0]]), np.array([0.5]))
        array([1.5])
    """
    return np.mean(_data(loc, "loc") ** 2 + _positive(variance, "variance"), axis=0)


def collapsed_by_entropy(
    encoder_entropy: Float[np.ndarray, " H"],
    prior_entropy: float | Float[np.ndarray, " H"],
    *,
    delta: float = 0.4189,
) -> Bool[np.ndarray, " H"]:
    """Which latents have collapsed: their encoder is nearly as wide as their own prior.

    Damm et al. 2023, Eq. 24; the default `delta` puts the threshold of a standard normal prior at
    1 nat, as in the paper's figures:

        1/N sum_n H[q(z_h|x_n)] > H[p(z_h)] - delta

    Example:
        >>> collapsed_by_entropy(np.array([1.4, -0.9]), gaussian_entropy(np.ones(2)))
        array([ True, False])
    """
    return np.asarray(encoder_entropy > prior_entropy - delta)


def collapsed_by_kl(
    fraction_below: Float[np.ndarray, " H"], *, delta: float = 0.01
) -> Bool[np.ndarray, " H"]:
    """Which latents have collapsed: their encoder is the prior for nearly all of the data.

    Lucas et al. 2019 (Damm et al. 2023, Eq. 71, prints the inequality the other way round), with
    `fraction_below` the fraction of the data on the left:

        P_x[ KL(q(z_h|x) || p(z_h)) < epsilon ] >= 1 - delta

    Raises:
        ValueError: If a fraction is outside `[0, 1]`.

    Example:
        >>> collapsed_by_kl(np.array([1.0, 0.3]))
        array([ True, False])
    """
    if not ((fraction_below >= 0) & (fraction_below <= 1)).all():
        raise ValueError(expected("fractions in [0, 1]", "fraction_below", fraction_below))
    return fraction_below >= 1 - delta


def active_units(
    variance_of_mean: Float[np.ndarray, " H"], *, threshold: float = 0.01
) -> Bool[np.ndarray, " H"]:
    """Which latents are active: their encoder mean moves with the data (Burda et al. 2016).

        Var_x(E_q[z_h]) > threshold

    Example:
        >>> active_units(np.array([0.8, 1e-4]))
        array([ True, False])
    """
    return variance_of_mean > threshold


def _data(x: np.ndarray, name: str = "x") -> np.ndarray:
    if x.ndim != 2 or len(x) == 0:
        raise ValueError(expected("a matrix with a row for each data point", name, x.shape))
    check_finite(x, name)
    return x.astype(np.float64)


def _positive(value: float | np.ndarray, name: str) -> np.ndarray:
    value = np.asarray(value, dtype=np.float64)
    if not (value > 0).all():  # Not `value <= 0`, which lets NaN pass.
        raise ValueError(expected("positive values", name, value))
    return value


def _covariance(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    centred = x - mean
    return centred.T @ centred / len(x)
