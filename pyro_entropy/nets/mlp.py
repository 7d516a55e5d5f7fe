"""Networks for encoders and decoders."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from entropy_core.checks import check_shape
from entropy_core.vaes.sizes import (
    check_activation,
    check_compute_dtype,
    check_hidden,
    check_input,
)

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": nn.functional.elu,
    "leaky_relu": nn.functional.leaky_relu,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "silu": nn.functional.silu,
    "softplus": nn.functional.softplus,
    "tanh": torch.tanh,
}


def computing_in(dtype: torch.dtype | None, x: Tensor) -> AbstractContextManager[Any]:
    """Where `torch.autocast` lets layers compute in a type of fewer bits; nothing for `None`."""
    return nullcontext() if dtype is None else torch.autocast(x.device.type, dtype)


def apply_net(net: nn.Module, x: Tensor) -> Tensor:
    """What a net makes of its input, in no type of fewer bits than that.

    Under `torch.autocast` the last layer's output has eight bits, with which neither draws nor
    densities nor their sums should be computed.
    """
    out = net(x)
    return out.to(torch.promote_types(out.dtype, x.dtype))


class UnitNormLinear(nn.Linear):
    """A linear layer whose weight has columns of unit length (Damm et al. 2023, Eq. 6).

    The columns of the stored weight may have any length but zero; the layer normalises them where
    it uses them. So no step of an optimiser leaves the constraint, and the layer trains.

    Example:
        >>> layer = UnitNormLinear(2, 5)
        >>> layer.unit_weight.square().sum(0).sqrt()
        tensor([1..., 1...], grad_fn=<SqrtBackward0>)
    """

    @property
    def unit_weight(self) -> Float[Tensor, "out_dim in_dim"]:
        """The weight that the layer applies."""
        return self.weight / torch.linalg.vector_norm(self.weight, dim=0)

    def forward(self, input: Float[Tensor, "*batch in_dim"]) -> Float[Tensor, "*batch out_dim"]:
        """Maps the last dimension from `in_dim` to `out_dim`."""
        return nn.functional.linear(input, self.unit_weight, self.bias)


class MLP(nn.Module):
    """A multilayer perceptron, linear in its first and in its last layer.

    `W_L S(... S(W_0 x + b_0) ...) + b_L` (Damm et al. 2023, Assumption 1).

    Args:
        in_dim: The size of the input's last dimension, or its last dimensions, which are flattened.
        out_dim: The size of the output's last dimension, or its last dimensions.
        hidden: The sizes of the hidden layers; `()` makes one linear layer.
        activation: The name of the point-wise non-linearity `S`, a key of `ACTIVATIONS`.
        unit_columns: Whether the columns of the first weight have unit length, see
            `UnitNormLinear`.
        dtype: The float type of the weights; the default is torch's.
        compute_dtype: `torch.bfloat16` lets the layers compute in it, as `torch.autocast` does.

    Raises:
        ValueError: If a size is no positive integer, or the activation is not known.

    Example:
        >>> MLP(4, 2, hidden=(16,))(torch.zeros(8, 4)).shape
        torch.Size([8, 2])
    """

    def __init__(
        self,
        in_dim: int | Sequence[int],
        out_dim: int | Sequence[int],
        hidden: Sequence[int] = (200,),
        activation: str = "relu",
        *,
        unit_columns: bool = False,
        dtype: torch.dtype | None = None,
        compute_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_shape = check_shape(in_dim, "in_dim")
        self.out_shape = check_shape(out_dim, "out_dim")
        hidden = check_hidden(hidden)
        check_activation(activation, ACTIVATIONS)
        check_compute_dtype(compute_dtype)
        self.activation, self.compute_dtype = activation, compute_dtype
        for i, size in enumerate((*hidden, math.prod(self.out_shape))):
            fan_in = self._fan_in(hidden[:i]) if i else math.prod(self.in_shape)
            linear = UnitNormLinear if unit_columns and i == 0 else nn.Linear
            self.add_module(f"layer_{i}", linear(fan_in, size, dtype=dtype))

    def forward(self, x: Float[Tensor, "*batch_and_in"]) -> Float[Tensor, "*batch_and_out"]:
        """Maps `(*batch, *in_dim)` to `(*batch, *out_dim)`."""
        check_input(x.shape, self.in_shape)
        first, *rest = self.children()
        with computing_in(self.compute_dtype, x):
            out, features = first(x.flatten(-len(self.in_shape))), []
            for layer in rest:
                features.append(ACTIVATIONS[self.activation](out))
                out = layer(self._joined(features))
        return out.unflatten(-1, self.out_shape)

    def _fan_in(self, sizes: Sequence[int]) -> int:
        return sizes[-1]

    def _joined(self, features: list[Tensor]) -> Tensor:
        return features[-1]


class DenseBlock(MLP):
    """A multilayer perceptron whose layers each see the features of all layers before.

    The net of the notebook to Yu 2020, Sec. 6, after Huang et al. 2017. The input enters the first
    layer alone, as in `MLP`, whose arguments it takes.

    Example:
        >>> DenseBlock(2, 4, hidden=(16, 16))(torch.zeros(8, 2)).shape
        torch.Size([8, 4])
    """

    def _fan_in(self, sizes: Sequence[int]) -> int:
        return sum(sizes)

    def _joined(self, features: list[Tensor]) -> Tensor:
        return torch.cat(features, -1)
