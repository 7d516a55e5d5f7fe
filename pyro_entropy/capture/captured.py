"""A loss and its gradients, replayed from a graph once a form of arguments has been seen."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pyro.infer import ELBO
from pyro.util import warn_if_nan
from torch import Tensor

from entropy_core.checks import check_objective, check_positive_int
from entropy_core.traces.sites import ONE_AT_A_TIME
from pyro_entropy.capture.calls import Call, Watch, call_of
from pyro_entropy.capture.graphs import NotCaptured, graph_of
from pyro_entropy.capture.losses import Runs, mean_of, noting, plain_run, runs_of
from pyro_entropy.capture.replays import Buffers, Grads, Outputs, Replay, equal, without_grads
from pyro_entropy.elbos.base import Capturable
from pyro_entropy.traces.modes import RandomState, keeping_random_state

# With more forms of arguments, a number among them changes all the time.
MOST_FORMS = 32

# So many graphs are kept of a form, for states of what is in reach; to make more of them is of use
# where those before have been called so many times.
MOST_STATES, WORTH = 8, 50


@dataclass
class Captures:
    """What has become of the steps of a loss.

    Args:
        num_replayed: How many were replayed from a graph.
        num_plain: How many were run as they are.
        reasons: Why arguments of some form have no graph, each once.

    Example:
        >>> print(Captures(98, 2))
        98 of 100 steps replayed from a graph
    """

    num_replayed: int = 0
    num_plain: int = 0
    reasons: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line of words."""
        total = self.num_replayed + self.num_plain
        counts = f"{self.num_replayed} of {total} steps replayed from a graph"
        return "; not captured: ".join([counts, *self.reasons])


