"""Data where it enters a model or a guide: what can be checked while tracing, and its plate."""

import pyro
import torch
from torch import nn

from entropy_core.checks import check_batch, expected


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


def data_plate(x: torch.Tensor, total: int | None) -> pyro.plate:
    """The plate `"data"` over a batch already cut: it scales by `total / B`, and draws nothing.

    Args:
        x: The batch.
        total: The size of the data set, `None` for the batch itself.
    """
    if total is None:
        return pyro.plate("data", len(x))
    return pyro.plate("data", total, subsample=torch.arange(len(x), device=x.device))
