"""Convolutional networks for encoders and decoders of images."""

import math
from collections.abc import Sequence
from dataclasses import field
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from entropy_core.checks import check_shape
from entropy_core.vaes.sizes import (
    check_activation,
    check_compute_dtype,
    check_halvings,
    check_input,
)
from numpyro_entropy.nets.mlp import ACTIVATIONS, KERNEL_INIT, AnyArray, UnitNormLinear


class ConvNet(nn.Module):
    """A convolutional net from images to vectors, linear in its last layer.

    Each convolution (kernel 4, stride 2, padding 1) halves height and width.

    Args:
        in_dim: The shape of an image, `(C, height, width)`.
        out_dim: The size of the output's last dimension.
        hidden: The channels after each convolution.
        activation: The name of the point-wise non-linearity, a key of `ACTIVATIONS`.
        dtype: The float type of the weights; the default is JAX's.
        compute_dtype: `jnp.bfloat16` lets the layers compute in it (`dtype` of Linen's modules).

    Raises:
        ValueError: If a size is no positive integer, height or width cannot be halved that often,
            or the activation is not known.

    Example:
        >>> import jax
        >>> net, x = ConvNet((3, 32, 32), 10, hidden=(16, 32)), jnp.zeros((8, 3, 32, 32))
        >>> net.apply(net.init(jax.random.key(0), x), x).shape
        (8, 10)
    """

    in_dim: Sequence[int]
    out_dim: int | Sequence[int]
    hidden: Sequence[int] = (32, 64)
    activation: str = "relu"
    dtype: Any = field(default=None, kw_only=True)
    compute_dtype: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Checks the sizes and the activation."""
        hidden = check_shape(self.hidden, "hidden")
        check_halvings(check_shape(self.in_dim, "in_dim"), hidden, "in_dim")
        check_shape(self.out_dim, "out_dim")
        check_activation(self.activation, ACTIVATIONS)
        check_compute_dtype(self.compute_dtype)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[AnyArray, "*batch_and_in"]) -> Float[Array, "*batch_and_out"]:
        """Maps `(*batch, C, height, width)` to `(*batch, *out_dim)`."""
        dtypes = {"param_dtype": self.dtype or jnp.result_type(float), "dtype": self.compute_dtype}
        check_input(x.shape, check_shape(self.in_dim, "in_dim"))
        out_shape = check_shape(self.out_dim, "out_dim")
        # Linen's convolutions have the channels last.
        out = jnp.moveaxis(jnp.reshape(x, (-1, *self.in_dim)), 1, -1)
        for i, size in enumerate(self.hidden):
            conv = nn.Conv(
                size,
                (4, 4),
                strides=2,
                padding=1,
                kernel_init=KERNEL_INIT,
                **dtypes,
                name=f"layer_{i}",
            )
            out = ACTIVATIONS[self.activation](conv(out))
        out = jnp.moveaxis(out, -1, 1).reshape(len(out), -1)
        last = nn.Dense(
            math.prod(out_shape),
            kernel_init=KERNEL_INIT,
            **dtypes,
            name=f"layer_{len(self.hidden)}",
        )
        return last(out).reshape(*x.shape[:-3], *out_shape)


class DeconvNet(nn.Module):
    """A transposed convolutional net from vectors to images, linear in its first and last layer.

    Each transposed convolution (kernel 4, stride 2, padding 1) doubles height and width.

    Args:
        in_dim: The size of the input's last dimension.
        out_dim: The shape of an image, `(C, height, width)`.
        hidden: The channels before each transposed convolution.
        activation: The name of the point-wise non-linearity, a key of `ACTIVATIONS`.
        unit_columns: Whether the columns of the first weight have unit length, see
            `UnitNormLinear`.
        dtype: The float type of the weights; the default is JAX's.
        compute_dtype: `jnp.bfloat16` lets the layers compute in it (`dtype` of Linen's modules).

    Raises:
        ValueError: If a size is no positive integer, height or width cannot be halved that often,
            or the activation is not known.

    Example:
        >>> import jax
        >>> net, z = DeconvNet(10, (3, 32, 32), hidden=(32, 16)), jnp.zeros((8, 10))
        >>> net.apply(net.init(jax.random.key(0), z), z).shape
        (8, 3, 32, 32)
    """

    in_dim: int | Sequence[int]
    out_dim: Sequence[int]
    hidden: Sequence[int] = (64, 32)
    activation: str = "relu"
    unit_columns: bool = field(default=False, kw_only=True)
    dtype: Any = field(default=None, kw_only=True)
    compute_dtype: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Checks the sizes and the activation."""
        self._small_shape()
        check_shape(self.in_dim, "in_dim")
        check_activation(self.activation, ACTIVATIONS)
        check_compute_dtype(self.compute_dtype)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[AnyArray, "*batch_and_in"]) -> Float[Array, "*batch_and_out"]:
        """Maps `(*batch, *in_dim)` to `(*batch, C, height, width)`."""
        dtypes = {"param_dtype": self.dtype or jnp.result_type(float), "dtype": self.compute_dtype}
        in_shape, small_shape = check_shape(self.in_dim, "in_dim"), self._small_shape()
        check_input(x.shape, in_shape)
        batch_shape = x.shape[: x.ndim - len(in_shape)]
        sizes = math.prod(in_shape), math.prod(small_shape)
        out = jnp.reshape(x, (*batch_shape, sizes[0]))
        if self.unit_columns:
            out = UnitNormLinear(*sizes, **dtypes, name="layer_0")(out)
        else:
            out = nn.Dense(sizes[1], kernel_init=KERNEL_INIT, **dtypes, name="layer_0")(out)
        # Linen's convolutions have the channels last.
        out = jnp.moveaxis(out.reshape(-1, *small_shape), 1, -1)
        for i, size in enumerate((*self.hidden[1:], self.out_dim[0]), start=1):
            conv = nn.ConvTranspose(
                size,
                (4, 4),
                strides=(2, 2),
                padding="SAME",
                transpose_kernel=True,
                kernel_init=KERNEL_INIT,
                **dtypes,
                name=f"layer_{i}",
            )
            out = conv(ACTIVATIONS[self.activation](out))
        return jnp.moveaxis(out, -1, 1).reshape(*batch_shape, *self.out_dim)

    def _small_shape(self) -> tuple[int, ...]:
        channels = check_shape(self.hidden, "hidden")[::-1]
        return check_halvings(check_shape(self.out_dim, "out_dim"), channels, "out_dim")