class CapturedLoss:
    """A loss and its gradients, replayed from a graph of the host's tensor operations.

    The first calls of a form run the model as it is. Then the loss and its gradients are traced
    once, through model and guide, by `torch.fx.experimental.proxy_tensor.make_fx`, and replayed
    from there on: the operations are the same, and so are the numbers, but no Python of the model
    runs. A form is that of the arguments (shapes, types, plain values), of the modes and plain
    values that model and guide have in reach, and of the parameters in Pyro's store.

    Each graph is compared with the untraced loss, in the same random state, at its first two calls
    and then again and again. Where they differ, or where no graph can stand for a model, the loss
    is run as it is, and `captures` says why.

    Args:
        loss: The objective, the host's or one of this package.
        model: The model.
        guide: The guide.
        after: How many calls of a form are run as they are first; `None` runs all so.
        check_every: The number of calls after which a graph is compared again.

    Raises:
        TypeError: If `loss` is no objective.
        ValueError: If a number is no positive integer.
    """

    def __init__(
        self,
        loss: ELBO,
        model: Callable,
        guide: Callable,
        *,
        after: int | None = 1,
        check_every: int = 500,
    ) -> None:
        if after is not None:
            check_positive_int(after, "after")
        check_positive_int(check_every, "check_every")
        check_objective(loss, "loss_and_grads")
        self.after, self.check_every = after, check_every
        self.loss, self.model, self.guide = loss, model, guide
        self.captures = Captures()
        # How many calls a form has had, by a text that a restart does not change.
        self.num_calls: dict[str, int] = {}
        # What the objective notes of the last call, of shape `(k,)`; none where it notes nothing.
        self.notes: list[Tensor] = []
        self._replays: dict[tuple, list[Replay]] = {}
        self._refused: set[tuple] = set()
        self._grads = Grads()

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Tensor]]:
        """The loss and the parameters by name; gradients are left there as by `loss_and_grads`."""
        with ONE_AT_A_TIME:
            replayed = None if self.after is None else self._replayed(args, kwargs)
            if replayed is None:
                self.captures.num_plain += 1
                self._grads.put_back()
                return self._plain(args, kwargs)
            graph, outputs = replayed
            self.captures.num_replayed += 1
            self._grads.put_back(graph.untrained)
            graph.leave(outputs.grads)
            return self._value(outputs.values), graph.params

    def drop_grads(self, params: Iterable[Tensor]) -> None:
        """Takes the gradients of a step away, in place of the host's `zero_grads`."""
        self._grads.take(params)

    def _plain(self, args: tuple, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Tensor]]:
        with noting(self.loss) as notes:
            found = plain_run(self.loss, self.model, self.guide, args, kwargs)
        self.notes = mean_of(notes)
        return found

    def _runs(self) -> Runs:
        return runs_of(self.loss, self.model, self.guide)

    def _is_worth(self, call: Call) -> bool:
        """Whether a form of arguments has been seen often enough for a graph."""
        return self.num_calls[call.text] > (self.after or 0)

    def _is_due(self, graph: Replay, call: Call) -> bool:
        """Whether a graph is to be compared with what it was traced from."""
        return graph.num_calls <= 2 or graph.num_calls % self.check_every == 0

    def _replayed(self, args: tuple, kwargs: dict[str, Any]) -> tuple[Replay, Outputs] | None:
        """A graph and what it gives; `None` where the loss is to be run as it is."""
        try:
            call = self._counted(args, kwargs)
        except NotCaptured as reason:
            self._note(str(reason))
            return None
        if call.form in self._refused or not self._is_worth(call):
            return None
        try:
            graph = self._graph_of(call)
            graph.num_calls += 1
            due = self._is_due(graph, call)
            outputs = self._checked(graph, call) if due else graph(call)
            if outputs is None and graph.is_missed():
                raise NotCaptured(f"numbers that Python takes change{graph.traced.where}")
        except NotCaptured as reason:
            self._refused.add(call.form)
            self._replays.pop(call.form, None)
            self._note(str(reason))
            return None
        return None if outputs is None else (graph, outputs)

    def _counted(self, args: tuple, kwargs: dict[str, Any]) -> Call:
        call = call_of(args, kwargs)
        if call.text not in self.num_calls and len(self.num_calls) >= MOST_FORMS:
            what = "a number that changes has to be a tensor"
            raise NotCaptured(f"more than {MOST_FORMS} forms of arguments: {what}")
        self.num_calls[call.text] = self.num_calls.get(call.text, 0) + 1
        return call

    def _graph_of(self, call: Call) -> Replay:
        known = self._replays.setdefault(call.form, [])
        found = next((graph for graph in known if graph.why_stale() is None), None)
        if found is not None:
            return found
        if len(known) == MOST_STATES:
            if sum(graph.num_calls for graph in known) < WORTH * MOST_STATES:
                raise NotCaptured(f"{known[-1].why_stale()} changes again and again")
            known.pop(0)
        known.append(self._traced(call))
        return known[-1]

    def _traced(self, call: Call) -> Replay:
        runs = self._runs()
        watch = Watch(self.model, self.guide, self.loss)
        found: list[Any] = []

        def function(*tensors: Tensor) -> list[Tensor]:
            values, params = runs.traceable(*call.args_with(tensors))
            # One that has two names has one gradient.
            grads = {id(tensor): (tensor, tensor.grad) for tensor in params.values()}
            both = [(tensor, grad) for tensor, grad in grads.values() if grad is not None]
            found[:] = [len(values), params, [tensor for tensor, _ in both]]
            return [*values, *(grad for _, grad in both)]

        buffers = Buffers(self.model, self.guide)
        with keeping_random_state(), without_grads():
            try:
                traced = graph_of(function, call.tensors)
            finally:
                buffers.put_back()
        watch.drop_results()
        changed = watch.changed()
        if changed is not None:
            raise NotCaptured(f"each call changes `{changed}`")
        num_values, params, trained = found
        fns = (self.model, self.guide)
        return Replay(traced, runs.untraced, num_values, params, trained, watch, fns)

    def _checked(self, graph: Replay, call: Call) -> Outputs | None:
        """What a graph gives, compared with the untraced loss.

        Raises:
            NotCaptured: If they differ; then nothing has changed.
        """
        buffers = Buffers(self.model, self.guide)
        with keeping_random_state(), without_grads():
            values, params = graph.untraced(*call.args_with(call.tensors))
            grads = {name: tensor.grad for name, tensor in params.items()}
        moved, state = buffers.put_back(), RandomState()
        found = graph(call)
        if found is None:
            return None
        own = dict(zip(map(id, graph.trained), found.grads, strict=True))
        agree = (
            params.keys() == graph.params.keys()
            and all(equal(grads[name], own.get(id(t))) for name, t in graph.params.items())
            and all(map(equal, values, found.values))
            and all(map(equal, moved, buffers.tensors))
        )
        if agree:
            return found
        buffers.put_back()
        state.put_back()
        raise NotCaptured(f"the graph differs from the loss at call {graph.num_calls}")

    def _value(self, values: list[Tensor]) -> Any:
        if isinstance(self.loss, Capturable):
            values, self.notes = values[:1], values[1:]
        found = [value.item() for value in values]
        for tensor in values:
            warn_if_nan(tensor, "loss")
        if isinstance(self.loss, Capturable):
            self.loss.check_loss(found[0])
        return found[0] if len(found) == 1 else tuple(found)

    def _note(self, reason: str) -> None:
        if reason not in self.captures.reasons:
            self.captures.reasons.append(reason)
