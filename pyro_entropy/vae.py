"""Variational autoencoders: a prior, an encoder and a decoder make a model and a guide for SVI."""

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from pyro.nn import PyroModule
from torch import Tensor, nn

from entropy_core import weights as weights_file
from entropy_core.checks import check_finite
from pyro_entropy.data import check_data, data_plate

_serial_numbers = itertools.count()


class VAE(nn.Module):
    """A variational autoencoder made of a prior `p(z)`, an encoder `q(z|x)` and a decoder `p(x|z)`.

    `vae.model` and `vae.guide` are Pyro modules that take a batch `x` of shape `(B, *data_shape)`
    and, as `total`, the size of the data set that the batch is a part of. Sites are `"z"` and
    `"x"`, in the plate `"data"`.

    Args:
        prior: Called without arguments; returns a distribution.
        encoder: Called with data; returns a distribution.
        decoder: Called with latents; returns a distribution.
        data_shape: The shape of one data point. With it, data of other shapes are refused by name.

    Example:
        >>> from pyro_entropy import MLP, NormalDecoder, NormalEncoder, StandardNormalPrior
        >>> vae = VAE(
        ...     StandardNormalPrior(2), NormalEncoder(MLP(5, 4)), NormalDecoder(MLP(2, 5)), (5,)
        ... )
        >>> vae.encode(torch.zeros(8, 5)).mean.shape
        torch.Size([8, 2])
    """

    def __init__(
        self,
        prior: nn.Module,
        encoder: nn.Module,
        decoder: nn.Module,
        data_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        shape = None if data_shape is None else tuple(data_shape)
        self.model = _Model(prior, decoder, shape)
        self.guide = _Guide(encoder, shape)

    @property
    def prior(self) -> nn.Module:
        """The prior `p(z)`."""
        return self.model.prior

    @property
    def encoder(self) -> nn.Module:
        """The encoder `q(z|x)`."""
        return self.guide.encoder

    @property
    def decoder(self) -> nn.Module:
        """The decoder `p(x|z)`."""
        return self.model.decoder

    def encode(self, x: Float[Tensor, "B *data_shape"]) -> dist.Distribution:
        """`q(z|x)`, of batch shape `(B,)`.

        Raises:
            TypeError: If `x` is no tensor, or not of the model's float type.
            ValueError: If `x` has another shape than the data, or values that are not finite.
        """
        check_data(x, self.guide)
        check_finite(x.detach().cpu().numpy(), "x")
        return self.encoder(x)

    def decode(self, z: Float[Tensor, "*batch H"]) -> dist.Distribution:
        """`p(x|z)`, of batch shape `(*batch,)`."""
        return self.decoder(z)

    def get_weights(self) -> weights_file.Weights:
        """The parameters as arrays, by the keys of `entropy_core.weights`."""
        return {
            key: parameter.detach().cpu().numpy().copy()
            for key, parameter in self._keyed_parameters()
        }

    def set_weights(self, weights: Mapping[str, ArrayLike]) -> "VAE":
        """Copies arrays into the parameters, by the keys of `entropy_core.weights`.

        Raises:
            ValueError: If keys are missing, extra or misshapen; then no parameter has changed.
        """
        parameters = dict(self._keyed_parameters())
        weights_file.check_weights(
            weights,
            {
                key: (tuple(p.shape), p.detach().cpu().numpy().dtype)
                for key, p in parameters.items()
            },
        )
        with torch.no_grad():
            for key, parameter in parameters.items():
                parameter.copy_(torch.as_tensor(np.array(weights[key])))
        return self

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Writes the weights as safetensors, in the layout that both backends read."""
        shape = self.model.data_shape
        metadata = {"variant": type(self).__name__, "data_shape": str(shape)}
        weights_file.save_weights(path, self.get_weights(), metadata)

    def load_weights(self, path: str | os.PathLike[str]) -> "VAE":
        """Reads weights that either backend has saved into the parameters.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the weights are not those of this VAE; then no parameter has changed.
        """
        return self.set_weights(weights_file.load_weights(path)[0])

    def _keyed_parameters(self) -> list[tuple[str, nn.Parameter]]:
        # "model.decoder.net.weight" -> "decoder.net.weight"
        return [(name.partition(".")[2], p) for name, p in self.named_parameters()]


class _Root(PyroModule):
    """A model or a guide under a name of its own.

    Pyro's param store knows a root module by its name alone, "" by default: without one of its own,
    a second VAE, or a copy, would be served the first one's tensors and never train.
    """

    def _rename(self) -> None:
        name, context = f"vae{next(_serial_numbers)}", type(self._pyro_context)()
        for path, module in self.named_modules():
            if isinstance(module, PyroModule):
                module._pyro_name = f"{name}.{path}" if path else name
                module._pyro_context = context

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Copies and what is unpickled come this way.
        super().__setstate__(state)
        self._rename()


class _Model(_Root):
    """`p(z) p(x|z)`."""

    def __init__(
        self, prior: nn.Module, decoder: nn.Module, data_shape: tuple[int, ...] | None
    ) -> None:
        super().__init__()
        self.prior, self.decoder, self.data_shape = prior, decoder, data_shape
        self._rename()

    def forward(self, x: Tensor, total: int | None = None) -> None:
        check_data(x, self, total)
        with data_plate(x, total):
            z = pyro.sample("z", self.prior())
            pyro.sample("x", self.decoder(z), obs=x)


class _Guide(_Root):
    """`q(z|x)`."""

    def __init__(self, encoder: nn.Module, data_shape: tuple[int, ...] | None) -> None:
        super().__init__()
        self.encoder, self.data_shape = encoder, data_shape
        self._rename()

    def forward(self, x: Tensor, total: int | None = None) -> Tensor:
        check_data(x, self, total)
        with data_plate(x, total):
            return pyro.sample("z", self.encoder(x))
