"""Variational autoencoders: a prior, an encoder and a decoder make a model and a guide for SVI."""

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyro
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from pyro.nn import PyroModule
from torch import Tensor, nn
from torch.distributions import Distribution

from entropy_core.checks import check_positive_int, check_shape, expected
from entropy_core.vaes import weights as weights_file
from entropy_core.vaes.constructor import (
    made_again,
    metadata_of,
    remember_arguments,
    what_to_call,
)
from pyro_entropy.operations import to_numpy
from pyro_entropy.priors.mixtures import check_vamp_prior
from pyro_entropy.priors.normal import FloatingNormalPrior
from pyro_entropy.vaes.data import check_data, check_part, check_values, data_plate

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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Variants know what they were made with, so that a file of their weights says it."""
        super().__init_subclass__(**kwargs)
        remember_arguments(cls, lambda dtype: str(dtype).removeprefix("torch."))

    def __init__(
        self,
        prior: nn.Module,
        encoder: nn.Module,
        decoder: nn.Module,
        data_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        shape = None if data_shape is None else check_shape(data_shape, "data_shape")
        check_vamp_prior(prior, encoder)
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

    def forward(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: a VAE is a model and a guide.

        Raises:
            TypeError: If it is called.
        """
        raise TypeError(what_to_call(self))

    def encode(self, x: Float[Tensor, "B *data_shape"]) -> Distribution:
        """`q(z|x)`, of batch shape `(B,)`.

        Raises:
            TypeError: If `x` is no tensor, or not of the model's float type.
            ValueError: If `x` has another shape than the data, or values that are not finite, or
                outside the support that the decoder names.
        """
        check_data(x, self.guide)
        check_values(x, getattr(self.decoder, "support", None))
        return self.encoder(x)

    def decode(self, z: Float[Tensor, "*batch H"]) -> Distribution:
        """`p(x|z)`, of batch shape `(*batch,)`."""
        return self.decoder(z)

    def reconstruct(self, x: Float[Tensor, "B *data_shape"]) -> Float[Tensor, "B *data_shape"]:
        """The mean of `p(x|z)` at the mean of `q(z|x)`, of the shape of `x`.

        Raises:
            TypeError: If `x` is no tensor, or not of the model's float type.
            ValueError: As `encode` does.
        """
        return self.decode(self.encode(x).mean).mean

    @torch.no_grad()
    def generate(self, num_samples: int, *, mean: bool = False) -> Float[Tensor, "n *data_shape"]:
        """New data points: `x ~ p(x|z)` with `z ~ p(z)`, of shape `(num_samples, *data_shape)`.

        Args:
            num_samples: The number of data points.
            mean: Whether to return the means of `p(x|z)` instead of draws.

        Raises:
            ValueError: If `num_samples` is no positive integer.
        """
        check_positive_int(num_samples, "num_samples")
        prior = check_part(self.prior(), None, "prior")
        fn = self.decode(prior.sample((num_samples,)))
        return fn.mean if mean else fn.sample()

    @torch.no_grad()
    def fit_floating_prior(
        self, data: Float[Tensor, "N *data_shape"], *, batch_size: int = 1000
    ) -> "VAE":
        """Sets the floating prior to the second moments of the latents over a data set.

        `S^2 = mean_n E_q[z z^T]`, which is `Sigma + M` for a constant `Sigma` (Fyffe 2020, Eq. 4).

        Args:
            data: The data set, of shape `(N, *data_shape)`.
            batch_size: How many data points to encode together.

        Raises:
            TypeError: If the prior is no `FloatingNormalPrior`, or `data` are no tensor.
            ValueError: As `encode` does.
        """
        prior = self.prior
        if not isinstance(prior, FloatingNormalPrior):
            raise TypeError(expected("a FloatingNormalPrior", "prior", type(prior).__name__))
        check_positive_int(batch_size, "batch_size")
        check_data(data, self.guide)
        moments = [prior.moments(self.encode(x)) for x in data.split(batch_size)]
        prior.set_moments(torch.stack(moments).sum(0) / len(data))
        return self

    def get_weights(self) -> weights_file.Weights:
        """The parameters and buffers as arrays, by the keys of `entropy_core.vaes.weights`."""
        return {key: to_numpy(tensor).copy() for key, tensor in self._keyed_state().items()}

    def set_weights(self, weights: Mapping[str, ArrayLike]) -> "VAE":
        """Copies arrays into the parameters and buffers, by their keys in a weights file.

        Raises:
            ValueError: If keys are missing, extra or misshapen; then no parameter has changed.
        """
        state = self._keyed_state()
        shapes = {key: (tuple(t.shape), to_numpy(t).dtype) for key, t in state.items()}
        weights_file.check_weights(weights, shapes)
        for key, tensor in state.items():
            tensor.copy_(torch.as_tensor(np.array(weights[key])))
        return self

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Writes the weights as safetensors, in the layout that both backends read.

        With the arguments of the variant's constructor, for `load`.
        """
        metadata = metadata_of(self, self.model.data_shape)
        weights_file.save_weights(path, self.get_weights(), metadata)

    def load_weights(self, path: str | os.PathLike[str]) -> "VAE":
        """Reads weights that either backend has saved into the parameters.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the weights are not those of this VAE; then no parameter has changed.
        """
        return self.set_weights(weights_file.load_weights(path)[0])

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "VAE":
        """A VAE with the weights that either backend has saved, made as the saved one was.

        `VAE.load` makes the variant that the file names, `VAE1.load` a `VAE1`.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is of another variant, or of a VAE made of parts: make that one
                again, and `load_weights`.

        Example:
            >>> from pyro_entropy import VAE1
            >>> path = getfixture("tmp_path") / "vae.safetensors"
            >>> VAE1(4, 2, hidden=(16,)).save_weights(path)
            >>> VAE.load(path).generate(5).shape
            torch.Size([5, 4])
        """
        weights, metadata = weights_file.load_weights(path)
        vae = made_again(cls, metadata, path, lambda name: getattr(torch, name))
        return vae.set_weights(weights)

    def _keyed_state(self) -> dict[str, Tensor]:
        # "model.decoder.net.weight" -> "decoder.net.weight"
        return {name.partition(".")[2]: tensor for name, tensor in self.state_dict().items()}


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
            prior = check_part(self.prior(), None, "prior")
            z = pyro.sample("z", prior)
            # Replayed, `z` is the guide's.
            if z.shape[z.ndim - len(prior.event_shape) :] != prior.event_shape:
                what = f"latents of the prior's shape {tuple(prior.event_shape)}"
                raise ValueError(expected(what, "encoder", f"shape {tuple(z.shape[1:])}"))
            pyro.sample("x", check_part(self.decoder(z), x.shape[1:], "decoder"), obs=x)


class _Guide(_Root):
    """`q(z|x)`."""

    def __init__(self, encoder: nn.Module, data_shape: tuple[int, ...] | None) -> None:
        super().__init__()
        self.encoder, self.data_shape = encoder, data_shape
        self._rename()

    def forward(self, x: Tensor, total: int | None = None) -> Tensor:
        check_data(x, self, total)
        with data_plate(x, total):
            return pyro.sample("z", check_part(self.encoder(x), None, "encoder"))
