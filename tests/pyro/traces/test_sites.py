"""What is read off a site under masks, and why some sites have no weights."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from scipy.stats import norm
from torch.testing import assert_close

from pyro_entropy import EntropySumDiagnostic
from pyro_entropy.traces.enumerated import SEVERAL_DRAWS, enumerating
from pyro_entropy.traces.pairs import trace_pair
from pyro_entropy.traces.terms import all_terms
from tests.support.helpers import normal_entropy

# Sums of a few terms in float32.
SINGLE = 1e-5
X = torch.tensor([0.3, -0.4, 1.2, 0.8])
SHOWN = torch.tensor([True, False, True, True])
ENTRIES = torch.tensor([[True, True, False], [True] * 3, [False] * 3, [False, True, True]])


def nothing():
    """A guide of a model without latent sites."""


def entries_under_a_mask(handler):
    def model():
        with pyro.plate("data", 4), poutine.mask(mask=SHOWN if handler else True):
            fn = dist.Normal(0.0, torch.ones(4, 3)).mask(ENTRIES).to_event(1)
            pyro.sample("x", fn, obs=torch.zeros(4, 3))

    return model


@pytest.mark.parametrize("handler", [False, True])
def test_entries_that_no_mask_hides_are_counted(handler):
    (record,) = all_terms(trace_pair(entries_under_a_mask(handler), nothing)).records
    shown = ENTRIES & SHOWN[:, None] if handler else ENTRIES
    assert record.num_elements == 12
    assert record.num_observed == shown.sum()
    assert_close(record.entropy, (shown * normal_entropy(1.0)).sum(1).to(record.entropy.dtype))


def mixture_under_a_mask():
    parts = dist.Categorical(torch.ones(2)), dist.Normal(torch.tensor([-1.0, 1.0]), 1.0)
    with pyro.plate("data", 4), poutine.mask(mask=SHOWN):
        pyro.sample("x", dist.MixtureSameFamily(*parts), obs=torch.zeros(4))


def test_sampled_entropies_are_zero_where_a_handlers_mask_hides_them():
    (record,) = all_terms(trace_pair(mixture_under_a_mask, nothing)).records
    assert record.entropy_method == "sampled"
    assert ((record.entropy != 0) == SHOWN).all()


def label_under_a_mask():
    with pyro.plate("data", 4), poutine.mask(mask=SHOWN):
        z = pyro.sample("z", dist.Bernoulli(0.3), infer={"enumerate": "parallel"})
        pyro.sample("x", dist.Normal(z, 1.0), obs=X)


def test_a_hidden_label_is_summed_over_as_by_the_host():
    report = EntropySumDiagnostic(label_under_a_mask, nothing, num_particles=1).run([()])
    host = TraceEnum_ELBO(max_plate_nesting=1).loss(label_under_a_mask, nothing)
    density = 0.7 * norm.pdf(X) + 0.3 * norm.pdf(X - 1)
    assert -host == pytest.approx(np.log(density)[SHOWN].sum(), rel=SINGLE)
    assert 4 * report["elbo"] == pytest.approx(-host, rel=SINGLE)


def several_draws():
    every = {"enumerate": "parallel", "num_samples": 5}
    with pyro.plate("data", 4):
        z = pyro.sample("z", dist.Bernoulli(0.3), infer=every)
        pyro.sample("x", dist.Normal(z, 1.0), obs=torch.zeros(4))


def several_draws_guide():
    every = {"enumerate": "parallel", "num_samples": 5}
    with pyro.plate("data", 4):
        pyro.sample("z", dist.Bernoulli(0.6), infer=every)


def test_several_draws_at_once_are_left_out_with_the_reason():
    model, guide, nesting = enumerating(several_draws, several_draws_guide, ())
    pair = all_terms(trace_pair(model, guide, max_plate_nesting=nesting))
    assert dict(pair.untreated)["z"] == SEVERAL_DRAWS


def test_one_draw_is_treated_whatever_the_site_asks_for():
    """As in traces that no handler of enumeration has made."""
    guide_trace = poutine.trace(several_draws_guide).get_trace()
    model_trace = poutine.trace(poutine.replay(several_draws, guide_trace)).get_trace()
    report = EntropySumDiagnostic(several_draws, several_draws_guide, closed_form=False)
    found = report.from_traces(model_trace, guide_trace)
    wanted = model_trace.log_prob_sum() - guide_trace.log_prob_sum()
    assert 4 * found["elbo"] == pytest.approx(wanted.item(), rel=SINGLE)
    assert SEVERAL_DRAWS not in found.untreated.get("z", "")
