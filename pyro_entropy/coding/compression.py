"""Data to bytes and back, by a trained VAE."""

import os

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from entropy_core.checks import expected
from entropy_core.coding.batches import Nets
from entropy_core.coding.bins import Normals
from entropy_core.coding.chains import read_data, write_code
from entropy_core.coding.container import CompressedData, core_environment
from entropy_core.coding.levels import Likelihood
from pyro_entropy.coding.parts import read_likelihood, read_normals, read_prior
from pyro_entropy.operations import to_numpy
from pyro_entropy.traces.modes import evaluating
from pyro_entropy.vaes.base import VAE
from pyro_entropy.vaes.data import check_data, check_part


@torch.no_grad()
def compress(
    vae: VAE,
    data: Float[Tensor, "N *data_shape"],
    *,
    num_chains: int | None = None,
    precision: int | None = None,
) -> CompressedData:
    """Writes data in as many bits as the negative ELBO says, without loss.

    Bits back (Yu 2020, Eq. 33; Townsend et al. 2019): draws `z ~ q(z|x)` are popped off a stack of
    bits, then `x` is pushed under `p(x|z)` and `z` under `p(z)`. The net cost is
    `-log p(x|z) - log p(z) + log q(z|x)`, whose mean is the negative ELBO in bits. Latents are bins
    of the prior. `decompress` undoes it with the same VAE, libraries and device.

    Args:
        vae: The VAE. Its prior is a normal distribution or a mixture of normal ones, its encoder
            normal, with diagonal or full covariances, and its decoder Bernoulli, categorical,
            Poisson, or a discretised logistic or normal distribution.
        data: The data set, of shape `(N, *data_shape)`.
        num_chains: How many data points are coded side by side. Each chain costs some bits for its
            first draw, and the nets see batches of that size. `None` for one chain for each 256
            data points, 64 at most.
        precision: The bits of the number of a latent's bin. `None` for those that the smallest
            `tau` asks for, 14 at most.

    Returns:
        The code, and its rate.

    Raises:
        ImportError: If `constriction` is missing.
        TypeError: If a part of the VAE has no code, or `data` are no tensor of the model's type.
        ValueError: If the data are not finite, or not levels that the decoder knows, or a number is
            out of range.

    Example:
        >>> from pyro_entropy import BernoulliVAE, decompress
        >>> vae, x = BernoulliVAE(20, 2), torch.bernoulli(torch.full((20, 20), 0.5))
        >>> code = compress(vae, x)
        >>> bool((decompress(vae, code) == x).all())
        True
        >>> abs(code.rate.excess) < 0.05
        True
    """
    check_data(data, vae.guide)
    with evaluating(vae.model, vae.guide):
        nets = _nets(vae, tuple(data.shape[1:]))
        return write_code(nets, to_numpy(_known(data)), num_chains, precision)


@torch.no_grad()
def decompress(vae: VAE, code: CompressedData | bytes | str | os.PathLike[str]) -> Tensor:
    """Reads the data that `compress` wrote, bit for bit.

    Args:
        vae: The VAE that the code was written with.
        code: What `compress` returned, its bytes, or the path of a file that they were saved to.

    Returns:
        The data, of shape `(N, *data_shape)`, on the VAE's device.

    Raises:
        ImportError: If `constriction` is missing.
        FileNotFoundError: If there is no such file.
        ValueError: If a byte is missing or has changed, or the VAE, its weights, a library or the
            device is another than when the code was written. Wrong data are never returned.
    """
    with evaluating(vae.model, vae.guide):
        x = read_data(code, lambda shape: _nets(vae, shape), vae.model.data_shape)
    return torch.from_numpy(x).to(_device(vae))


def _nets(vae: VAE, data_shape: tuple[int, ...]) -> Nets:
    device = _device(vae)
    dtype = next((p.dtype for p in vae.parameters()), torch.get_default_dtype())

    def posterior(x: NDArray[np.floating]) -> Normals:
        return read_normals(check_part(vae.encoder(_tensor(x)), None, "encoder"), "encoder")

    def likelihood(z: NDArray[np.float64]) -> Likelihood:
        fn = vae.decoder(_tensor(z).to(dtype))
        return read_likelihood(check_part(fn, torch.Size(data_shape), "decoder"))

    def _tensor(array: NDArray[np.floating]) -> Tensor:
        return torch.from_numpy(array).to(device)

    return Nets(
        prior=read_prior(check_part(vae.prior(), None, "prior")),
        posterior=posterior,
        likelihood=likelihood,
        weights=vae.get_weights(),
        environment=_environment(device),
    )


def _device(vae: VAE) -> torch.device:
    return next((t.device for t in vae.state_dict().values()), torch.device("cpu"))


def _environment(device: torch.device) -> dict[str, str]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "backend": "pyro",
        "torch": torch.__version__,
        "device": name,
        "threads": str(torch.get_num_threads()),
        "matmul": torch.get_float32_matmul_precision(),
        **core_environment(),
    }


def _known(data: Tensor) -> Tensor:
    if data.dtype == torch.bfloat16:
        raise TypeError(expected("float16, float32 or float64", "data", data.dtype))
    return data
