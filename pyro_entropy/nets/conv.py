"""Convolutional networks for encoders and decoders of images."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from entropy_core.checks import check_shape
from entropy_core.vaes.sizes import (
    check_activation,
    check_compute_dtype,
    check_halvings,
    check_input,
)
from pyro_entropy.nets.mlp import ACTIVATIONS, UnitNormLinear, computing_in


class ConvNet(nn.Module):
    """A convolutional net from images to vectors, linear in its last layer.

    Each convolution (kernel 4, stride 2, padding 1) halves height and width.

    Args:
        in_dim: The shape of an image, `(C, height, width)`.
        out_dim: The size of the output's last dimension.
        hidden: The channels after each convolution.
        activation: The name of the point-wise non-linearity, a key of `ACTIVATIONS`.
        dtype: The float type of the weights; the default is torch's.
        compute_dtype: `torch.bfloat16` lets the layers compute in it, as `torch.autocast` does.

    Raises:
        ValueError: If a size is no positive integer, height or width cannot be halved that often,
            or the activation is not known.

    Example:
        >>> ConvNet((3, 32, 32), 10, hidden=(16, 32))(torch.zeros(8, 3, 32, 32)).shape
        torch.Size([8, 10])
    """

    def __init__(
        self,
        in_dim: Sequence[int],
        out_dim: int | Sequence[int],
        hidden: Sequence[int] = (32, 64),
        activation: str = "relu",
        *,
        dtype: torch.dtype | None = None,
        compute_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_shape = check_shape(in_dim, "in_dim")
        self.out_shape = check_shape(out_dim, "out_dim")
        small = check_halvings(self.in_shape, check_shape(hidden, "hidden"), "in_dim")
        check_activation(activation, ACTIVATIONS)
        check_compute_dtype(compute_dtype)
        self.activation, self.compute_dtype = activation, compute_dtype
        channels = [self.in_shape[0], *hidden]
        for i, size in enumerate(hidden):
            conv = nn.Conv2d(channels[i], size, 4, stride=2, padding=1, dtype=dtype)
            self.add_module(f"layer_{i}", conv)
        last = nn.Linear(math.prod(small), math.prod(self.out_shape), dtype=dtype)
        self.add_module(f"layer_{len(hidden)}", last)

    def forward(self, x: Float[Tensor, "*batch_and_in"]) -> Float[Tensor, "*batch_and_out"]:
        """Maps `(*batch, C, height, width)` to `(*batch, *out_dim)`."""
        check_input(x.shape, self.in_shape)
        *convolutions, last = self.children()
        out = x.reshape(-1, *self.in_shape)
        with computing_in(self.compute_dtype, x):
            for layer in convolutions:
                out = ACTIVATIONS[self.activation](layer(out))
            out = last(out.flatten(1))
        return out.reshape(*x.shape[:-3], *self.out_shape)


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
        dtype: The float type of the weights; the default is torch's.
        compute_dtype: `torch.bfloat16` lets the layers compute in it, as `torch.autocast` does.

    Raises:
        ValueError: If a size is no positive integer, height or width cannot be halved that often,
            or the activation is not known.

    Example:
        >>> DeconvNet(10, (3, 32, 32), hidden=(32, 16))(torch.zeros(8, 10)).shape
        torch.Size([8, 3, 32, 32])
    """

    def __init__(
        self,
        in_dim: int | Sequence[int],
        out_dim: Sequence[int],
        hidden: Sequence[int] = (64, 32),
        activation: str = "relu",
        *,
        unit_columns: bool = False,
        dtype: torch.dtype | None = None,
        compute_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_shape = check_shape(in_dim, "in_dim")
        self.out_shape = check_shape(out_dim, "out_dim")
        hidden = check_shape(hidden, "hidden")
        self.small_shape = check_halvings(self.out_shape, hidden[::-1], "out_dim")
        check_activation(activation, ACTIVATIONS)
        check_compute_dtype(compute_dtype)
        self.activation, self.compute_dtype = activation, compute_dtype
        linear = UnitNormLinear if unit_columns else nn.Linear
        first = linear(math.prod(self.in_shape), math.prod(self.small_shape), dtype=dtype)
        self.add_module("layer_0", first)
        channels = [*hidden, self.out_shape[0]]
        for i, size in enumerate(channels[1:]):
            conv = nn.ConvTranspose2d(channels[i], size, 4, stride=2, padding=1, dtype=dtype)
            self.add_module(f"layer_{i + 1}", conv)

    def forward(self, x: Float[Tensor, "*batch_and_in"]) -> Float[Tensor, "*batch_and_out"]:
        """Maps `(*batch, *in_dim)` to `(*batch, C, height, width)`."""
        check_input(x.shape, self.in_shape)
        first, *convolutions = self.children()
        with computing_in(self.compute_dtype, x):
            out = first(x.flatten(-len(self.in_shape)))
            batch_shape, out = out.shape[:-1], out.reshape(-1, *self.small_shape)
            for layer in convolutions:
                out = layer(ACTIVATIONS[self.activation](out))
        return out.reshape(*batch_shape, *self.out_shape)
