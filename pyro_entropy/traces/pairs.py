"""A pair of a model and a guide, run once: the one place where a user's pair is traced.

What must hold for every look at a pair stands here: the host's own way of running it, for guides
that are messengers too, evaluation mode, one subsample for several draws.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import pyro
import torch
from pyro import poutine
from pyro.infer.enum import get_importance_trace
from pyro.poutine import Trace
from pyro.poutine.guide import GuideMessenger
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from entropy_core.traces.sites import ONE_AT_A_TIME, Pair, not_reparameterised
from pyro_entropy.entropies.wrappers import unwrapped
from pyro_entropy.traces.sites import (
    Site,
    deterministic_sites,
    draws_rows,
    sample_sites,
    subsamples,
)

NO_LIMIT = float("inf")

# What sites are held at: a value, or a site of another look with its draw.
Values = Mapping[str, Tensor | Site]


class Look(NamedTuple):
    """The sites of a guide that was run alone, and the rows that its plates have drawn."""

    sites: dict[str, Site]
    rows: dict[str, Tensor]


def trace_pair(
    model: Callable,
    guide: Callable,
    args: tuple = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    max_plate_nesting: int | float = NO_LIMIT,
    values: Values | None = None,
) -> Pair:
    """Runs the guide, and the model at its draws, as the host's own objectives do.

    Args:
        model: The model.
        guide: The guide, a function or a messenger.
        args: The arguments of both.
        kwargs: Their keyword arguments.
        max_plate_nesting: How many dimensions plates may take, as in `pyro.infer.ELBO`.
        values: What some sites are held at, such as `rows` of another pair.
    """
    if values:
        model, guide = holding(model, values), holding(guide, values)
    _forget_casts()
    with ONE_AT_A_TIME, _Rows() as seen:
        model_trace, guide_trace = get_importance_trace(
            "flat", max_plate_nesting, model, guide, args, kwargs or {}
        )
    pair = _pair_of(model_trace, guide_trace, seen.rows)
    return replace(pair, drawing_rows=frozenset(seen.drawing))


def _forget_casts() -> None:
    """Lets `torch.autocast` around a loop see what parameters have become.

    It casts each of them once, until its outermost block ends: steps would go on with the weights
    of the first one.
    """
    torch.clear_autocast_cache()


def pair_of(model_trace: Trace, guide_trace: Trace) -> Pair:
    """The pair of a guide's trace and the model's trace that was replayed against it."""
    rows = subsamples(guide_trace) | subsamples(model_trace)
    return _pair_of(model_trace, guide_trace, rows)


def trace_guide(
    guide: Callable,
    args: tuple,
    kwargs: Mapping[str, Any] | None = None,
    *,
    values: Values | None = None,
) -> Look:
    """Runs the guide alone; the arguments are those of `trace_pair`."""
    held, messenger = holding(guide, values or {}), poutine.unwrap(guide)
    with _Rows() as seen:
        if isinstance(messenger, GuideMessenger):
            held(*args, **(kwargs or {}))
            trace = messenger.get_traces()[1]
        else:
            trace = poutine.trace(held).get_trace(*args, **(kwargs or {}))
    return Look(sample_sites(trace), seen.rows)


def trace_model(
    model: Callable,
    args: tuple,
    kwargs: Mapping[str, Any] | None = None,
    *,
    values: Values,
) -> dict[str, Site]:
    """Runs the model alone, its latent sites held at `values`; see `trace_pair`."""
    return sample_sites(poutine.trace(holding(model, values)).get_trace(*args, **(kwargs or {})))


def simulate(
    model: Callable, args: tuple, kwargs: Mapping[str, Any] | None = None
) -> dict[str, Site]:
    """Runs the model alone without its observations: latents and data are drawn."""
    trace = poutine.trace(poutine.uncondition(model)).get_trace(*args, **(kwargs or {}))
    return sample_sites(trace)


def run_pair(
    model: Callable, guide: Callable, args: tuple, kwargs: Mapping[str, Any] | None = None
) -> Pair:
    """Runs a pair that need not be right yet: nothing is checked, and no density computed.

    The guide may lack sites that only the model enumerates, and data may be outside of their
    support.
    """
    with pyro.validation_enabled(False), _Rows() as seen:
        drawn = trace_guide(guide, args, kwargs)
        model_sites = trace_model(model, args, kwargs, values={**drawn.rows, **drawn.sites})
    rows, drawing = drawn.rows, frozenset(seen.drawing)
    return Pair(model_sites, drawn.sites, rows=rows, drawing_rows=drawing)


def check_reparameterised(guide: Mapping[str, Site]) -> None:
    """Refuses a guide whose draws have no gradient.

    Args:
        guide: The guide's sites.

    Raises:
        NotImplementedError: If a site that is not enumerated has no reparameterised draws.
    """
    for name, site in guide.items():
        drawn = not site.is_observed and site.enumerate_dim is None
        if drawn and not site.fn.has_rsample:
            raise NotImplementedError(not_reparameterised(name, type(unwrapped(site.fn)).__name__))


@contextmanager
def reading_params() -> Iterator[dict[str, Tensor]]:
    """Collects the unconstrained parameters that runs inside read from Pyro's store, by name."""
    found: dict[str, Tensor] = {}
    _forget_casts()
    with poutine.trace(param_only=True) as capture:
        yield found
    nodes: dict[str, Any] = capture.trace.nodes
    found.update((name, message["value"].unconstrained()) for name, message in nodes.items())


