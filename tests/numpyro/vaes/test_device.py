"""Every part on a GPU, where there is one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer import SVI
from numpyro.optim import Adam

import numpyro_entropy
from numpyro_entropy import EntropySumDiagnostic, Standard_ELBO
from tests.support.cases import CASES, observations

KEY = jax.random.key(0)


@pytest.mark.gpu
@pytest.mark.skipif(jax.default_backend() != "gpu", reason="no GPU")
@pytest.mark.parametrize("name", CASES)
def test_on_a_gpu(name):
    case = CASES[name]
    vae, x = case.make(numpyro_entropy, jnp.float32), observations(case.kind).astype(np.float32)
    svi = SVI(vae.model, vae.guide, Adam(1e-4), Standard_ELBO(), total=100)
    state = svi.init(KEY, jnp.asarray(x))
    for _ in range(3):
        state, loss = jax.jit(svi.update)(state, x)
        assert jnp.isfinite(loss)
    params = svi.get_params(state)
    assert jnp.isfinite(EntropySumDiagnostic(vae.model, vae.guide).run(KEY, params, x)["elbo"])
    assert vae.generate(KEY, params, 3).devices() == {jax.devices("gpu")[0]}
