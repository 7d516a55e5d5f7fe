"""Networks for encoders and decoders."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from entropy_core.checks import check_positive_int, expected

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": nn.functional.elu,
    "leaky_relu": nn.functional.leaky_relu,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "silu": nn.functional.silu,
    "softplus": nn.functional.softplus,
    "tanh": torch.tanh,
}


class MLP(nn.Module):
    """A multilayer perceptron, linear in its first and in its last layer.

    `W_L S(... S(W_0 x + b_0) ...) + b_L` (Damm et al. 2023, Assumption 1).

    Args:
        in_dim: The size of the input's last dimension.
        out_dim: The size of the output's last dimension.
        hidden: The sizes of the hidden layers; `()` makes one linear layer.
        activation: The name of the point-wise non-linearity `S`, a key of `ACTIVATIONS`.
        dtype: The float type of the weights; the default is torch's.

    Raises:
        ValueError: If a size is no positive integer, or the activation is not known.

    Example:
        >>> MLP(4, 2, hidden=(16,))(torch.zeros(8, 4)).shape
        torch.Size([8, 2])
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        hidden: Sequence[int] = (200,),
        activation: str = "relu",
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = [in_dim, *hidden, out_dim]
        names = ["in_dim", *("hidden" for _ in hidden), "out_dim"]
        for size, name in zip(sizes, names, strict=True):
            check_positive_int(size, name)
        if activation not in ACTIVATIONS:
            raise ValueError(expected(f"one of {sorted(ACTIVATIONS)}", "activation", activation))
        self.activation = activation
        for i, (m, n) in enumerate(pairwise(sizes)):
            self.add_module(f"layer_{i}", nn.Linear(m, n, dtype=dtype))

    def forward(self, x: Float[Tensor, "*batch in_dim"]) -> Float[Tensor, "*batch out_dim"]:
        """Maps the last dimension from `in_dim` to `out_dim`."""
        first, *rest = self.children()
        x = first(x)
        for layer in rest:
            x = layer(ACTIVATIONS[self.activation](x))
        return x
