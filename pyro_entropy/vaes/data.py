"""Data where it enters a model or a guide: its batches, its plate, and what can be checked."""

from typing import Any

import pyro
import torch
from torch import nn
from torch.distributions import Distribution

from entropy_core.checks import (
    check_batch,
    check_finite,
    check_inside,
    expected,
)


def check_data(x: object, module: nn.Module, total: object = None) -> None:
    """Refuses data that `module` cannot take: another type, float type or shape, an empty batch.

    Args:
        x: The batch.
        module: Has the `data_shape`, and parameters of the model's float type.
        total: The size of the data set that the batch is a part of.

    Raises:
        TypeError: If `x` is no tensor, or not of the model's float type.
        ValueError: If `x` is empty or has another shape than the data, or `total` is below B.
    """
    if not isinstance(x, torch.Tensor):
        raise TypeError(expected("a torch.Tensor", "x", type(x).__name__))
    dtype = next((p.dtype for p in module.parameters()), None)
    if not x.is_floating_point() or dtype not in (None, x.dtype):
        raise TypeError(expected(f"{dtype or 'floating-point'} data", "x", x.dtype))
    check_batch(tuple(x.shape), module.data_shape, total)  # type: ignore[arg-type]


def check_values(x: torch.Tensor, support: Any = None) -> None:
    """Refuses data that are not finite, or outside the support of their distribution.

    Args:
        x: The data.
        support: The host's constraint, such as `constraints.boolean`; `None` for any values.

    Raises:
        ValueError: If `x` has NaN or infinite entries, or values outside the support.
    """
    # On the data's device; only what an error tells is copied.
    values = x.detach()
    if not torch.isfinite(values).all():
        check_finite(values.double().cpu().numpy(), "x")
    if support is not None:
        inside = support.check(values)
        if not inside.all():
            check_inside(inside.cpu().numpy(), values.double().cpu().numpy(), "x", repr(support))


def check_part(fn: object, event_shape: torch.Size | None, name: str) -> Any:
    """Refuses what a part returns if it is no distribution, or one of another event shape.

    Args:
        fn: What the part has returned.
        event_shape: The shape that the event must have, `None` for any.
        name: The part.

    Raises:
        TypeError: If `fn` is no distribution.
        ValueError: If `fn` has another event shape.
    """
    if not isinstance(fn, Distribution):
        raise TypeError(expected("a part that returns a distribution", name, type(fn).__name__))
    if event_shape is not None and fn.event_shape != event_shape:
        what = f"a distribution of event shape {tuple(event_shape)}"
        raise ValueError(expected(what, name, f"event shape {tuple(fn.event_shape)}"))
    return fn


def data_plate(x: torch.Tensor, total: int | None) -> pyro.plate:
    """The plate `"data"` over a batch already cut: it scales by `total / B`, and draws nothing.

    Args:
        x: The batch.
        total: The size of the data set, `None` for the batch itself.
    """
    if total is None:
        return pyro.plate("data", len(x))
    return pyro.plate("data", total, subsample=torch.arange(len(x), device=x.device))
