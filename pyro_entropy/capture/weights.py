"""Log-weights of a chunk of particles, replayed from a graph once some chunks have been seen."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.fx import GraphModule

from pyro_entropy.capture.calls import Call
from pyro_entropy.capture.captured import CapturedLoss
from pyro_entropy.capture.graphs import NotCaptured
from pyro_entropy.capture.losses import Runs
from pyro_entropy.capture.replays import Replay
from pyro_entropy.capture.simplify import split_draws, write_in_place
from pyro_entropy.elbos.iwae import IWAE_ELBO
from pyro_entropy.traces.pairs import holding, reading_params

# To trace a graph takes as long as what it gains on so many numbers: draws times entries of data.
WORTH = 2_000_000


class CapturedWeights(CapturedLoss):
    """The log-weights of a bound's particles, chunk after chunk, without gradients.

    As `CapturedLoss`, but for three things. What no draw goes into, such as the output of an
    encoder, is computed once for a batch. What is in reach of model and guide is looked at once for
    a batch, since from one chunk to the next nothing but the graph has run. And a graph is
    compared, too, where it first sees other data: NumPy's functions leave no trace in a graph, and
    what they have made of the data stays as it was.

    Args:
        bound: The bound; its particles are one chunk.
        model: The model.
        guide: The guide.
        num_chunks: How many chunks of each batch there are.
        worth: With how many numbers, draws times entries of the data, a graph is traced: those of a
            batch, or of all chunks so far. The first chunk of a form is run as it is; with `None`
            all are.
    """

    loss: IWAE_ELBO

    def __init__(
        self,
        bound: IWAE_ELBO,
        model: Callable,
        guide: Callable,
        num_chunks: int = 1,
        *,
        worth: int | None = WORTH,
    ) -> None:
        super().__init__(bound, model, guide, after=None if worth is None else 1)
        self.num_chunks, self.worth = num_chunks, worth or 0
        self._batch = 0
        # The batches at which each graph was compared.
        self._compared: dict[int, set[int]] = {}
        self._latest: tuple[Replay, Call] | None = None
        self._split: list[_Split] = []

    def next_batch(self) -> None:
        """Says that other data follow."""
        self._batch += 1
        self._latest = None
        for graph in self._split:
            graph.forget()

    def log_weights(
        self, rows: Mapping[str, Tensor], args: tuple, kwargs: Mapping[str, Any]
    ) -> Tensor:
        """`IWAE_ELBO.log_weights`, but for rounding.

        Args:
            rows: The rows that plates have drawn.
            args: The arguments of model and guide.
            kwargs: Their keyword arguments.
        """
        if self._latest is not None:
            graph, call = self._latest
            outputs = graph(call)
            if outputs is not None:
                self.captures.num_replayed += 1
                return outputs.values[0]
        return self(dict(rows), *args, **kwargs)[0]

    def _weights(
        self, bound: IWAE_ELBO, rows: Mapping[str, Tensor], *args: Any, **kwargs: Any
    ) -> Tensor:
        held = holding(self.model, rows), holding(self.guide, rows)
        return bound.log_weights(*held, *args, **kwargs)

    def _plain(self, args: tuple, kwargs: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        self._latest = None
        return self._weights(self.loss, *args, **kwargs), {}

    def _runs(self) -> Runs:
        # Not before the first chunks, in which the bound finds out how to draw particles.
        lean = self.loss.lean()
        if not isinstance(lean, IWAE_ELBO):
            raise NotCaptured(str(lean))

        def run(args: tuple, kwargs: dict[str, Any]) -> tuple[list[Tensor], dict[str, Tensor]]:
            with reading_params() as params:
                values = self._weights(lean, *args, **kwargs)
            return [values], params

        return Runs(run, run)

    def _is_worth(self, call: Call) -> bool:
        entries = sum(tensor.numel() for tensor in call.tensors)
        num_chunks = max(self.num_chunks, self.num_calls[call.text])
        numbers = num_chunks * self.loss.num_particles * entries
        return super()._is_worth(call) and numbers >= self.worth

    def _traced(self, call: Call) -> Replay:
        graph = super()._traced(call)
        parts = split_draws(graph.traced.module)
        if parts is not None:
            self._split.append(_Split(*parts))
            graph.traced = graph.traced._replace(run=self._split[-1])
        return graph

    def _is_due(self, graph: Replay, call: Call) -> bool:
        compared = self._compared.setdefault(id(graph), set())
        due = super()._is_due(graph, call) or (self._batch not in compared and len(compared) < 2)
        if due:
            compared.add(self._batch)
        else:
            self._latest = graph, call
        return due

    def _value(self, values: list[Tensor]) -> Tensor:
        return values[0]


class _Split:
    """A graph whose part that no draw goes into runs once for a batch."""

    def __init__(self, first: GraphModule, rest: GraphModule) -> None:
        write_in_place(rest.graph)
        rest.recompile()
        self._first, self._rest = first, rest
        self._known: list[Any] | None = None

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        if self._known is None:
            self._known = self._first.forward(*tensors)
        return self._rest.forward(*tensors, *self._known)

    def forget(self) -> None:
        self._known = None
