"""Losses as functions that can be a graph: they look at no value of a tensor."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from numbers import Number
from threading import get_ident
from typing import Any, NamedTuple

import torch
from pyro.infer.util import torch_item
from pyro.util import warn_if_nan
from torch import Tensor

from pyro_entropy.capture.graphs import NotCaptured
from pyro_entropy.elbos.base import Capturable
from pyro_entropy.traces.pairs import reading_params

# The losses of one step and what is noted of it; the parameters that were read, with gradients.
Run = Callable[[tuple, dict[str, Any]], tuple[list[Tensor], dict[str, Tensor]]]


class Runs(NamedTuple):
    """A loss with its gradients: as it can be traced, and as it is without."""

    traceable: Run
    untraced: Run


def runs_of(loss: Any, model: Callable, guide: Callable) -> Runs:
    """A loss with its gradients as a function of its arguments.

    An objective of this package gives its `differentiable_loss`, in its lean form. Any other
    objective gives its `loss_and_grads`, and for a trace Python's numbers in it are tensors of
    float64, which is the same.

    Args:
        loss: The objective.
        model: The model.
        guide: The guide.

    Raises:
        NotCaptured: If the objective is not to be captured.
    """
    if isinstance(loss, Capturable):
        lean = loss.lean()
        if isinstance(lean, str):
            raise NotCaptured(lean)
        run = _differentiated(lean, model, guide)
        return Runs(run, run)

    def untraced(args: tuple, kwargs: dict[str, Any]) -> tuple[list[Tensor], dict[str, Tensor]]:
        value, params = plain_run(loss, model, guide, args, kwargs)
        return _tensors(value), params

    def traceable(args: tuple, kwargs: dict[str, Any]) -> tuple[list[Tensor], dict[str, Tensor]]:
        with _numbers_as_tensors(), reading_params() as params:
            value = loss.loss_and_grads(model, guide, *args, **kwargs)
        return _tensors(value), params

    return Runs(traceable, untraced)


def noting(loss: Any) -> AbstractContextManager[list[Tensor]]:
    """Collects what an objective notes of each draw; nothing of one that notes nothing."""
    return loss.noting() if getattr(loss, "history_terms", ()) else nullcontext([])


def mean_of(notes: list[Tensor]) -> list[Tensor]:
    """What an objective has noted of a step, as one tensor; none where it notes nothing."""
    return [torch.stack(notes).mean(0)] if notes else []


def plain_run(
    loss: Any, model: Callable, guide: Callable, args: tuple, kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Tensor]]:
    """The loss as `SVI.step` has it, and the parameters that were read, whose `grad` is set."""
    with reading_params() as params:
        value = loss.loss_and_grads(model, guide, *args, **kwargs)
    return (
        type(value)(map(torch_item, value)) if isinstance(value, tuple) else torch_item(value)
    ), params


def _differentiated(loss: Capturable, model: Callable, guide: Callable) -> Run:
    def run(args: tuple, kwargs: dict[str, Any]) -> tuple[list[Tensor], dict[str, Tensor]]:
        with reading_params() as params, noting(loss) as notes:
            value = loss.differentiable_loss(model, guide, *args, **kwargs)
        if value.requires_grad:
            trained = [tensor for tensor in params.values() if tensor.requires_grad]
            grads = torch.autograd.grad(value, trained, allow_unused=True)
            for tensor, grad in zip(trained, grads, strict=True):
                tensor.grad = grad
        return [value.detach(), *mean_of(notes)], params

    return run


def _tensors(value: Any) -> list[Tensor]:
    values = value if isinstance(value, tuple) else (value,)
    return [torch.as_tensor(v, dtype=torch.float64).detach() for v in values]


@contextmanager
def _numbers_as_tensors() -> Iterator[None]:
    """Lets the host's objectives go without the values of their tensors."""

    def as_tensor(value: Any) -> Any:
        return value if isinstance(value, Number) else value.detach().double()

    def item(tensor: Tensor) -> Any:
        # Other threads go on as they were, and so do numbers that are no sums.
        sums = get_ident() == thread and tensor.is_floating_point()
        return as_tensor(tensor) if sums else of_tensor(tensor)

    thread, of_tensor = get_ident(), Tensor.item

    def unseen(value: Any, msg: str = "", **kwargs: Any) -> Any:
        return value

    # Each of the host's files has its own name for them.
    found = [
        (module, name, old, new)
        for key, module in list(sys.modules.items())
        if key.startswith("pyro.infer")
        for name, old, new in (
            ("torch_item", torch_item, as_tensor),
            ("warn_if_nan", warn_if_nan, unseen),
        )
        if getattr(module, name, None) is old
    ]
    for module, name, _, new in found:
        setattr(module, name, new)
    Tensor.item = item  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        del Tensor.item
        for module, name, old, _ in found:
            setattr(module, name, old)
