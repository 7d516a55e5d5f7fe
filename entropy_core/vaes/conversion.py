"""The weights of a VAE-2 from those of a VAE-1 with the same distribution of data, and back.

A decoder whose first weight is `W_0` and a standard normal prior make the same data as one with
`W_0 A^(-1/2)` and the prior `N(0, A)`, with the length `alpha_h` of column `h` of `W_0`. An encoder
that follows, `m' = A^(1/2) m` and `tau' = A^(1/2) tau`, keeps the ELBO (Damm et al. 2023,
Theorem 2). The entropies of prior and encoder both grow by `1/2 log det A`.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from entropy_core.checks import expected
from entropy_core.vaes.weights import Weights

_FIRST = "decoder.net.layer_0.weight"
_PRIOR = "prior.log_variance"
_VARIANCE = "decoder.log_variance"

Arrays = Mapping[str, NDArray[np.floating]]


def vae1_to_vae2(weights: Arrays) -> Weights:
    """The weights of the `VAE2` that is the same model as a `VAE1`.

    Both have the same sizes; either backend's `get_weights` and `set_weights` will do.

    Args:
        weights: The weights of a `VAE1`.

    Raises:
        ValueError: If `weights` are not those of a `VAE1`, or a column of the decoder's first
            weight is zero: that latent's prior variance would be zero.

    Example:
        >>> from pyro_entropy import VAE1, VAE2
        >>> vae1, vae2 = VAE1(4, 2), VAE2(4, 2)
        >>> _ = vae2.set_weights(vae1_to_vae2(vae1.get_weights()))
    """
    _check_variant(weights, "VAE1", _PRIOR not in weights)
    columns, alpha = _columns(weights)
    converted = _scaled_encoder(weights, alpha)
    converted[_FIRST] = (columns / alpha).astype(weights[_FIRST].dtype)
    converted[_PRIOR] = (2 * np.log(alpha)).astype(weights[_FIRST].dtype)
    return converted


def vae2_to_vae1(weights: Arrays) -> Weights:
    """The weights of the `VAE1` that is the same model as a `VAE2`.

    Args:
        weights: The weights of a `VAE2`.

    Raises:
        ValueError: If `weights` are not those of a `VAE2`, or a column of the decoder's first
            weight is zero.

    Example:
        >>> from numpyro_entropy import VAE1, VAE2
        >>> import jax
        >>> vae1, vae2 = VAE1(4, 2), VAE2(4, 2)
        >>> weights = vae2.get_weights(vae2.init(jax.random.key(0)))
        >>> params = vae1.set_weights(vae2_to_vae1(weights))
    """
    _check_variant(weights, "VAE2", _PRIOR in weights)
    columns, lengths = _columns(weights)
    alpha = np.exp(0.5 * weights[_PRIOR].astype(np.float64))
    converted = _scaled_encoder(weights, 1 / alpha)
    converted[_FIRST] = (columns / lengths * alpha).astype(weights[_FIRST].dtype)
    del converted[_PRIOR]
    return converted


def _check_variant(weights: Arrays, variant: str, fits: bool) -> None:
    # Other variants have other parameters, or others of the same names but of other shapes.
    nets = ("encoder.net.layer_", "decoder.net.layer_")
    beside = {key for key in weights if not key.startswith(nets)} - {_PRIOR}
    if fits and beside == {_VARIANCE} and _FIRST in weights:
        latent_dim = weights[_FIRST].shape[1]
        fits = (
            weights[f"encoder.net.{_last_layer(weights)}.bias"].shape == (2 * latent_dim,)
            and weights[_VARIANCE].shape == ()
            and weights.get(_PRIOR, np.zeros(latent_dim)).shape == (latent_dim,)
        )
    else:
        fits = False
    if not fits:
        raise ValueError(expected(f"the weights of a {variant}", "weights", sorted(weights)))


def _columns(weights: Arrays) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The decoder's first weight, and the lengths of its columns."""
    columns = weights[_FIRST].astype(np.float64)
    lengths = np.linalg.norm(columns, axis=0)
    if not lengths.all():
        zero = np.flatnonzero(lengths == 0).tolist()
        raise ValueError(expected(f"columns of `{_FIRST}` other than zero", "weights", zero))
    return columns, lengths


def _last_layer(weights: Arrays) -> str:
    layers = {key.split(".")[2] for key in weights if key.startswith("encoder.net.layer_")}
    return max(layers, key=lambda name: int(name.removeprefix("layer_")))


def _scaled_encoder(weights: Arrays, factor: NDArray[np.float64]) -> Weights:
    """The weights of an encoder that gives its latents times `factor`."""
    last = _last_layer(weights)
    weight, bias = (weights[f"encoder.net.{last}.{name}"] for name in ("weight", "bias"))
    # The first H outputs are the means, the others the log-variances.
    means = np.concatenate([factor, np.ones_like(factor)])
    log_variances = np.concatenate([np.zeros_like(factor), 2 * np.log(factor)])
    converted = {key: array.copy() for key, array in weights.items()}
    converted[f"encoder.net.{last}.weight"] = (weight * means[:, None]).astype(weight.dtype)
    converted[f"encoder.net.{last}.bias"] = (bias * means + log_variances).astype(bias.dtype)
    return converted
