"""What all decoders share: a net, and the distribution over data that its output makes."""

from abc import abstractmethod
from typing import Any, ClassVar

import pyro.distributions as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from entropy_core.checks import expected
from pyro_entropy.nets.mlp import apply_net


class Decoder(nn.Module):
    """A decoder `p(x|z)` with independent observed variables.

    A leaf class says how many parameters of each variable come from the net, `heads`, what
    distribution they make, and, for the check of data, on which `support`.

    Args:
        net: Maps latents `(..., H)` to `(..., D)`, or to an image's shape; with more than one head
            the first of these dimensions holds one parameter after another.
    """

    heads: ClassVar[int] = 1
    support: Any = dist.constraints.real

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    @abstractmethod
    def distribution(self, *heads: Tensor) -> Any:
        """The distribution of each observed variable."""

    def forward(self, z: Float[Tensor, "*batch latent_dim"]) -> Distribution:
        """`p(x|z)`, of the event shape of one data point.

        Raises:
            ValueError: If the net's output does not come apart into the parameters.
        """
        out, dim = apply_net(self.net, z), z.ndim - 1
        if out.ndim <= dim or out.shape[dim] % self.heads:
            what = f"an output of shape (..., {'D' if self.heads == 1 else f'{self.heads} D'})"
            raise ValueError(expected(what, "net", tuple(out.shape)))
        fn = self.distribution(*out.chunk(self.heads, dim))
        return fn.to_event(len(fn.batch_shape) - dim)
