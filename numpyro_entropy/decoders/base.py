"""What all decoders share: a net, and the distribution over data that its output makes."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float

from entropy_core.checks import expected
from numpyro_entropy.nets.mlp import AnyArray, apply_net


@dataclass(frozen=True, eq=False)
class Decoder:
    """A decoder `p(x|z)` with independent observed variables.

    A leaf class says how many parameters of each variable come from the net, `heads`, what
    distribution they make, and, for the check of data, on which `support`.

    Args:
        net: Maps latents `(..., H)` to `(..., D)`, or to an image's shape; with more than one head
            the first of these dimensions holds one parameter after another.
    """

    net: Any

    heads: ClassVar[int] = 1
    support: ClassVar[Any] = dist.constraints.real

    @abstractmethod
    def distribution(self, *heads: Array) -> dist.Distribution:
        """The distribution of each observed variable."""

    def __call__(self, z: Float[AnyArray, "*batch latent_dim"]) -> dist.Distribution:
        """`p(x|z)`, of the event shape of one data point.

        Raises:
            ValueError: If the net's output does not come apart into the parameters.
        """
        dim = z.ndim - 1
        out = apply_net("decoder.net", self.net, z, batch_ndim=dim)
        if out.ndim <= dim or out.shape[dim] % self.heads:
            what = f"an output of shape (..., {'D' if self.heads == 1 else f'{self.heads} D'})"
            raise ValueError(expected(what, "net", out.shape))
        fn = self.distribution(*jnp.split(out, self.heads, axis=dim))
        return fn.to_event(len(fn.batch_shape) - dim)

    def param(
        self, name: str, initial: float, dtype: Any = None, shape: tuple[int, ...] = ()
    ) -> Array:
        """A learned parameter beside those of the net, `initial` at first."""
        value = jnp.full(shape, initial, dtype or jnp.result_type(float))
        return numpyro.param(f"decoder.{name}", value)
