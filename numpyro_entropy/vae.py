"""Variational autoencoders: a prior, an encoder and a decoder make a model and a guide for SVI."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import random
from jaxtyping import Array, Float
from numpy.typing import ArrayLike
from numpyro.handlers import block, substitute

from entropy_core import weights as weights_file
from entropy_core.checks import check_finite, expected
from numpyro_entropy.data import check_data, data_plate
from numpyro_entropy.nets import AnyArray
from numpyro_entropy.params import (
    Params,
    check_params,
    from_weights,
    init_params,
    param_shapes,
    to_weights,
)

Part = Callable[..., dist.Distribution]


@dataclass(frozen=True, eq=False)
class VAE:
    """A variational autoencoder made of a prior `p(z)`, an encoder `q(z|x)` and a decoder `p(x|z)`.

    `vae.model` and `vae.guide` take a batch `x` of shape `(B, *data_shape)` and, as `total`, the
    size of the data set that the batch is a part of. Sites are `"z"` and `"x"`, in the plate
    `"data"`. Parameters live in the `params` that `SVI` returns.

    Args:
        prior: Called without arguments; returns a distribution.
        encoder: Called with data; returns a distribution.
        decoder: Called with latents; returns a distribution.
        data_shape: The shape of one data point. With it, data of other shapes are refused by name.

    Example:
        >>> from numpyro_entropy import MLP, NormalDecoder, NormalEncoder, StandardNormalPrior
        >>> vae = VAE(
        ...     StandardNormalPrior(2), NormalEncoder(MLP(5, 4)), NormalDecoder(MLP(2, 5)), (5,)
        ... )
        >>> params = vae.init(jax.random.key(0))
        >>> vae.encode(params, jnp.zeros((8, 5))).mean.shape
        (8, 2)
    """

    prior: Part
    encoder: Part
    decoder: Part
    data_shape: tuple[int, ...] | None = None

    def model(self, x: AnyArray, total: int | None = None) -> None:
        """`p(z) p(x|z)`."""
        check_data(x, self.data_shape, total)
        with data_plate(x, total):
            z = numpyro.sample("z", self.prior())
            numpyro.sample("x", self.decoder(z), obs=x)

    def guide(self, x: AnyArray, total: int | None = None) -> Array:
        """`q(z|x)`."""
        check_data(x, self.data_shape, total)
        with data_plate(x, total):
            return numpyro.sample("z", self.encoder(x))

    def init(self, rng_key: Array) -> Params:
        """Draws parameters as `SVI.init` would, for use without it.

        Raises:
            ValueError: If the VAE was made without a `data_shape`.
        """
        model_key, guide_key = random.split(rng_key)
        x = self._example()
        return {**init_params(model_key, self.model, x), **init_params(guide_key, self.guide, x)}

    def encode(self, params: Params, x: Float[AnyArray, "B *data_shape"]) -> dist.Distribution:
        """`q(z|x)`, of batch shape `(B,)`.

        Raises:
            TypeError: If `x` is no array of floats.
            ValueError: If `params` are not complete, or if `x` has another shape than the data, or
                values that are not finite.
        """
        check_data(x, self.data_shape)
        if not isinstance(x, jax.core.Tracer):
            check_finite(np.asarray(x), "x")
        return self._call(self.encoder, params, x)

    def decode(self, params: Params, z: Float[AnyArray, "*batch H"]) -> dist.Distribution:
        """`p(x|z)`, of batch shape `(*batch,)`.

        Raises:
            ValueError: If `params` are not complete.
        """
        return self._call(self.decoder, params, z)

    def get_weights(self, params: Params) -> weights_file.Weights:
        """The parameters as arrays, by the keys of `entropy_core.weights`.

        Raises:
            ValueError: If `params` are not complete.
        """
        shapes = self._shapes()
        check_params(params, shapes)
        return to_weights({name: params[name] for name in shapes})

    def set_weights(self, weights: Mapping[str, ArrayLike]) -> Params:
        """The parameters that hold these arrays, by the keys of `entropy_core.weights`.

        Raises:
            ValueError: If keys are missing, extra or misshapen.
        """
        shapes = self._shapes()
        weights_file.check_weights(
            weights,
            {key: (array.shape, array.dtype) for key, array in to_weights(shapes).items()},
        )
        return from_weights(weights, shapes)

    def save_weights(self, params: Params, path: str | os.PathLike[str]) -> None:
        """Writes the weights as safetensors, in the layout that both backends read.

        Raises:
            ValueError: If `params` are not complete.
        """
        metadata = {"variant": type(self).__name__, "data_shape": str(self.data_shape)}
        weights_file.save_weights(path, self.get_weights(params), metadata)

    def load_weights(self, path: str | os.PathLike[str]) -> Params:
        """The parameters that hold the weights that either backend has saved.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the weights are not those of this VAE.
        """
        return self.set_weights(weights_file.load_weights(path)[0])

    def _call(self, part: Part, params: Params, *args: AnyArray) -> dist.Distribution:
        check_params(params, param_shapes(part, *args))
        with block(), substitute(data=params):
            return part(*args)

    def _example(self) -> Array:
        if self.data_shape is None:
            raise ValueError(expected("a VAE made with it", "data_shape", None))
        return jnp.zeros((1, *self.data_shape))

    def _shapes(self) -> Params:
        x = self._example()
        return {**param_shapes(self.model, x), **param_shapes(self.guide, x)}
