"""Networks for encoders and decoders."""

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx
from flax.linen.dtypes import promote_dtype
from jaxtyping import Array, Float
from numpyro.contrib.module import eqx_module, flax_module, nnx_module

from entropy_core.checks import check_shape, expected
from entropy_core.vaes.sizes import (
    check_activation,
    check_compute_dtype,
    check_hidden,
    check_input,
)

# NumPyro's users hand over NumPy's arrays as often as JAX's.
AnyArray = Array | np.ndarray


def as_floats(x: AnyArray | float | int) -> Array:
    """An array of floats: integers become JAX's own float type."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "elu": jax.nn.elu,
    "leaky_relu": jax.nn.leaky_relu,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "tanh": jnp.tanh,
}

# The distribution of torch's initial weights: from Linen's own, of three times the variance,
# convolutional nets train much worse.
KERNEL_INIT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class UnitNormLinear(nn.Module):
    """A linear layer whose weight has columns of unit length (Damm et al. 2023, Eq. 6).

    The columns of the stored weight may have any length but zero; the layer normalises them where
    it uses them. So no step of an optimiser leaves the constraint, and the layer trains. (A column
    of the papers' weight is a row of Linen's kernel.)

    Example:
        >>> layer = UnitNormLinear(2, 5)
        >>> params = layer.init(jax.random.key(0), jnp.zeros(2))
        >>> weight = layer.apply(params, jnp.eye(2)) - layer.apply(params, jnp.zeros(2))
        >>> jnp.linalg.norm(weight, axis=1).round(5)
        Array([1., 1.], dtype=...)
    """

    in_features: int
    out_features: int
    param_dtype: Any = None
    dtype: Any = None

    @nn.compact
    def __call__(self, input: Float[AnyArray, "*batch in_dim"]) -> Float[Array, "*batch out_dim"]:
        """Maps the last dimension from `in_dim` to `out_dim`."""
        dtype = self.param_dtype or jnp.result_type(float)
        shape = (self.in_features, self.out_features)
        kernel = self.param("kernel", KERNEL_INIT, shape, dtype)
        bias = self.param("bias", nn.initializers.zeros, shape[1:], dtype)
        weight = kernel / jnp.linalg.norm(kernel, axis=1, keepdims=True)
        input, weight, bias = promote_dtype(input, weight, bias, dtype=self.dtype)
        return input @ weight + bias


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
        dtype: The float type of the weights; the default is JAX's.
        compute_dtype: `jnp.bfloat16` lets the layers compute in it (`dtype` of Linen's modules).

    Raises:
        ValueError: If a size is no positive integer, or the activation is not known.

    Example:
        >>> net = MLP(4, 2, hidden=(16,))
        >>> params = net.init(jax.random.key(0), jnp.zeros((8, 4)))
        >>> net.apply(params, jnp.zeros((8, 4))).shape
        (8, 2)
    """

    in_dim: int | Sequence[int]
    out_dim: int | Sequence[int]
    hidden: Sequence[int] = (200,)
    activation: str = "relu"
    unit_columns: bool = field(default=False, kw_only=True)
    dtype: Any = field(default=None, kw_only=True)
    compute_dtype: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Checks the sizes and the activation."""
        check_shape(self.in_dim, "in_dim")
        check_shape(self.out_dim, "out_dim")
        check_hidden(self.hidden)
        check_activation(self.activation, ACTIVATIONS)
        check_compute_dtype(self.compute_dtype)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: Float[AnyArray, "*batch_and_in"]) -> Float[Array, "*batch_and_out"]:
        """Maps `(*batch, *in_dim)` to `(*batch, *out_dim)`."""
        # Linen's own default is float32 even where JAX's is not.
        dtypes = {"param_dtype": self.dtype or jnp.result_type(float), "dtype": self.compute_dtype}
        in_shape = check_shape(self.in_dim, "in_dim")
        out_shape = check_shape(self.out_dim, "out_dim")
        check_input(x.shape, in_shape)
        batch_shape = x.shape[: x.ndim - len(in_shape)]
        out, features = jnp.reshape(x, (*batch_shape, math.prod(in_shape))), []
        for i, size in enumerate((*self.hidden, math.prod(out_shape))):
            if i:
                features.append(ACTIVATIONS[self.activation](out))
                out = self._joined(features)
            if self.unit_columns and i == 0:
                out = UnitNormLinear(out.shape[-1], size, **dtypes, name="layer_0")(out)
            else:
                out = nn.Dense(size, kernel_init=KERNEL_INIT, **dtypes, name=f"layer_{i}")(out)
        return out.reshape(*batch_shape, *out_shape)

    def _joined(self, features: list[Array]) -> Array:
        return features[-1]


class DenseBlock(MLP):
    """A multilayer perceptron whose layers each see the features of all layers before.

    The net of the notebook to Yu 2020, Sec. 6, after Huang et al. 2017. The input enters the first
    layer alone, as in `MLP`, whose arguments it takes.

    Example:
        >>> net = DenseBlock(2, 4, hidden=(16, 16))
        >>> params = net.init(jax.random.key(0), jnp.zeros((8, 2)))
        >>> net.apply(params, jnp.zeros((8, 2))).shape
        (8, 4)
    """

    def _joined(self, features: list[Array]) -> Array:
        return jnp.concatenate(features, -1)


# Whether nets are called to look at them, and not to train them.
_evaluating: ContextVar[bool] = ContextVar("evaluating", default=False)


@contextmanager
def evaluating_nets() -> Iterator[None]:
    """Nets that `apply_net` calls in evaluation mode: running averages, and no dropout.

    Of NNX and Equinox. A module of Linen says itself what it does, as its constructor was told.
    """
    token = _evaluating.set(True)
    try:
        yield
    finally:
        _evaluating.reset(token)


def apply_net(name: str, net: Any, x: AnyArray, *, batch_ndim: int) -> Array:
    """Calls a net inside a model or guide, with the parameters of the site `name`.

    Its output comes in no type of fewer bits than the input's: neither draws nor densities nor
    their sums should be computed with the eight bits of a net that computes in bfloat16.

    Args:
        name: The name of the net's site.
        net: A module of Linen, NNX or Equinox; the last two are initialised already.
        x: The input.
        batch_ndim: How many dimensions of `x` are no part of one data point. Equinox's modules take
            one data point at a time.

    Raises:
        TypeError: If `net` is no such module.
    """
    out = _apply(name, net, jnp.asarray(x), batch_ndim)
    return out.astype(jnp.promote_types(out.dtype, jnp.result_type(x)))


def _apply(name: str, net: Any, x: Array, batch_ndim: int) -> Array:
    if isinstance(net, nn.Module):
        return flax_module(name, net, x)(x)
    if isinstance(net, nnx.Module):
        if _evaluating.get():
            # A copy, so that the user's own module stays in its mode.
            net = nnx.clone(net)
            net.eval()
        return nnx_module(name, net)(x)
    # Who hands over one of its modules has imported Equinox; nobody else needs it.
    equinox = sys.modules.get("equinox")
    if equinox is not None and isinstance(net, equinox.Module):
        fn = eqx_module(name, equinox.nn.inference_mode(net) if _evaluating.get() else net)
        for _ in range(batch_ndim):
            fn = jax.vmap(fn)
        return fn(x)
    what = "a module of Linen, NNX or Equinox"
    raise TypeError(expected(what, name, type(net).__name__))
