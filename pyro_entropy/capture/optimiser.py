"""One step of one `torch.optim` optimiser for all parameters of a `pyro.optim` optimiser."""

from collections.abc import Iterable
from copy import copy
from operator import is_
from typing import Any

import torch
from pyro.optim import PyroOptim
from torch import Tensor
from torch.optim import Optimizer

# Those whose step is the same for parameters together as for each alone, and those of them that
# have a fused step.
TOGETHER = ("Adadelta", "Adagrad", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSprop", "SGD")
FUSED = ("Adam", "AdamW", "SGD")


class OneOptimiser:
    """Takes the steps of a `pyro.optim` optimiser with one optimiser for all parameters, fused.

    Pyro has an optimiser for each parameter. Their states stay where they are, so that all else
    goes on as before: schedules, files, the host's own steps. An optimiser that is none of those of
    `torch.optim` takes its steps as it is.

    Args:
        optim: The host's optimiser.
    """

    def __init__(self, optim: PyroOptim) -> None:
        self.optim = optim
        self._together: list[Optimizer] = []
        # What it was made of: the parameters, and the options of each.
        self._made_of: tuple[list[Tensor], list[dict[str, Any]]] = ([], [])

    def __call__(self, params: Iterable[Tensor]) -> None:
        """Takes a step for each parameter, of which the store may have several names."""
        params = list({id(param): param for param in params}.values())
        held = self.optim.optim_objs
        each = [_inner(held[param]) for param in params if param in held]
        if len(each) < len(params) or not all(map(_goes_together, each)):
            self.optim(params)
            return
        for param in params:
            clip = self.optim.grad_clip[param]
            if clip is not None:
                clip(param)
        self._make(params, each)
        for optimiser in self._together:
            optimiser.step()

    def _make(self, params: list[Tensor], each: list[Optimizer]) -> None:
        options = [_options(optimiser) for optimiser in each]
        known, made_of = self._made_of
        same = len(known) == len(params) and all(map(is_, known, params)) and made_of == options
        states = [optimiser.state[param] for optimiser, param in zip(each, params, strict=True)]
        if same and all(self._holds(p, s) for p, s in zip(params, states, strict=True)):
            return
        self._made_of = params, [dict(option) for option in options]
        self._together = []
        groups: list[tuple[type, dict[str, Any], Optimizer]] = []
        for param, optimiser, option, state in zip(params, each, options, states, strict=True):
            found = next((o for t, p, o in groups if t is type(optimiser) and p == option), None)
            if found is None:
                found = copy(optimiser)
                found.param_groups = [{**option, "params": []}]
                found.state = type(optimiser.state)(dict)
                groups.append((type(optimiser), option, found))
                self._together.append(found)
            found.param_groups[0]["params"].append(param)
            found.state[param] = state
        for found in self._together:
            _fuse(found)

    def _holds(self, param: Tensor, state: dict[str, Any]) -> bool:
        return any(optimiser.state.get(param) is state for optimiser in self._together)


def _goes_together(optimiser: Optimizer) -> bool:
    kind = type(optimiser)
    known = kind.__module__.startswith("torch.optim") and kind.__name__ in TOGETHER
    return known and len(optimiser.param_groups) == 1


def _fuse(optimiser: Optimizer) -> None:
    (group,) = optimiser.param_groups
    params = group["params"]
    unset = group.get("fused") is None and not group.get("foreach")
    floats = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in params)
    together = len({p.device for p in params}) == 1
    if type(optimiser).__name__ in FUSED and unset and floats and together:
        group["fused"], group["foreach"] = True, False
        for state in optimiser.state.values():
            # A fused step counts where the parameter is.
            if isinstance(state.get("step"), Tensor):
                state["step"] = state["step"].to(params[0].device, torch.float32)


def _inner(held: Any) -> Optimizer:
    """An optimiser without the schedule around it."""
    return getattr(held, "optimizer", held)


def _options(optimiser: Optimizer) -> dict[str, Any]:
    return {name: value for name, value in optimiser.param_groups[0].items() if name != "params"}
