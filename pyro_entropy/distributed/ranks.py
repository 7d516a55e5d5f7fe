"""The ranks of `torch.distributed`: sums, means and rows over all of them, with gradients.

Every rank computes the loss of the whole batch, each from its own rows and from what the others
send. The backward of a sum is then a sum, and the gradient of the loss is the mean over ranks of
what each of them finds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from entropy_core.across import Across
from entropy_core.checks import expected
from entropy_core.operations import Operations
from entropy_core.traces.batch import whole_batch
from entropy_core.traces.plates import need_data_plate
from entropy_core.traces.records import SiteTerms


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Tensor:
        return _summed(grads[0])


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, values)
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Tensor:
        return _summed(grads[0])[dist.get_rank()]


def _summed(values: Tensor) -> Tensor:
    values = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(values)
    return values


@dataclass(frozen=True)
class BatchRanks(Across):
    """How the ranks that share one batch put it together.

    Args:
        sizes: The number of data points of each rank.
        rank: The number of this one.
    """

    sizes: tuple[int, ...]
    rank: int

    @property
    def num(self) -> int:  # type: ignore[override]
        """The number of ranks."""
        return len(self.sizes)

    @property
    def start(self) -> int:  # type: ignore[override]
        """How many data points the ranks before this one have."""
        return sum(self.sizes[: self.rank])

    def sum(self, values: Any) -> Any:
        """The sum over ranks."""
        return _Sum.apply(values)

    def count(self, num_rows: int) -> int:
        """How many rows all ranks have, where this one has `num_rows`."""
        return num_rows * sum(self.sizes) // self.sizes[self.rank]

    def average(self, means: Any, num_rows: int) -> Any:
        """The mean over the rows of all ranks, from the mean over the `num_rows` of this one."""
        return self.sum(means * (num_rows / self.count(num_rows)))

    def rows(self, values: Any) -> Any:
        """The rows of all ranks, one rank's after another's."""
        # What is sent has one shape on all ranks.
        padding = values.new_zeros((max(self.sizes) - len(values), *values.shape[1:]))
        parts = _Stack.apply(torch.cat([values, padding]))
        return torch.cat([part[:size] for part, size in zip(parts, self.sizes, strict=True)])

    def log_sum_exp(self, values: Any, ops: Operations) -> Any:
        """`log sum_r exp(values_r)` over ranks, elementwise."""
        return ops.logsumexp(_Stack.apply(values.contiguous()), 0)


class Ranks:
    """The ranks of the default process group.

    Raises:
        RuntimeError: If there is none.
    """

    def __init__(self) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            what = "a process group, which `torch.distributed.init_process_group` makes,"
            raise RuntimeError(expected(what, "torch.distributed", "none"))
        self.rank, self.num = dist.get_rank(), dist.get_world_size()

    def whole_batch(
        self, records: Sequence[SiteTerms], data_plate: str | None = None
    ) -> list[SiteTerms]:
        """The records of this rank's rows, with sums that are those of the whole batch.

        Args:
            records: All the records of a pair of traces.
            data_plate: See `find_data_plate`.

        Raises:
            ValueError: If no plate holds all data, or `total` is smaller than the batch.
        """
        plate = need_data_plate(records, data_plate)
        sizes = self.gather(plate.size)
        return whole_batch(records, plate, BatchRanks(tuple(sizes), self.rank))

    def gather(self, number: int) -> list[int]:
        """A whole number of each rank."""
        own = torch.tensor([number], device=self.device)
        parts = [torch.empty_like(own) for _ in range(self.num)]
        dist.all_gather(parts, own)
        return [int(part) for part in parts]

    def merge(self, value: Any) -> list[Any]:
        """An object of each rank, of any kind that can be pickled."""
        found: list[Any] = [None] * self.num
        dist.all_gather_object(found, value)
        return found

    def part(self, num_rows: int) -> slice:
        """Which of so many rows are those of this rank: their numbers differ by one at most."""
        bounds = [num_rows * rank // self.num for rank in (self.rank, self.rank + 1)]
        return slice(*bounds)

    def of_first(self, tensor: Tensor) -> Tensor:
        """A tensor as the first rank has it."""
        sent = tensor.to(self.device)
        dist.broadcast(sent, 0)
        return sent.to(tensor.device)

    @torch.no_grad()
    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Gives tensors the values that they have on the first rank."""
        for tensor in tensors:
            sent = tensor.detach().contiguous()
            dist.broadcast(sent, 0)
            tensor.detach().copy_(sent)

    @torch.no_grad()
    def average_grads(self, params: Iterable[Tensor]) -> None:
        """Gives parameters the mean of their gradients over ranks, in one message a float type.

        A parameter that no rank has a gradient of is left without; where some have one, the others
        count as zero.
        """
        groups: dict[Any, list[Tensor]] = {}
        for param in params:
            if param.requires_grad:
                groups.setdefault((param.dtype, param.device), []).append(param)
        for group in groups.values():
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in group]
            seen = grads[0].new_tensor([p.grad is not None for p in group])
            sent = torch.cat([seen, *(grad.reshape(-1) for grad in grads)])
            dist.all_reduce(sent)
            present, *means = sent.split([len(group), *(grad.numel() for grad in grads)])
            for param, any_has, mean in zip(group, present.tolist(), means, strict=True):
                if any_has:
                    param.grad = (mean / self.num).reshape(param.shape)

    @property
    def device(self) -> torch.device:
        """Where tensors lie that are sent: NCCL's on this process's GPU."""
        nccl = "nccl" in dist.get_backend()
        return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")
