"""Every tensor follows its input's device: one without memory, and a GPU where there is one."""

import pyro
import pytest
import torch

import pyro_entropy
from pyro_entropy import EntropySumDiagnostic, Standard_ELBO
from tests.support.cases import CASES, observations
from tests.support.helpers import mostly

# Half a minute goes into what torch imports for this one.
TABLE = pytest.mark.parametrize("name", mostly(CASES, CASES.keys() - {"discretised normal"}))


def made(name, device):
    case = CASES[name]
    vae = case.make(pyro_entropy, torch.float32).to(device)
    return vae, torch.tensor(observations(case.kind), dtype=torch.float32, device=device)


@TABLE
def test_parts_make_no_tensor_elsewhere(name):
    # Torch refuses to mix tensors of the meta device with others; values it has none to check.
    vae, x = made(name, "meta")
    with pyro.validation_enabled(False):
        losses = [
            Standard_ELBO().differentiable_loss(vae.model, vae.guide, x, total=100),
            Standard_ELBO().terms(vae.model, vae.guide, x).gap,
        ]
        images = [vae.generate(3), vae.generate(3, mean=True), vae.decode(vae.encoder(x).mean).mean]
    assert {tensor.device.type for tensor in (*losses, *images)} == {"meta"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@TABLE
def test_on_a_gpu(name):
    vae, x = made(name, "cuda")
    svi = pyro.infer.SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-4}), Standard_ELBO())
    losses = [svi.step(x, total=100) for _ in range(3)]
    assert torch.isfinite(torch.tensor(losses)).all()
    assert abs(EntropySumDiagnostic(vae.model, vae.guide).run(x)["elbo"]) < float("inf")
    assert vae.generate(3).device.type == vae.reconstruct(x).device.type == "cuda"
    weights = vae.get_weights()
    assert vae.cpu().set_weights(weights).generate(3).device.type == "cpu"
