"""Networks for encoders and decoders."""

from collections.abc import Callable
from dataclasses import field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float
from numpyro.contrib.module import flax_module

from entropy_core.checks import check_positive_int, expected

# NumPyro's users hand over NumPy's arrays as often as JAX's.
AnyArray = Array | np.ndarray

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "elu": jax.nn.elu,
    "leaky_relu": jax.nn.leaky_relu,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "tanh": jnp.tanh,
}


class MLP(nn.Module):
    """A multilayer perceptron, linear in its first and in its last layer.

    `W_L S(... S(W_0 x + b_0) ...) + b_L` (Damm et al. 2023, Assumption 1).

    Args:
        in_dim: The size of the input's last dimension.
        out_dim: The size of the output's last dimension.
        hidden: The sizes of the hidden layers; `()` makes one linear layer.
        activation: The name of the point-wise non-linearity `S`, a key of `ACTIVATIONS`.
        dtype: The float type of the weights; the default is JAX's.

    Raises:
        ValueError: If a size is no positive integer, or the activation is not known.

    Example:
        >>> net = MLP(4, 2, hidden=(16,))
        >>> params = net.init(jax.random.key(0), jnp.zeros((8, 4)))
        >>> net.apply(params, jnp.zeros((8, 4))).shape
        (8, 2)
    """

    in_dim: int
    out_dim: int
    hidden: tuple[int, ...] = (200,)
    activation: str = "relu"
    dtype: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Checks the sizes and the activation."""
        names = ["in_dim", *("hidden" for _ in self.hidden), "out_dim"]
        for size, name in zip([self.in_dim, *self.hidden, self.out_dim], names, strict=True):
            check_positive_int(size, name)
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                expected(f"one of {sorted(ACTIVATIONS)}", "activation", self.activation)
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[AnyArray, "*batch in_dim"]) -> Float[Array, "*batch out_dim"]:
        """Maps the last dimension from `in_dim` to `out_dim`."""
        # Linen's own default is float32 even where JAX's is not.
        param_dtype = self.dtype or jnp.result_type(float)
        out = jnp.asarray(x)
        for i, size in enumerate((*self.hidden, self.out_dim)):
            if i:
                out = ACTIVATIONS[self.activation](out)
            out = nn.Dense(size, param_dtype=param_dtype, name=f"layer_{i}")(out)
        return out


def apply_net(name: str, net: nn.Module, x: AnyArray) -> Array:
    """Calls a net inside a model or guide, with the parameters of the site `name`."""
    return flax_module(name, net, x)(x)
