"""The same report of a pair in whatever style it is written and looked at; nothing is moved."""

from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import random
from numpyro import handlers
from numpyro.primitives import _PYRO_STACK

from numpyro_entropy import EntropySumDiagnostic
from numpyro_entropy.params import params_of
from tests.numpyro.traces.forms import FORMS
from tests.numpyro.traces.styled import net_of
from tests.support.helpers import mostly
from tests.support.styles import (
    PLAIN,
    Again,
    Graph,
    Plan,
    as_said,
    assert_same_look,
    batches_of,
    plan_of,
)

ARGUMENTS = ["positional", "keyword", "reversed keywords", "mixed", "one and keywords", "list"]
ARGUMENTS += ["again"]
NETS = ["none", "nnx", "linen"]
KEY = random.key(0)
NUMBERS = {"slope": jnp.asarray(0.7), "spread": jnp.asarray(0.9), "label_scale": jnp.asarray(1.7)}


def said(batches, arguments):
    if arguments == "again":
        return Again([as_said(batch, "positional") for batch in batches])
    return [as_said(batch, arguments) for batch in batches]


def params_of_graph(graph: Graph):
    """Parameters far from their first values, with the state of nets."""
    net = net_of(graph)
    if net is None:
        return NUMBERS
    if graph.net == "nnx":
        net.eval()
    guide = handlers.seed(FORMS["function"](graph, net)[1], KEY)
    return params_of(handlers.trace(guide).get_trace(**batches_of(graph, PLAIN)[0])) | NUMBERS


def state_of(net, params):
    """All that a look may not move: arrays, and what is none."""
    modules = [] if not isinstance(net, nnx.Module) else nnx.iter_modules(net)
    flags = [
        (path, flag, getattr(module, flag))
        for path, module in modules
        for flag in ("deterministic", "use_running_average")
        if hasattr(module, flag)
    ]
    arrays = [params, nnx.state(net) if isinstance(net, nnx.Module) else {}]
    leaves, structure = jax.tree.flatten(arrays)
    leaves = [
        random.key_data(v) if jnp.issubdtype(v.dtype, jax.dtypes.prng_key) else v for v in leaves
    ]
    return [np.array(leaf) for leaf in leaves], (structure, flags, list(_PYRO_STACK))


def assert_unmoved(after, before):
    assert after[1] == before[1]
    for left, right in zip(after[0], before[0], strict=True):
        np.testing.assert_array_equal(left, right)


def look(plan: Plan, style, params):
    """The report of a pair in a style, of which nothing is moved."""
    net = net_of(plan.graph)
    model, guide = FORMS[style.form](plan.graph, net)
    batches = [jax.tree.map(jnp.asarray, batch) for batch in batches_of(plan.graph, style)]
    if isinstance(net, nnx.Module):
        net.train() if style.mode != "eval" else net.eval()
        net.norm.use_running_average = style.mode != "train"
    before = state_of(net, params)
    diagnostic = EntropySumDiagnostic(model, guide, num_particles=1, closed_form=plan.closed_form)
    with nullcontext() if style.jit else jax.disable_jit():
        if style.merged and len(batches) > 1 and not plan.explain:
            sums = diagnostic.accumulate(KEY, params, said(batches[:1], style.arguments))
            sums.merge(diagnostic.accumulate(KEY, params, said(batches[1:], style.arguments)))
            report = diagnostic.report(sums)
        else:
            data = said(batches, style.arguments)
            report = diagnostic.run(KEY, params, data, explain=plan.explain)
    assert_unmoved(state_of(net, params), before)
    return report


def check(seed: int, *, may_explain: bool = True) -> None:
    plan = plan_of(seed, list(FORMS), ARGUMENTS, NETS)
    plan = plan._replace(explain=plan.explain and may_explain)
    params = params_of_graph(plan.graph)
    found, wanted = (look(plan, style, params) for style in (plan.style, PLAIN))
    assert_same_look(found, wanted, explain=plan.explain)


# Each style compiles; Pyro's side has more of them.
@pytest.mark.parametrize("seed", mostly(range(100), range(12)))
def test_any_style(seed):
    # Gradients take most of the time, and are with the many.
    check(seed, may_explain=False)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 2000, 50))
def test_any_of_many_styles(first):
    for seed in range(first, first + 50):
        if seed % 100 == 99:
            # A process can hold so many compiled functions and no more.
            jax.clear_caches()
        check(seed)
