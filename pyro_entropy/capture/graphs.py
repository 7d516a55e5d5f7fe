"""A function of tensors as a graph of the host's operations, which runs without Python's models."""

import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyro
import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing, make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from pyro_entropy.capture.simplify import simplify

ATEN = torch.ops.aten
NOT_SHOWN = str(Path(torch.__file__).parent), str(Path(__file__).parent), "<"


class NotCaptured(Exception):
    """Why a function is not the same graph at each call."""


class Traced(NamedTuple):
    """A graph, and what it holds for.

    Args:
        run: The graph: the outputs of the function, and then the numbers that Python has taken.
        taken: What these numbers were: with others the function may do something else.
        where: The line that has taken the first one.
        module: What runs it.
    """

    run: Callable[..., list[Tensor]]
    taken: list[Any]
    where: str
    module: GraphModule


def graph_of(function: Callable[..., list[Tensor]], inputs: Sequence[Tensor]) -> Traced:
    """Runs a function once, and returns all that it did to tensors.

    Tensors that are no inputs are the function's own: the graph reads, and moves, the very same
    ones. What has no effect is taken out; what stays are the same operations in the same order, so
    that the numbers are the same bit for bit. Where Python takes a number out of a tensor, that
    number is an output too.

    Args:
        function: Takes and returns tensors; gradients that it asks for are part of it.
        inputs: Tensors as it takes them.

    Raises:
        NotCaptured: If it compares tensors, makes a shape of their values, or fails.
    """
    looks = _Looks()

    def outputs(*inputs: Tensor) -> list[Tensor]:
        returned = function(*inputs)
        return [*returned, *(tensor for tensor, _ in looks.seen)]

    try:
        with looks, pyro.validation_enabled(False):
            module = make_fx(outputs)(*inputs)
    except NotCaptured:
        raise
    except Exception as error:
        # Whatever a user's model raises here and not in a plain run is a reason.
        raise NotCaptured(f"{_first_line(error)}{_place(error)}") from error
    simplify(module.graph)
    module.recompile()
    return Traced(module.forward, [value for _, value in looks.seen], looks.where, module)


class _Looks(TorchDispatchMode):
    """Keeps the numbers that Python takes, and refuses what no operation of a graph stands for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, Any]] = []
        self.where = ""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func is ATEN._local_scalar_dense.default:
            with disable_proxy_modes_tracing():
                value = func(*args)
            self.seen.append((args[0], value))
            self.where = self.where or _here()
            return value
        if torch.Tag.data_dependent_output in func.tags:
            raise NotCaptured("Python compares the values of tensors" + _here())
        if _makes_a_shape(func, args):
            raise NotCaptured("the values of a tensor make a shape" + _here())
        return func(*args, **(kwargs or {}))


def _makes_a_shape(func: Any, args: tuple) -> bool:
    if func not in (ATEN.index.Tensor, ATEN.index_put.default, ATEN.index_put_.default):
        return torch.Tag.dynamic_output_shape in func.tags
    masks = (torch.bool, torch.uint8)
    masked = any(isinstance(i, Tensor) and i.dtype in masks for i in args[1])
    # One number for all places has no shape that could change.
    return masked and (func is ATEN.index.Tensor or args[2].numel() != 1)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _here() -> str:
    return _line_of(traceback.extract_stack(sys._getframe(2)))


def _place(error: Exception) -> str:
    return _line_of(traceback.extract_tb(error.__traceback__))


def _line_of(frames: Sequence[traceback.FrameSummary]) -> str:
    """The line that it comes from, be it the user's or the host's."""
    for frame in reversed(frames):
        if not frame.filename.startswith(NOT_SHOWN):
            return f" ({Path(frame.filename).name}:{frame.lineno})"
    return ""
