"""Data in steps, and what the nets of a VAE make of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from entropy_core.checks import expected
from entropy_core.coding.bins import Mixture, Normals
from entropy_core.coding.levels import Likelihood


@dataclass(frozen=True)
class Nets:
    """What a side makes of a VAE: functions of NumPy's arrays, always of the same batch shape.

    Args:
        prior: The prior.
        posterior: From data, `(C, *data_shape)`, to `q`.
        likelihood: From latents, `(C, H)`, to `p(x|z)`.
        weights: The weights by name.
        environment: The backend, the device, versions, and what else changes floats.
    """

    prior: Mixture
    posterior: Callable[[NDArray[np.floating]], Normals]
    likelihood: Callable[[Float[np.ndarray, "C H"]], Likelihood]
    weights: Mapping[str, NDArray[Any]]
    environment: Mapping[str, str]


class Batches:
    """Data in steps: one point of each chain, and rows of zeros after the last point.

    Args:
        nets: The nets.
        num_points: The number of data points, `N`.
        num_chains: The number of chains, `C`.
        data_shape: The shape of one data point.
        dtype: Its float type.
    """

    def __init__(
        self, nets: Nets, num_points: int, num_chains: int, data_shape: tuple[int, ...], dtype: str
    ) -> None:
        self.nets, self.num_points, self.num_chains = nets, num_points, num_chains
        self.data_shape, self.dtype = data_shape, np.dtype(dtype)
        self.num_steps = -(-num_points // num_chains)

    def rows(self, step: int) -> slice:
        """Which data points a step has."""
        return slice(step * self.num_chains, min((step + 1) * self.num_chains, self.num_points))

    @cached_property
    def first(self) -> Likelihood:
        """`p(x|z)` at fixed latents: of which family it is."""
        shape = self.num_chains, self.nets.prior.components.loc.shape[1]
        # Not zero, where nets of other activations may be alike.
        return self.likelihood((np.arange(shape[0] * shape[1]) * 7 % 11 - 4.0).reshape(shape) / 4)

    def posterior(self, numbers: Int[np.ndarray, "A D"]) -> Normals:
        """`q` of the points of a step."""
        x = self.first.values(_padded(numbers, self.num_chains), self.data_shape, self.dtype)
        q = self.nets.posterior(x)
        q = Normals(*(np.asarray(array, np.float64)[: len(numbers)] for array in q))
        num_latents = self.nets.prior.components.loc.shape[1]
        if q.loc.shape[1] != num_latents:
            what = f"latents of the prior's shape {(num_latents,)}"
            raise ValueError(expected(what, "encoder", f"shape {q.loc.shape[1:]}"))
        q.check("encoder")
        return q

    def likelihood(self, z: Float[np.ndarray, "A H"]) -> Likelihood:
        """`p(x|z)` of the points of a step."""
        found = self.nets.likelihood(_padded(z, self.num_chains)).rows(len(z))
        found.check()
        return found

    def hash_outputs(self) -> str:
        """A hash of what the three parts return for fixed inputs."""
        shape, num = self.first.shape, self.first.num_levels or 7
        numbers = (np.arange(shape[0] * shape[1]) * 7 % 11).reshape(shape) % num
        posterior = self.posterior(numbers)
        prior = self.nets.prior
        arrays = [prior.log_weights, *prior.components, *posterior, *self.first.arrays]
        return hash_arrays({f"{i}": array for i, array in enumerate(arrays)})


def hash_arrays(arrays: Mapping[str, NDArray[Any]]) -> str:
    """A hash of arrays and of their names, shapes and types."""
    digest = blake2b(digest_size=16)
    for name, array in sorted(arrays.items()):
        array = np.ascontiguousarray(array)
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _padded(rows: NDArray[Any], num: int) -> NDArray[Any]:
    padded = np.zeros((num, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    return padded
