"""One safetensors layout for the weights of a VAE, which both sides write and read.

Keys are `<prior|encoder|decoder>.<path>.<weight|bias|log_variance>`. Arrays are in torch's layout
(a linear layer is `(out, in)`), scalars have no dimension, and values are raw.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from entropy_core.checks import expected
from entropy_core.files import write_whole

FORMAT_VERSION = "1"

Weights = dict[str, NDArray[np.floating]]


def save_weights(
    path: str | os.PathLike[str],
    weights: Mapping[str, NDArray[np.floating]],
    metadata: Mapping[str, str],
) -> None:
    """Writes `weights` and says in the file's metadata what they belong to.

    Args:
        path: The file; it is replaced once the new one is whole.
        weights: The arrays by key.
        metadata: What else a reader should know: the variant, its sizes.
    """
    # safetensors saves the memory of a transposed view as it lies, that is as garbage.
    arrays = {key: np.asarray(array, order="C") for key, array in weights.items()}
    dtypes = ", ".join(sorted({str(array.dtype) for array in arrays.values()}))
    header = {**metadata, "format": "elbo-entropy", "version": FORMAT_VERSION, "dtype": dtypes}
    write_whole(path, save(arrays, metadata=header))


def load_weights(path: str | os.PathLike[str]) -> tuple[Weights, dict[str, str]]:
    """Reads what `save_weights` wrote: the arrays by key, and the metadata.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, has another format or a later version of it, or float
            types that NumPy has not.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(expected("a safetensors file", "path", str(path)))
    try:
        with safe_open(path, framework="numpy") as file:
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(expected("a safetensors file", "path", path)) from error
    except (TypeError, AttributeError) as error:
        # NumPy has neither bfloat16 nor floats of eight bits,
        raise ValueError(expected("weights in NumPy's float types", "path", path)) from error
    for key, array in weights.items():
        # but for those that JAX adds to it.
        if array.dtype.kind not in "biuf":
            got = f"{path} with {key} in {array.dtype}"
            raise ValueError(expected("weights in NumPy's float types", "path", got))
    found = (metadata.get("format"), metadata.get("version"))
    if found != ("elbo-entropy", FORMAT_VERSION):
        what = f"elbo-entropy weights, version {FORMAT_VERSION}"
        raise ValueError(expected(what, "path", f"format {found[0]}, version {found[1]}"))
    return weights, metadata


def check_weights(
    weights: Mapping[str, ArrayLike],
    shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]],
) -> None:
    """Refuses weights that are not just those that a model has, and names each that is not.

    Args:
        weights: The arrays by key.
        shapes: For each key of the model its shape and float type.

    Raises:
        ValueError: If keys are missing, extra or misshapen, or would lose digits in the model's
            float type.
    """
    faults = [f"no {key}" for key in sorted(shapes.keys() - weights.keys())]
    faults += [f"an unknown {key}" for key in sorted(weights.keys() - shapes.keys())]
    for key in sorted(shapes.keys() & weights.keys()):
        shape, dtype = shapes[key]
        array = np.asarray(weights[key])
        if array.shape != shape:
            faults.append(f"{key} of shape {array.shape} for {shape}")
        elif not np.can_cast(array.dtype, dtype, "safe"):
            faults.append(f"{key} in {array.dtype} for {dtype}")
    if faults:
        raise ValueError(expected("the weights of the model", "weights", "; ".join(faults)))
