"""The diagnostic on random model graphs: against the host, itself, and independent draws."""

from contextlib import ExitStack

import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from pyro import poutine
from pyro.infer import Trace_ELBO

from pyro_entropy import EntropySumDiagnostic
from pyro_entropy.traces.pairs import trace_pair
from pyro_entropy.traces.terms import all_terms
from tests.support.graphs import COLUMNS, ROWS, WIDTH, Graph, graphs
from tests.support.helpers import PARITY, STANDARD_ERRORS

FAMILIES = {
    "Normal": lambda a, b: dist.Normal(a, b),
    "Laplace": lambda a, b: dist.Laplace(a, b),
    "StudentT": lambda a, b: dist.StudentT(4.0 + b, a, b),
    "Gamma": lambda a, b: dist.Gamma(a.exp(), b),
    "LogNormal": lambda a, b: dist.LogNormal(a, b),
    "HalfCauchy": lambda a, b: dist.HalfCauchy(b * a.exp()),
    "Bernoulli": lambda a, b: dist.Bernoulli(logits=a * b),
    "Poisson": lambda a, b: dist.Poisson(b * a.exp()),
}
NORMAL = {"deadline": None, "derandomize": True, "max_examples": 50}
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def pair(graph: Graph):
    """The model and the guide of a graph."""

    def run(latents_only):
        plates = {
            "rows": pyro.plate("rows", graph.num_rows, subsample_size=ROWS, dim=-1),
            "columns": pyro.plate("columns", COLUMNS, dim=-2),
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
                stack.enter_context(poutine.scale(scale=node.scale))
                shape = batch_shape(node)
                if node.mask == "handler":
                    stack.enter_context(poutine.mask(mask=some(shape)))
                moved = a + sum(0.3 * torch.tanh(values[j]) for j in node.parents)
                if node.event:
                    moved = torch.as_tensor(moved)[..., None].expand(*shape, WIDTH)
                fn = FAMILIES[family](torch.as_tensor(moved), torch.tensor(b))
                if node.event:
                    fn = fn.mask(some(fn.batch_shape)) if node.mask == "events" else fn
                    fn = fn.to_event(1)
                data = observation(family, fn, shape) if observed else None
                value = pyro.sample(f"s{i}", fn, obs=data)
                values.append(value.sum(-1) if node.event else value)

    return (lambda: run(False)), (lambda: run(True))


def batch_shape(node):
    if "columns" in node.plates:
        return (COLUMNS, ROWS)
    return (ROWS,) if node.plates else ()


def some(shape):
    return torch.arange(torch.Size(shape).numel()).reshape(shape) % 3 != 1


def observation(family, fn, shape):
    shape = (*shape, *fn.event_shape)
    numbers = torch.arange(torch.Size(shape).numel(), dtype=torch.float64).reshape(shape)
    return numbers % 2 if family in ("Bernoulli", "Poisson") else 0.3 + 0.5 * numbers


def check(graph: Graph) -> None:
    diagnostic = EntropySumDiagnostic(
        *pair(graph), data_plate="rows", num_particles=1, closed_form=False
    )
    pyro.set_rng_seed(graph.seed)
    report = diagnostic.run([()])
    pyro.set_rng_seed(graph.seed)
    # A handler's scale is part of a loss, and never of a report.
    unscaled = graph._replace(nodes=tuple(n._replace(scale=1.0) for n in graph.nodes))
    host = -Trace_ELBO().loss(*pair(unscaled))
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
    check(graph)


@settings(**NORMAL | {"max_examples": 30}, suppress_health_check=CHECKS)
@given(graphs())
def test_entropies_are_those_of_independent_draws(graph):
    model, guide = pair(graph)
    pyro.set_rng_seed(graph.seed)
    traced = all_terms(trace_pair(model, guide), entropy_samples=2000)
    for record in traced.records:
        site = (traced.guide if record.role == "encoder" else traced.model)[record.name]
        draws = -site.fn.log_prob(site.fn.sample((4000,)))
        if site.mask is not None:
            draws = draws * site.mask
        draws = draws.reshape(4000, -1).sum(1)
        error = draws.std().item() * (1 / 4000 + 1 / 2000) ** 0.5
        if record.entropy_method == "closed form":
            assert abs(draws.mean() - record.entropy.sum()) <= STANDARD_ERRORS * error + PARITY
        elif record.role != "encoder":
            # A sampled one has errors of its own.
            assert abs(draws.mean() - record.entropy.sum()) <= 2 * STANDARD_ERRORS * error
