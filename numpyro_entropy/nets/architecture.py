"""From the sizes of a variational autoencoder to the two nets in it."""

from collections.abc import Sequence
from typing import Any, TypedDict

from flax import linen as nn

from entropy_core.vaes.sizes import Sizes, check_compute_dtype
from numpyro_entropy.nets.conv import ConvNet, DeconvNet
from numpyro_entropy.nets.mlp import MLP, DenseBlock


class NetOptions(TypedDict, total=False):
    """What all variants with nets take: see `Nets` for the meaning and the defaults."""

    net: str
    hidden: Sequence[int]
    activation: str
    dtype: Any
    compute_dtype: Any


class Nets(Sizes):
    """The nets of a VAE, from its sizes.

    Args:
        data_dim: The number of observed variables, `D`, or the shape of one data point.
        latent_dim: The number of latent variables, `H`.
        net: The kind of both nets: "mlp" (`MLP`), "dense_block" (`DenseBlock`), or "conv" for
            images of shape `(C, height, width)` (`ConvNet` and `DeconvNet`).
        hidden: The sizes of the encoder's hidden layers, for "conv" their channels; the decoder's
            are the same, reversed.
        activation: The name of the non-linearity, see `ACTIVATIONS`.
        dtype: The float type of the weights; the default is JAX's.
        compute_dtype: `jnp.bfloat16` lets the layers compute in it; the weights, the distributions
            and the sums that losses are made of keep their type.

    Raises:
        ValueError: If a size is no positive integer, images cannot be halved that often, or a name
            is not known.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> net = Nets((1, 32, 32), 4, net="conv", hidden=(8, 16)).decoder()
        >>> net.apply(net.init(jax.random.key(0), jnp.zeros((5, 4))), jnp.zeros((5, 4))).shape
        (5, 1, 32, 32)
    """

    def __init__(
        self,
        data_dim: int | Sequence[int],
        latent_dim: int,
        *,
        net: str = "mlp",
        hidden: Sequence[int] = (200,),
        activation: str = "relu",
        dtype: Any = None,
        compute_dtype: Any = None,
    ) -> None:
        super().__init__(data_dim, latent_dim, net, hidden, activation)
        check_compute_dtype(compute_dtype)
        self.dtype, self.compute_dtype = dtype, compute_dtype

    def encoder(self, out_dim: int) -> nn.Module:
        """A net from data to `out_dim` parameters of `q(z|x)`."""
        net = {"mlp": MLP, "dense_block": DenseBlock, "conv": ConvNet}[self.net]
        return net(
            self.data_shape,
            out_dim,
            self.hidden,
            self.activation,
            dtype=self.dtype,
            compute_dtype=self.compute_dtype,
        )

    def decoder(self, heads: int = 1, *, unit_columns: bool = False) -> nn.Module:
        """A net from latents to `heads` parameters of `p(x|z)` for each observed variable.

        Args:
            heads: The number of parameters; they lie side by side in the first dimension of `x`.
            unit_columns: Whether the columns of the first weight have unit length.
        """
        net = {"mlp": MLP, "dense_block": DenseBlock, "conv": DeconvNet}[self.net]
        return net(
            self.latent_dim,
            self.head_shape(heads),
            self.hidden[::-1],
            self.activation,
            unit_columns=unit_columns,
            dtype=self.dtype,
            compute_dtype=self.compute_dtype,
        )
