"""The state of a training as bytes, by names that a restart does not change."""

import random
import re
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyro.optim import PyroOptim
from torch import Tensor, nn

from entropy_core.reach import reachable
from entropy_core.training.checkpoints import refused

# A model or guide of a VAE has a name that counts those of the process.
_COUNTED = re.compile(r"^vae(\d+)(?=\W|$)")


def stable_names(names: Iterable[str]) -> dict[str, str]:
    """Names in Pyro's store as a file has them: VAEs are counted within the training.

    Example:
        >>> list(stable_names(["vae7.net.weight", "vae6.log_variance", "scale"]).values())
        ['vae#0.net.weight', 'vae#1.log_variance', 'scale']
    """
    numbers: dict[str, int] = {}
    found = {}
    for name in names:
        match = _COUNTED.match(name)
        if match:
            number = numbers.setdefault(match[1], len(numbers))
            found[name] = f"vae#{number}{name[match.end() :]}"
        else:
            found[name] = name
    return found


def tensors_of(
    model: Callable, guide: Callable, trained: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """All tensors that a training may change, by names that a restart does not change.

    Those of the store, and what else modules in reach hold: buffers, frozen parameters.
    """
    names = stable_names(trained)
    found = {names[name]: tensor for name, tensor in trained.items()}
    seen = {id(tensor) for tensor in found.values()}
    modules = [module for fn in (model, guide) for module in reachable(fn, nn.Module)]
    for i, module in enumerate(dict.fromkeys(modules)):
        for key, tensor in module.state_dict(keep_vars=True).items():
            if isinstance(tensor, Tensor) and id(tensor) not in seen:
                seen.add(id(tensor))
                found[f"module {i}: {key}"] = tensor
    return found


@torch.no_grad()
def write_into(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Copies values into tensors of the same names.

    Raises:
        ValueError: If names, shapes or types differ; then nothing has changed.
    """
    if tensors.keys() != values.keys():
        raise refused(f"one with other parameters: {sorted(tensors.keys() ^ values.keys())}")
    for name, tensor in tensors.items():
        if (tensor.shape, tensor.dtype) != (values[name].shape, values[name].dtype):
            got = f"{name} of shape {tuple(values[name].shape)} in {values[name].dtype}"
            raise refused(f"one with {got}")
    for name, tensor in tensors.items():
        tensor.copy_(values[name])


def optimiser_state(optim: PyroOptim, trained: Mapping[str, Tensor]) -> dict[str, Any]:
    """The state of the optimiser of each parameter that has had a step, by stable names."""
    names, found = stable_names(trained), {}
    for name, tensor in trained.items():
        if tensor in optim.optim_objs:
            held = optim.optim_objs[tensor]
            inner = getattr(held, "optimizer", None)
            found[names[name]] = (
                {"optimizer": held.state_dict()}
                if inner is None
                else {"scheduler": held.state_dict(), "optimizer": inner.state_dict()}
            )
    return found


def load_optimiser(
    optim: PyroOptim, trained: Mapping[str, Tensor], states: Mapping[str, Any]
) -> None:
    """The inverse of `optimiser_state`.

    Raises:
        ValueError: If the optimiser is of another kind.
    """
    names = stable_names(trained)
    tensors = [tensor for name, tensor in trained.items() if names[name] in states]
    for tensor in tensors:
        tensor.grad = None
        optim.optim_objs.pop(tensor, None)
    # A step without gradients makes the optimisers.
    optim(tensors)
    for name, tensor in trained.items():
        if names[name] not in states:
            continue
        state, held = states[names[name]], optim.optim_objs[tensor]
        inner = getattr(held, "optimizer", None)
        if (inner is not None) != ("scheduler" in state):
            raise refused("one with another kind of optimiser")
        if inner is not None:
            held.load_state_dict(state["scheduler"])
        (held if inner is None else inner).load_state_dict(state["optimizer"])


def random_state() -> dict[str, Any]:
    """The state of all generators, of what a file may hold."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - the global one, as Pyro has it
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "random": random.getstate(),
        "numpy": (name, torch.from_numpy(np.array(keys, np.int64)), *rest),
    }


def set_random_state(state: Mapping[str, Any] | None) -> None:
    """The inverse of `random_state`."""
    assert state is not None
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    random.setstate(state["random"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002


def to_bytes(course: str, losses: NDArray[np.float64], state: Mapping[str, Any]) -> bytes:
    """A file's content."""
    file = BytesIO()
    torch.save({"course": course, "losses": torch.from_numpy(losses), **state}, file)
    return file.getvalue()


def from_bytes(content: bytes) -> tuple[str, NDArray[np.float64], dict[str, Any]]:
    """The inverse of `to_bytes`; no code of the file is run."""
    state = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    return state.pop("course"), state.pop("losses").numpy(), state