def leaves_of(pair: Pair) -> list[Tensor]:
    """The tensors with `requires_grad` that the densities and draws of a pair depend on."""
    sites = [*pair.model.values(), *pair.guide.values()]
    outputs = [t for s in sites for t in (s.log_prob, s.value) if t.requires_grad]
    leaves = {id(t): t for t in outputs if t.grad_fn is None}
    nodes: list[Any] = [t.grad_fn for t in outputs if t.grad_fn is not None]
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        # The last node before a leaf has the leaf itself.
        if hasattr(node, "variable"):
            leaves[id(node.variable)] = node.variable
        following = {n for n, _ in node.next_functions if n is not None} - seen
        seen |= following
        nodes += following
    return list(leaves.values())


def _pair_of(model_trace: Trace, guide_trace: Trace, rows: Mapping[str, Tensor]) -> Pair:
    return Pair(
        model=sample_sites(model_trace),
        guide=sample_sites(guide_trace),
        deterministic=tuple(deterministic_sites(model_trace)),
        rows=rows,
    )


class _Rows(Messenger):
    """Keeps the rows that subsampling plates draw, which the host's own traces drop."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, Tensor] = {}
        self.drawing: set[str] = set()

    def _process_message(self, msg: Any) -> None:
        # Nothing to do, for each parameter of a net too.
        return

    def _postprocess_message(self, msg: Any) -> None:
        if msg["type"] == "sample" and site_is_subsample(msg):
            self.rows.setdefault(msg["name"], msg["value"])
            if draws_rows(msg):
                self.drawing.add(msg["name"])


class _Held(Messenger):
    """Holds sites at given values, as `poutine.replay` does, in guides that are messengers too.

    Such a guide keeps the prior of a site in its `infer`: that of this run, not of another one.
    """

    def __init__(self, values: Values) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: Any) -> None:
        held = self.values.get(msg["name"])
        if held is None or msg["is_observed"]:
            return
        if isinstance(held, Site):
            # What enumeration has noted of the draw goes with it.
            prior = {"prior": msg["infer"]["prior"]} if "prior" in msg["infer"] else {}
            held, msg["infer"] = held.value, {**held.message["infer"], **prior}
        msg["value"], msg["done"] = held, True


def holding(fn: Callable, values: Values) -> Callable:
    """A model or guide whose sites are held at `values`."""
    return _Held(values)(fn) if values else fn
