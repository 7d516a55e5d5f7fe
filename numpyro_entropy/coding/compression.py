"""Data to bytes and back, by a trained VAE."""

import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray
from numpyro.handlers import block, substitute

from entropy_core.checks import expected
from entropy_core.coding.batches import Nets
from entropy_core.coding.bins import Mixture, Normals
from entropy_core.coding.chains import read_data, write_code
from entropy_core.coding.container import CompressedData, core_environment
from entropy_core.coding.levels import Likelihood
from numpyro_entropy.coding.parts import read_likelihood, read_normals, read_prior
from numpyro_entropy.compiled import compiled
from numpyro_entropy.nets.mlp import AnyArray
from numpyro_entropy.params import Params, check_params, param_shapes, to_weights
from numpyro_entropy.traces.modes import evaluating
from numpyro_entropy.vaes.base import VAE
from numpyro_entropy.vaes.data import check_data, check_part


def compress(
    vae: VAE,
    params: Params,
    data: Float[AnyArray, "N *data_shape"],
    *,
    num_chains: int | None = None,
    precision: int | None = None,
) -> CompressedData:
    """Writes data in as many bits as the negative ELBO says, without loss.

    Bits back (Yu 2020, Eq. 33; Townsend et al. 2019): draws `z ~ q(z|x)` are popped off a stack of
    bits, then `x` is pushed under `p(x|z)` and `z` under `p(z)`. The net cost is
    `-log p(x|z) - log p(z) + log q(z|x)`, whose mean is the negative ELBO in bits. Latents are bins
    of the prior. `decompress` undoes it with the same VAE, libraries and device.

    Args:
        vae: The VAE. Its prior is a normal distribution or a mixture of normal ones, its encoder
            normal, with diagonal or full covariances, and its decoder Bernoulli, categorical,
            Poisson, or a discretised logistic or normal distribution.
        params: The parameters.
        data: The data set, of shape `(N, *data_shape)`.
        num_chains: How many data points are coded side by side. Each chain costs some bits for its
            first draw, and the nets see batches of that size. `None` for one chain for each 256
            data points, 64 at most.
        precision: The bits of the number of a latent's bin. `None` for those that the smallest
            `tau` asks for, 14 at most.

    Returns:
        The code, and its rate.

    Raises:
        ImportError: If `constriction` is missing.
        TypeError: If a part of the VAE has no code, or `data` are no array of floats that JAX has.
        ValueError: If `params` are not complete, the data are not finite, or not levels that the
            decoder knows, or a number is out of range.

    Example:
        >>> from jax import random
        >>> from numpyro_entropy import BernoulliVAE, decompress
        >>> vae, key = BernoulliVAE(20, 2), random.key(0)
        >>> params, x = vae.init(key), random.bernoulli(key, 0.5, (20, 20)) * 1.0
        >>> code = compress(vae, params, x)
        >>> bool((decompress(vae, params, code) == x).all())
        True
        >>> abs(code.rate.excess) < 0.05
        True
    """
    check_data(data, vae.data_shape)
    x = np.asarray(data)
    if jnp.asarray(data[:1]).dtype != x.dtype:
        raise TypeError(expected("float32 where JAX has no double precision", "data", x.dtype))
    with evaluating(vae.model, vae.guide):
        return write_code(_nets(vae, params, x.shape[1:]), x, num_chains, precision)


def decompress(
    vae: VAE, params: Params, code: CompressedData | bytes | str | os.PathLike[str]
) -> Array:
    """Reads the data that `compress` wrote, bit for bit.

    Args:
        vae: The VAE that the code was written with.
        params: Its parameters.
        code: What `compress` returned, its bytes, or the path of a file that they were saved to.

    Returns:
        The data, of shape `(N, *data_shape)`.

    Raises:
        ImportError: If `constriction` is missing.
        FileNotFoundError: If there is no such file.
        ValueError: If a byte is missing or has changed, `params` are not complete, or the VAE, its
            weights, a library or the device is another than when the code was written. Wrong data
            are never returned.
    """
    with evaluating(vae.model, vae.guide):
        x = read_data(code, lambda shape: _nets(vae, params, shape), vae.data_shape)
    return jnp.asarray(x)


def _nets(vae: VAE, params: Params, data_shape: tuple[int, ...]) -> Nets:
    x = jnp.zeros((1, *data_shape))
    shapes = {**param_shapes(vae.model, x), **param_shapes(vae.guide, x)}
    check_params(params, shapes)
    params = {name: params[name] for name in shapes}
    leaves = [leaf for leaf in jax.tree.leaves(params) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    dtype = leaves[0].dtype if leaves else jnp.result_type(float)
    prior = _function(lambda: read_prior(check_part(vae.prior(), None, "prior")))
    encoder = _function(
        lambda x: read_normals(check_part(vae.encoder(x), None, "encoder"), "encoder")
    )
    decoder = _function(
        lambda z: read_likelihood(check_part(vae.decoder(z), data_shape, "decoder"))
    )

    def posterior(x: NDArray[np.floating]) -> Normals:
        return encoder(params, jnp.asarray(x))

    def likelihood(z: NDArray[np.float64]) -> Likelihood:
        return decoder(params, jnp.asarray(z, dtype))

    log_weights, components = prior(params)
    return Nets(
        prior=Mixture(log_weights, components),
        posterior=posterior,
        likelihood=likelihood,
        weights=to_weights(params),
        environment=_environment(),
    )


def _function(part: Callable[..., Any]) -> Callable[..., Any]:
    # Both sides of a code run one program. What is no array is known once it has been traced.
    structures = []

    def flat(params: Params, *args: Array) -> list[Array]:
        with block(), substitute(data=params):
            found = part(*args)
        leaves, structure = jax.tree.flatten(found)
        structures.append((structure, [None if isinstance(a, Array) else a for a in leaves]))
        return [a for a in leaves if isinstance(a, Array)]

    program = compiled(flat)

    def call(params: Params, *args: Array) -> Any:
        arrays = iter(np.asarray(a, np.float64) for a in program(params, *args))
        structure, others = structures[-1]
        return jax.tree.unflatten(structure, [next(arrays) if a is None else a for a in others])

    return call


def _environment() -> dict[str, str]:
    (device, *_) = jax.devices()
    return {
        "backend": "numpyro",
        "jax": jax.__version__,
        "jaxlib": version("jaxlib"),
        "device": device.device_kind,
        "threads": str(os.cpu_count()),
        "matmul": str(jax.config.jax_default_matmul_precision),  # type: ignore[attr-defined]
        "x64": str(jax.config.jax_enable_x64),  # type: ignore[attr-defined]
        **core_environment(),
    }
