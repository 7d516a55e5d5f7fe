"""Variational autoencoders: a prior, an encoder and a decoder make a model and a guide for SVI."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import random
from jaxtyping import Array, Float
from numpy.typing import ArrayLike
from numpyro.handlers import block, substitute

from entropy_core.checks import check_positive_int, check_shape, expected
from entropy_core.traces.sites import ONE_AT_A_TIME
from entropy_core.vaes import weights as weights_file
from entropy_core.vaes.constructor import (
    made_again,
    metadata_of,
    remember_arguments,
    what_to_call,
)
from entropy_core.vaes.mixture import check_moments
from numpyro_entropy.nets.mlp import AnyArray, evaluating_nets
from numpyro_entropy.params import (
    Params,
    check_params,
    from_weights,
    init_params,
    param_shapes,
    to_weights,
)
from numpyro_entropy.priors.mixtures import check_vamp_prior
from numpyro_entropy.priors.normal import FloatingNormalPrior
from numpyro_entropy.vaes.data import check_data, check_part, check_values, data_plate

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
        >>> params = vae.init(random.key(0))
        >>> vae.encode(params, jnp.zeros((8, 5))).mean.shape
        (8, 2)
    """

    prior: Part
    encoder: Part
    decoder: Part
    data_shape: tuple[int, ...] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Variants know what they were made with, so that a file of their weights says it."""
        super().__init_subclass__(**kwargs)
        remember_arguments(cls, lambda dtype: jnp.dtype(dtype).name)

    def __post_init__(self) -> None:
        """Checks the data's shape, and that a VampPrior is of the same encoder."""
        if self.data_shape is not None:
            object.__setattr__(self, "data_shape", check_shape(self.data_shape, "data_shape"))
        check_vamp_prior(self.prior, self.encoder)

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: a VAE is a model and a guide.

        Raises:
            TypeError: If it is called.
        """
        raise TypeError(what_to_call(self))

    def model(self, x: AnyArray, total: int | None = None) -> None:
        """`p(z) p(x|z)`."""
        check_data(x, self.data_shape, total)
        with data_plate(x, total):
            prior = check_part(self.prior(), None, "prior")
            z = numpyro.sample("z", prior)
            # Replayed, `z` is the guide's.
            if z.shape[z.ndim - len(prior.event_shape) :] != prior.event_shape:
                what = f"latents of the prior's shape {prior.event_shape}"
                raise ValueError(expected(what, "encoder", f"shape {z.shape[1:]}"))
            numpyro.sample("x", check_part(self.decoder(z), x.shape[1:], "decoder"), obs=x)

    def guide(self, x: AnyArray, total: int | None = None) -> Array:
        """`q(z|x)`."""
        check_data(x, self.data_shape, total)
        with data_plate(x, total):
            return numpyro.sample("z", check_part(self.encoder(x), None, "encoder"))

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
                values that are not finite, or outside the support that the decoder names.
        """
        check_data(x, self.data_shape)
        check_values(x, getattr(self.decoder, "support", None))
        return self._call(self.encoder, params, x)

    def decode(self, params: Params, z: Float[AnyArray, "*batch H"]) -> dist.Distribution:
        """`p(x|z)`, of batch shape `(*batch,)`.

        Raises:
            ValueError: If `params` are not complete.
        """
        return self._call(self.decoder, params, z)

    def reconstruct(
        self, params: Params, x: Float[AnyArray, "B *data_shape"]
    ) -> Float[Array, "B *data_shape"]:
        """The mean of `p(x|z)` at the mean of `q(z|x)`, of the shape of `x`.

        Raises:
            TypeError: If `x` is no array of floats.
            ValueError: As `encode` does.
        """
        return self.decode(params, self.encode(params, x).mean).mean

    def generate(
        self, rng_key: Array, params: Params, num_samples: int, *, mean: bool = False
    ) -> Float[Array, "n *data_shape"]:
        """New data points: `x ~ p(x|z)` with `z ~ p(z)`, of shape `(num_samples, *data_shape)`.

        Args:
            rng_key: The key for the draws.
            params: The parameters.
            num_samples: The number of data points.
            mean: Whether to return the means of `p(x|z)` instead of draws.

        Raises:
            ValueError: If `num_samples` is no positive integer, or `params` are not complete.
        """
        check_positive_int(num_samples, "num_samples")
        z_key, x_key = random.split(rng_key)
        z = check_part(self._call(self.prior, params), None, "prior").sample(z_key, (num_samples,))
        fn = self.decode(params, z)
        # Draws of discrete distributions are integers, data are floats.
        return fn.mean if mean else jnp.asarray(fn.sample(x_key), z.dtype)

    def fit_floating_prior(
        self, params: Params, data: Float[AnyArray, "N *data_shape"], *, batch_size: int = 1000
    ) -> Params:
        """Sets the floating prior to the second moments of the latents over a data set.

        `S^2 = mean_n E_q[z z^T]`, which is `Sigma + M` for a constant `Sigma` (Fyffe 2020, Eq. 4).

        Args:
            params: The parameters.
            data: The data set, of shape `(N, *data_shape)`.
            batch_size: How many data points to encode together.

        Returns:
            The parameters with that prior.

        Raises:
            TypeError: If the prior is no `FloatingNormalPrior`, or `data` are no array of floats.
            ValueError: As `encode` does.
        """
        prior = self.prior
        if not isinstance(prior, FloatingNormalPrior):
            raise TypeError(expected("a FloatingNormalPrior", "prior", type(prior).__name__))
        check_positive_int(batch_size, "batch_size")
        check_data(data, self.data_shape)
        batches = [data[i : i + batch_size] for i in range(0, len(data), batch_size)]
        moments = sum(prior.moments(self.encode(params, x)) for x in batches)
        moments = np.asarray(moments / len(data), params[prior.site].dtype)
        check_moments(moments)
        return {**params, prior.site: jnp.asarray(moments)}

    def get_weights(self, params: Params) -> weights_file.Weights:
        """The parameters as arrays, by the keys of `entropy_core.vaes.weights`.

        Raises:
            ValueError: If `params` are not complete.
        """
        shapes = self._shapes()
        check_params(params, shapes)
        return to_weights({name: params[name] for name in shapes})

    def set_weights(self, weights: Mapping[str, ArrayLike]) -> Params:
        """The parameters that hold these arrays, by the keys of `entropy_core.vaes.weights`.

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

        With the arguments of the variant's constructor, for `load`.

        Raises:
            ValueError: If `params` are not complete.
        """
        metadata = metadata_of(self, self.data_shape)
        weights_file.save_weights(path, self.get_weights(params), metadata)

    def load_weights(self, path: str | os.PathLike[str]) -> Params:
        """The parameters that hold the weights that either backend has saved.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the weights are not those of this VAE.
        """
        return self.set_weights(weights_file.load_weights(path)[0])

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> tuple["VAE", Params]:
        """A VAE with the weights that either backend has saved, made as the saved one was.

        `VAE.load` makes the variant that the file names, `VAE1.load` a `VAE1`.

        Returns:
            The VAE and its parameters.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is of another variant, or of a VAE made of parts: make that one
                again, and `load_weights`.

        Example:
            >>> from numpyro_entropy import VAE1
            >>> vae, path = VAE1(4, 2, hidden=(16,)), getfixture("tmp_path") / "vae.safetensors"
            >>> vae.save_weights(vae.init(random.key(0)), path)
            >>> vae, params = VAE.load(path)
            >>> vae.generate(random.key(1), params, 5).shape
            (5, 4)
        """
        weights, metadata = weights_file.load_weights(path)
        vae = made_again(cls, metadata, path, jnp.dtype)
        return vae, vae.set_weights(weights)

    def _call(self, part: Part, params: Params, *args: AnyArray) -> dist.Distribution:
        with ONE_AT_A_TIME, evaluating_nets():
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
