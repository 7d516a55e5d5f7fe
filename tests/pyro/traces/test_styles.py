"""The same report of a pair in whatever style it is written and looked at; nothing is moved."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from pyro.poutine.runtime import _PYRO_STACK
from torch.nn.modules import module as torch_modules

from pyro_entropy import EntropySumDiagnostic
from tests.pyro.traces.forms import FORMS, loader
from tests.pyro.traces.styled import D64, Net
from tests.support.helpers import mostly
from tests.support.styles import PLAIN, Again, Plan, as_said, assert_same_look, batches_of, plan_of

ARGUMENTS = ["positional", "keyword", "reversed keywords", "mixed", "one and keywords", "list"]
ARGUMENTS += ["again", "loader"]
NETS = ["none", "module", "method"]


def tensors(batch):
    return {name: torch.as_tensor(array) for name, array in batch.items()}


def said(batches, arguments):
    if arguments == "loader":
        return loader(batches, "keyword")
    if arguments == "again":
        return Again([as_said(batch, "positional") for batch in batches])
    return [as_said(batch, arguments) for batch in batches]


def set_modes(net, mode):
    net.train(mode != "eval")
    if mode == "mixed":
        net.layers[1].eval()


def state_of(modules):
    """All that a look may not move: tensors, and what is none."""
    store = pyro.get_param_store()
    tensors = {("random", ""): torch.get_rng_state()}
    tensors |= {("weight", n): v for m in modules for n, v in m.state_dict().items()}
    tensors |= {("store", n): value for n, value in store.items()}
    parameters = [*store.named_parameters(), *(p for m in modules for p in m.named_parameters())]
    tensors |= {("gradient", n): p.grad for n, p in parameters}
    others = {
        "modes": {name: part.training for m in modules for name, part in m.named_modules()},
        "stack": list(_PYRO_STACK),
        "hooks": dict(torch_modules._global_forward_pre_hooks),
        "settings": (torch.is_grad_enabled(), torch.get_default_dtype()),
    }
    return {name: t if t is None else t.detach().clone() for name, t in tensors.items()}, others


def assert_unmoved(after, before):
    assert after[0].keys() == before[0].keys()
    for name, value in before[0].items():
        same = after[0][name] is None if value is None else torch.equal(after[0][name], value)
        assert same, name
    for name, value in before[1].items():
        assert after[1][name] == value, name


def look(plan: Plan, style):
    """The report of a pair in a style, of which nothing is moved."""
    graph = plan.graph
    pyro.clear_param_store()
    for name, value in (("slope", 0.7), ("spread", 0.9), ("label_scale", 1.7)):
        constraint = dist.constraints.real if name == "slope" else dist.constraints.positive
        pyro.param(name, torch.tensor(value, dtype=D64), constraint=constraint)
    net = None if graph.net == "none" else Net(graph)
    model, guide = FORMS[style.form](graph, net)
    batches = [tensors(batch) for batch in batches_of(graph, style)]
    modules = [net] if net is not None else []
    modules += [m for m in (model, guide, getattr(model, "__self__", None)) if is_module(m)]
    for module in modules:
        module.eval()
    # As in training, the store has all that the pair asks it for.
    for batch in batches:
        Trace_ELBO().loss(model, guide, **batch)
    for module in modules:
        module.train(style.mode != "eval")
        if style.mode == "mixed" and net is not None:
            net.layers[1].eval()
    for i, parameter in enumerate(p for m in modules for p in m.parameters()):
        parameter.grad = torch.ones_like(parameter) if i % 2 else None
    before = state_of(modules)
    diagnostic = EntropySumDiagnostic(model, guide, num_particles=1, closed_form=plan.closed_form)
    options = {"explain": True} if plan.explain else {}
    if style.merged and len(batches) > 1 and not plan.explain:
        sums = diagnostic.accumulate(said(batches[:1], style.arguments))
        sums.merge(diagnostic.accumulate(said(batches[1:], style.arguments)))
        report = diagnostic.report(sums)
    else:
        report = diagnostic.run(said(batches, style.arguments), **options)
    assert_unmoved(state_of(modules), before)
    return report


def is_module(fn):
    return isinstance(fn, torch.nn.Module)


def check(seed: int) -> None:
    plan = plan_of(seed, list(FORMS), ARGUMENTS, NETS)
    assert_same_look(look(plan, plan.style), look(plan, PLAIN), explain=plan.explain)


# The first ones have all forms, arguments, nets and modes.
@pytest.mark.parametrize("seed", mostly(range(100), range(40)))
def test_any_style(seed):
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 2000, 50))
def test_any_of_many_styles(first):
    for seed in range(first, first + 50):
        check(seed)
