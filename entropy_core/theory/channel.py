"""A latent variable as a Gaussian channel (Yu 2020, Sec. 4.3)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Channel(NamedTuple):
    """Latents as Gaussian channels, each array of shape `(H,)`, in bits but for the moment.

    Args:
        channel: `-1/2 E_x[log2 N_h(x)]`, where `N_h` is the variance of `q(z_h|x)` in units of
            the prior's.
        capacity: `-1/2 log2 E_x[N_h(x)]`, the capacity of a channel of the mean noise and the power
            `1 - E_x[N_h]`; never above `channel`, and the same where the noise does not depend on
            `x`.
        second_moment: `E[(z_h - mean)^2]` of a latent about the prior's mean, in units of the
            prior's variance.
    """

    channel: Float[np.ndarray, " H"]
    capacity: Float[np.ndarray, " H"]
    second_moment: Float[np.ndarray, " H"]


def gaussian_channel(
    encoder_entropy: Float[np.ndarray, " H"],
    prior_entropy: Float[np.ndarray, " H"],
    kl: Float[np.ndarray, " H"],
    noise: Float[np.ndarray, " H"],
) -> Channel:
    """The Gaussian channel of normal latents, from means over the data in nats.

        KL_h = -1/2 E log N_h + 1/2 (E z_h^2 - 1)

    (Yu 2020, Eqs. 35 to 38): where `E z_h^2 = 1`, the rate `KL_h` is `-1/2 E log N_h`, and the
    capacity at the mean noise if that does not depend on `x`.

    Args:
        encoder_entropy: `E_x H[q(z_h|x)]`.
        prior_entropy: `H[p(z_h)]`.
        kl: `E_x KL(q(z_h|x) || p(z_h))`.
        noise: `E_x N_h(x)`; NaN where a latent is not normal, and then all is.

    Example:
        >>> from entropy_core.theory.closed_form import gaussian_entropy
        >>> one, half = gaussian_entropy(np.array([[1.0], [0.5]]))
        >>> channel = gaussian_channel(half, one, one - half, np.array([0.5]))
        >>> [number.round(6).item() for number in channel]
        [0.5, 0.5, 1.0]
    """
    channel = prior_entropy - encoder_entropy
    seen = np.where(np.isnan(noise), np.nan, 1.0)
    return Channel(
        seen * channel / np.log(2), -0.5 * np.log2(noise), seen * (1 + 2 * (kl - channel))
    )
