"""Log-weights of a chunk of particles, replayed from a graph once some chunks have been seen."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from pyro_entropy.capture.captured import CapturedLoss
from pyro_entropy.capture.graphs import NotCaptured
from pyro_entropy.capture.losses import Runs
from pyro_entropy.capture.replays import Replay
from pyro_entropy.elbos.iwae import IWAE_ELBO
from pyro_entropy.traces.pairs import holding, reading_params

# To trace a graph takes as long as several chunks do.
NUM_PLAIN = 2


class CapturedWeights(CapturedLoss):
    """The log-weights of a bound's particles, chunk after chunk, without gradients.

    As `CapturedLoss`, but that a graph is compared, too, where it first sees other data: NumPy's
    functions leave no trace in a graph, and what they have made of the data stays as it was.

    Args:
        bound: The bound; its particles are one chunk.
        model: The model.
        guide: The guide.
        after: How many chunks of a form are run as they are first; `None` runs all so.
    """

    loss: IWAE_ELBO

    def __init__(
        self, bound: IWAE_ELBO, model: Callable, guide: Callable, *, after: int | None = NUM_PLAIN
    ) -> None:
        super().__init__(bound, model, guide, after=after)
        self._batch = 0
        # The first batch and one more, for each graph.
        self._compared: dict[int, set[int]] = {}

    def next_batch(self) -> None:
        """Says that other data follow."""
        self._batch += 1

    def log_weights(self, rows: Mapping[str, Tensor], args: tuple, kwargs: dict) -> Tensor:
        """`IWAE_ELBO.log_weights`, with the rows that plates have drawn; in float32 with rounding.

        Args:
            rows: The rows of each plate.
            args: The arguments of model and guide.
            kwargs: Their keyword arguments.
        """
        return self(dict(rows), *args, **kwargs)[0]

    def _weights(
        self, bound: IWAE_ELBO, rows: Mapping[str, Tensor], *args: Any, **kwargs: Any
    ) -> Tensor:
        held = holding(self.model, rows), holding(self.guide, rows)
        return bound.log_weights(*held, *args, **kwargs)

    def _plain(self, args: tuple, kwargs: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        return self._weights(self.loss, *args, **kwargs), {}

    def _runs(self) -> Runs:
        # Not before the first chunks, in which the bound finds out how to draw particles.
        lean = self.loss.lean()
        if isinstance(lean, str):
            raise NotCaptured(lean)

        def run(args: tuple, kwargs: dict[str, Any]) -> tuple[list[Tensor], dict[str, Tensor]]:
            with reading_params() as params:
                values = self._weights(lean, *args, **kwargs)
            return [values], params

        return Runs(run, run)

    def _is_due(self, graph: Replay) -> bool:
        compared = self._compared.setdefault(id(graph), set())
        new = self._batch not in compared and len(compared) < 2
        compared.add(self._batch)
        return new or super()._is_due(graph)

    def _value(self, values: list[Tensor]) -> Tensor:
        return values[0]
