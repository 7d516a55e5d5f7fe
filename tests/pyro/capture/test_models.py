"""Steps that are replayed from a graph, on models as users of Pyro write them."""

import pyro
import pytest
import torch
from pyro import optim
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO

from entropy_core.arguments import Arguments
from pyro_entropy import CapturedSVI
from tests.pyro.host_examples_table import EXAMPLES
from tests.pyro.tutorials import TUTORIALS
from tests.support.helpers import mostly

pytestmark = [
    pytest.mark.filterwarnings("ignore:TraceEnum_ELBO found no sample sites"),
    pytest.mark.filterwarnings("ignore:Found vars in model but not guide"),
]

NAMES = [*TUTORIALS, *EXAMPLES]
# Each of its sites is named by a row that a plate has drawn.
NOT_CAPTURED = {"sequential subsample": "numbers that Python takes change"}
CHEAP = {
    "vae",
    "non-centred schools",
    "mixture",
    "semi-supervised, sampled",
    "coin flips",
    "BatchNorm",
    "labels, some missing",
    "EasyGuide",
    "sequential subsample",
    "AutoNormalMessenger",
}


def made(name):
    pyro.clear_param_store()
    pyro.set_rng_seed(1)
    if name in TUTORIALS:
        tutorial = TUTORIALS[name]
        nesting = tutorial.plates
        host = Trace_ELBO() if nesting is None else TraceEnum_ELBO(max_plate_nesting=nesting)
        return tutorial.make(), [Arguments(tutorial.data())], host
    example = EXAMPLES[name]
    return example.make(), [Arguments.of(batch) for batch in example.batches()], example.host()


def trained(kind, name, num_steps, **options):
    (model, guide), calls, loss = made(name)
    # Each parameter moves by its gradient, so that one that differs is seen.
    svi = kind(model, guide, optim.SGD({"lr": 1e-4}), loss, **options)
    losses = [svi.step(*call.args, **call.kwargs) for _ in range(num_steps) for call in calls]
    params = pyro.get_param_store().named_parameters()
    return svi, losses, {key: param.detach().clone() for key, param in params}


@pytest.mark.parametrize("name", mostly(NAMES, CHEAP))
def test_losses_and_gradients_are_those_of_the_host_bit_for_bit(name):
    num_steps = 25 if name in NOT_CAPTURED else 4
    svi, losses, params = trained(CapturedSVI, name, num_steps, check_every=1)
    _, host_losses, host_params = trained(SVI, name, num_steps)
    assert losses == host_losses
    for key, param in host_params.items():
        # A fused step rounds in its own way.
        assert torch.allclose(params[key], param, rtol=1e-5, atol=1e-7), key
    if name in NOT_CAPTURED:
        (reason,) = svi.captures.reasons
        assert reason.startswith(NOT_CAPTURED[name])
    else:
        assert svi.captures.reasons == []
        assert svi.captures.num_replayed > 0
