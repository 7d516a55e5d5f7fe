"""The diagnostic on random model graphs: against the host, itself, and independent draws."""

from contextlib import ExitStack
from itertools import count

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from hypothesis import HealthCheck, given, settings
from jax import random
from numpyro.handlers import replay, seed, trace
from numpyro.infer import Trace_ELBO

from numpyro_entropy import EntropySumDiagnostic
from numpyro_entropy.traces.pairs import trace_pair
from numpyro_entropy.traces.terms import all_terms
from tests.support.graphs import COLUMNS, ROWS, WIDTH, Graph, graphs
from tests.support.helpers import PARITY, STANDARD_ERRORS

FAMILIES = {
    "Normal": lambda a, b: dist.Normal(a, b),
    "Laplace": lambda a, b: dist.Laplace(a, b),
    "StudentT": lambda a, b: dist.StudentT(4.0 + b, a, b),
    "Gamma": lambda a, b: dist.Gamma(jnp.exp(a), b),
    "LogNormal": lambda a, b: dist.LogNormal(a, b),
    "HalfCauchy": lambda a, b: dist.HalfCauchy(b * jnp.exp(a)),
    "Bernoulli": lambda a, b: dist.Bernoulli(logits=a * b),
    "Poisson": lambda a, b: dist.Poisson(b * jnp.exp(a)),
}
NORMAL = {"deadline": None, "derandomize": True, "max_examples": 5}
COUNT = count(1)
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large]


def pair(graph: Graph):
    """The model and the guide of a graph."""

    def run(latents_only):
        plates = {
            "rows": numpyro.plate("rows", graph.num_rows, subsample_size=ROWS, dim=-1),
            "columns": numpyro.plate("columns", COLUMNS, dim=-2),
        }
        values = []
        for i, node in enumerate(graph.nodes):
            observed = i == len(graph.nodes) - 1
            if observed and latents_only:
                continue
            family = node.guide_family if latents_only else node.family
            a, b = node.numbers[2:] if latents_only else node.numbers[:2]
            with ExitStack() as stack:
                for name in node.plates:
                    stack.enter_context(plates[name])
                stack.enter_context(numpyro.handlers.scale(scale=node.scale))
                shape = batch_shape(node)
                if node.mask == "handler":
                    stack.enter_context(numpyro.handlers.mask(mask=some(shape)))
                moved = a + sum(0.3 * jnp.tanh(values[j]) for j in node.parents)
                if node.event:
                    moved = jnp.broadcast_to(jnp.asarray(moved)[..., None], (*shape, WIDTH))
                fn = FAMILIES[family](jnp.asarray(moved), jnp.asarray(b))
                if node.event:
                    fn = fn.mask(some(fn.batch_shape)) if node.mask == "events" else fn
                    fn = fn.to_event(1)
                data = observation(family, fn, shape) if observed else None
                value = numpyro.sample(f"s{i}", fn, obs=data)
                values.append(value.sum(-1) if node.event else value)

    return (lambda: run(False)), (lambda: run(True))


def batch_shape(node):
    if "columns" in node.plates:
        return (COLUMNS, ROWS)
    return (ROWS,) if node.plates else ()


def some(shape):
    return jnp.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape) % 3 != 1)


def observation(family, fn, shape):
    shape = (*shape, *fn.event_shape)
    numbers = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    discrete = family in ("Bernoulli", "Poisson")
    return jnp.asarray(numbers % 2 if discrete else 0.3 + 0.5 * numbers)


def check(graph: Graph) -> None:
    key, (model, guide) = random.key(graph.seed), pair(graph)
    # The host's keys, so that the draws are those of its own objectives.
    model_key, guide_key = random.split(key)
    guide_trace = trace(seed(guide, guide_key)).get_trace()
    traces = trace(seed(replay(model, guide_trace), model_key)).get_trace(), guide_trace
    diagnostic = EntropySumDiagnostic(model, guide, data_plate="rows", closed_form=False)
    report = diagnostic.from_traces(*traces, rng_key=key)
    # A handler's scale is part of a loss, and never of a report.
    unscaled = graph._replace(nodes=tuple(n._replace(scale=1.0) for n in graph.nodes))
    host = -Trace_ELBO().loss(key, {}, *pair(unscaled)).item()
    sites = report.sites()
    size = graph.num_rows * max(abs(report["elbo"]), abs(report["entropy_sum"]))
    assert abs(graph.num_rows * report["elbo"] - host) <= PARITY * max(size, 1.0)
    for (_, row), node in zip(sites.groupby("site_name"), graph.nodes, strict=True):
        assert set(row["handler_scale"].astype(float)) == {node.scale}


@settings(**NORMAL, suppress_health_check=CHECKS)
@given(graphs())
def test_any_graph(graph):
    check(graph)


@pytest.mark.slow
@settings(deadline=None, max_examples=2000, suppress_health_check=CHECKS)
@given(graphs())
def test_any_of_many_graphs(graph):
    if next(COUNT) % 100 == 0:
        # A process can hold so many compiled functions and no more.
        jax.clear_caches()
    check(graph)


@settings(**NORMAL | {"max_examples": 2}, suppress_health_check=CHECKS)
@given(graphs())
def test_entropies_are_those_of_independent_draws(graph):
    key = random.key(graph.seed)
    traced = all_terms(trace_pair(key, {}, *pair(graph)), entropy_samples=2000, rng_key=key)
    for i, record in enumerate(traced.records):
        fn = (traced.guide if record.role == "encoder" else traced.model)[record.name].fn
        draws = -fn.log_prob(fn.sample(random.fold_in(key, 100 + i), (4000,)))
        draws = np.asarray(draws).reshape(4000, -1).sum(1)
        error = draws.std() * (1 / 4000 + 1 / 2000) ** 0.5
        if record.entropy_method == "closed form":
            assert abs(draws.mean() - record.entropy.sum()) <= STANDARD_ERRORS * error + PARITY
        elif record.role != "encoder":
            # A sampled one has errors of its own.
            assert abs(draws.mean() - record.entropy.sum()) <= 2 * STANDARD_ERRORS * error
