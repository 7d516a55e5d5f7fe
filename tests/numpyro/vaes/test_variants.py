"""Every variant and part over one table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from numpyro.handlers import replay, seed, substitute, trace

import numpyro_entropy
from numpyro_entropy import Standard_ELBO
from numpyro_entropy.entropies.estimate import closed_entropy
from numpyro_entropy.params import from_weights, to_weights
from tests.support.cases import CASES, VARIANTS, observations
from tests.support.helpers import B, H, assert_within_errors, mostly, random_weights

KEY = random.key(0)
FEW = ["discretised logistic", "categorical", "Gamma"]
# In float32 the named variants, and one with each of the other distributions.
FLOAT32 = [*VARIANTS, "discretised normal", "continuous Bernoulli", "Gamma", "convolutional VAE3"]
CELLS = [*((name, jnp.float64) for name in CASES), *((name, jnp.float32) for name in FLOAT32)]
FAST = [
    *((name, jnp.float64) for name in ["VAE3", "EDVAE", "Gamma"]),
    *((name, jnp.float32) for name in ["VAE1", "convolutional VAE3"]),
]
NAMES_AND_DTYPES = pytest.mark.parametrize(("name", "dtype"), mostly(CELLS, FAST))


def made(name, dtype=jnp.float64):
    """The VAE with random parameters, which takes less time than its own `init` to compile."""
    case = CASES[name]
    vae = case.make(numpyro_entropy, dtype)
    shapes = jax.eval_shape(vae.init, KEY)
    params = from_weights(random_weights(to_weights(shapes)), shapes)
    return case, vae, params, jnp.asarray(observations(case.kind), dtype)


def leaves(tree):
    return {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_leaves_with_path(tree)}


@NAMES_AND_DTYPES
def test_sites_gradients_and_a_step(name, dtype):
    case, vae, _, x = made(name, dtype)
    params = jax.jit(vae.init)(KEY)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
    traces = {}

    def loss_and_values(params):
        traces["guide"] = trace(seed(substitute(vae.guide, params), KEY)).get_trace(x)
        model = substitute(replay(vae.model, traces["guide"]), params)
        traces["model"] = trace(seed(model, KEY)).get_trace(x)
        sites = [traces["guide"]["z"], traces["model"]["z"], traces["model"]["x"]]
        log_probs = [site["fn"].log_prob(site["value"]) for site in sites]
        traces["decoded"] = vae.decode(params, jnp.zeros((2, B, H), dtype))
        loss = Standard_ELBO().loss(KEY, params, vae.model, vae.guide, x)
        return loss, (sites[0]["value"], vae.encode(params, x).mean, log_probs)

    function = jax.jit(jax.value_and_grad(loss_and_values, has_aux=True))
    (loss, (z, mean, log_probs)), grads = function(params)
    assert {n for n, s in traces["model"].items() if s["type"] == "sample"} == {"z", "x"}
    for site in (traces["guide"]["z"], traces["model"]["z"], traces["model"]["x"]):
        assert [frame.name for frame in site["cond_indep_stack"]] == ["data"]
        assert site["fn"].batch_shape == (B,)
    # The draws are NumPyro's, and those are in JAX's default float type, whatever the model's.
    assert (z.shape, mean.shape, mean.dtype) == ((B, H), (B, H), dtype)
    assert (traces["decoded"].batch_shape, traces["decoded"].event_shape) == ((2, B), x.shape[1:])
    for log_prob in log_probs:
        assert log_prob.shape == (B,)
        assert np.isfinite(log_prob).all()
    for key, grad in leaves(grads).items():
        trained = not any(constant in key for constant in case.constants)
        assert (np.abs(grad).max() > 0) == trained, key
    stepped = jax.tree.map(lambda param, grad: param - 1e-4 * grad, params, grads)
    assert function(stepped)[0][0] < loss


@pytest.mark.parametrize("name", mostly(CASES, FEW))
def test_draws_are_in_the_support(name):
    case, vae, params, x = made(name)

    @jax.jit
    def draws_and_means(params, x):
        means = vae.generate(KEY, params, 50, mean=True)
        return vae.generate(KEY, params, 50), means, vae.reconstruct(params, x)

    draws, *means = draws_and_means(params, x)
    for values in (draws, *means):
        assert values.shape[1:] == x.shape[1:]
        assert values.dtype == x.dtype
    support = vae.decoder.support
    assert support(draws).all()
    assert support(x).all()
    if case.kind != "real" and case.kind != "images":
        assert not support(jnp.full_like(x, -0.3)).any()


@pytest.mark.parametrize("name", mostly(CASES, ["VAE2", "given full mixture", "VampPrior"]))
def test_weights_round_trip(name, tmp_path):
    case, vae, params, _ = made(name, jnp.float32)
    vae.save_weights(params, tmp_path / "vae.safetensors")
    loaded = vae.load_weights(tmp_path / "vae.safetensors")
    assert jax.tree.structure(loaded) == jax.tree.structure(params)
    for old, new in zip(*map(jax.tree.leaves, (params, loaded)), strict=True):
        assert old.dtype == new.dtype
        np.testing.assert_array_equal(old, new)
    double = case.make(numpyro_entropy, jnp.float64)
    weights = double.get_weights(double.load_weights(tmp_path / "vae.safetensors"))
    for key, weight in weights.items():
        assert weight.dtype == np.float64
        np.testing.assert_array_equal(weight, vae.get_weights(params)[key])


@pytest.mark.parametrize("name", mostly(CASES, FEW))
def test_entropies_are_those_of_draws(name):
    case, vae, params, _ = made(name)
    num_draws = 20_000

    def entropy_and_draws(fn):
        entropy = closed_entropy(fn)
        draws = None if entropy is None else fn.sample(KEY, (num_draws,))
        return entropy, None if draws is None else -fn.log_prob(draws).reshape(-1)

    @jax.jit
    def both(params):
        z = random.normal(KEY, (1, H))
        prior = substitute(vae.prior, params)()
        return {"z": entropy_and_draws(prior), "x": entropy_and_draws(vae.decode(params, z))}

    for site, (entropy, draws) in both(params).items():
        assert (entropy is None) == (site in case.sampled)
        if entropy is not None:
            assert_within_errors(draws, entropy.item())


@pytest.mark.parametrize("name", ["VAE1", "EDVAE", "Poisson"])
def test_the_report_says_where_it_samples(name):
    case, vae, params, x = made(name)
    diagnostic = numpyro_entropy.EntropySumDiagnostic(vae.model, vae.guide, num_particles=1)
    sites = diagnostic.run(KEY, params, x).sites()
    methods = {"z": sites.loc["prior z", "entropy_method"]}
    methods["x"] = sites.loc["decoder x", "entropy_method"]
    assert {site for site, method in methods.items() if method == "sampled"} == case.sampled
