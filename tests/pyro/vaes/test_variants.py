"""Every variant and part over one table."""

import numpy as np
import pyro
import pytest
import torch
from pyro.poutine import replay, trace

import pyro_entropy
from pyro_entropy import Standard_ELBO
from pyro_entropy.entropies.estimate import closed_entropy
from tests.support.cases import CASES, observations
from tests.support.helpers import B, H, assert_within_errors

TABLE = pytest.mark.parametrize("name", CASES)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def made(name, dtype=torch.float32):
    case = CASES[name]
    vae = case.make(pyro_entropy, dtype)
    return case, vae, torch.tensor(observations(case.kind), dtype=dtype)


@TABLE
@DTYPES
def test_shapes_sites_and_float_types(name, dtype):
    _, vae, x = made(name, dtype)
    guide_trace = trace(vae.guide).get_trace(x)
    model_trace = trace(replay(vae.model, trace=guide_trace)).get_trace(x)
    model_trace.compute_log_prob()
    sites = {n for n, s in model_trace.nodes.items() if s["type"] == "sample" and n != "data"}
    assert sites == {"z", "x"}
    for node in (guide_trace.nodes["z"], model_trace.nodes["z"], model_trace.nodes["x"]):
        assert [frame.name for frame in node["cond_indep_stack"]] == ["data"]
        assert node["value"].dtype == dtype
        assert node["fn"].batch_shape == (B,)
    for site in ("z", "x"):
        log_prob = model_trace.nodes[site]["log_prob"]
        assert log_prob.shape == (B,)
        assert log_prob.dtype == dtype
        assert torch.isfinite(log_prob).all()
    assert guide_trace.nodes["z"]["value"].shape == (B, H)
    assert vae.encode(x).mean.shape == (B, H)
    # Vectorised particles put a dimension in front.
    decoded = vae.decode(torch.zeros(2, B, H, dtype=dtype))
    assert (decoded.batch_shape, decoded.event_shape) == ((2, B), x.shape[1:])
    assert {p.dtype for p in vae.parameters()} == {dtype}


@TABLE
@DTYPES
def test_gradients_reach_every_parameter_and_a_step_lowers_the_loss(name, dtype):
    _, vae, x = made(name, dtype)
    elbo, losses = Standard_ELBO(), []
    for _ in range(2):
        pyro.set_rng_seed(0)
        losses.append(elbo.differentiable_loss(vae.model, vae.guide, x))
        losses[-1].backward()
        with torch.no_grad():
            for parameter in vae.parameters():
                assert parameter.grad.abs().max() > 0
                parameter -= 1e-4 * parameter.grad
    assert losses[1] < losses[0]


@TABLE
def test_draws_are_in_the_support(name):
    case, vae, x = made(name)
    for draws in (vae.generate(50), vae.generate(50, mean=True), vae.reconstruct(x)):
        assert draws.shape[1:] == x.shape[1:]
        assert draws.dtype == x.dtype
    support = vae.decoder.support
    assert support.check(vae.generate(50)).all()
    assert support.check(x).all()
    if case.kind != "real" and case.kind != "images":
        assert not support.check(torch.full_like(x, -0.3)).any()


@TABLE
def test_weights_round_trip(name, tmp_path):
    case, vae, x = made(name)
    other = case.make(pyro_entropy, torch.float32)
    vae.save_weights(tmp_path / "vae.safetensors")
    other.load_weights(tmp_path / "vae.safetensors")
    assert torch.equal(vae.encode(x).mean, other.encode(x).mean)
    assert vae.get_weights().keys() == other.get_weights().keys()
    double = case.make(pyro_entropy, torch.float64).load_weights(tmp_path / "vae.safetensors")
    for key, weight in double.get_weights().items():
        assert weight.dtype == np.float64
        np.testing.assert_array_equal(weight, vae.get_weights()[key])


@TABLE
def test_entropies_are_those_of_draws(name):
    case, vae, _ = made(name, torch.float64)
    with torch.no_grad():
        for site, fn in (("z", vae.prior()), ("x", vae.decode(torch.randn(1, H).double()))):
            entropy = closed_entropy(fn)
            assert (entropy is None) == (site in case.sampled)
            if entropy is not None:
                num_draws = 200_000 if case.kind != "images" else 10_000
                draws = fn.sample((num_draws,))
                assert_within_errors(-fn.log_prob(draws).reshape(-1), entropy.item())


@TABLE
def test_the_report_says_where_it_samples(name):
    case, vae, x = made(name)
    sites = pyro_entropy.EntropySumDiagnostic(vae.model, vae.guide, num_particles=1).run(x).sites()
    methods = {"z": sites.loc["prior z", "entropy_method"]}
    methods["x"] = sites.loc["decoder x", "entropy_method"]
    assert {site for site, method in methods.items() if method == "sampled"} == case.sampled
