"""NumPyro's own examples of latents that all data share, in their shape."""

import argparse

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.control_flow import scan
from numpyro.handlers import block, mask, reparam, scope
from numpyro.infer.autoguide import AutoDelta, AutoNormal
from numpyro.infer.reparam import LocScaleReparam

from tests.numpyro.host_examples import binary
from tests.numpyro.tutorials import normal_data

# A Gaussian process with a dense covariance (examples/gp.py).


def kernel(x, z, var, length, noise, jitter=1.0e-6, include_noise=True):
    delta = jnp.power((x[:, None] - z) / length, 2.0)
    k = var * jnp.exp(-0.5 * delta)
    if include_noise:
        k += (noise + jitter) * jnp.eye(x.shape[0])
    return k


def gp_model(x, y):
    var = numpyro.sample("kernel_var", dist.LogNormal(0.0, 1.0))
    noise = numpyro.sample("kernel_noise", dist.LogNormal(0.0, 1.0))
    length = numpyro.sample("kernel_length", dist.LogNormal(0.0, 1.0))
    k = kernel(x, x, var, length, noise)
    numpyro.sample(
        "y", dist.MultivariateNormal(loc=jnp.zeros(x.shape[0]), covariance_matrix=k), obs=y
    )


def gp():
    return gp_model, AutoNormal(gp_model)


def gp_data():
    x = jnp.linspace(-1.0, 1.0, 6)
    return x, jnp.sin(3 * x)


# Stochastic volatility, as a random walk (examples/stochastic_volatility.py) and in a scan, whose
# length is a number.


def walk_model(returns):
    step_size = numpyro.sample("sigma", dist.Exponential(50.0))
    s = numpyro.sample("s", dist.GaussianRandomWalk(scale=step_size, num_steps=len(returns)))
    nu = numpyro.sample("nu", dist.Exponential(0.1))
    numpyro.sample("r", dist.StudentT(df=nu, loc=0.0, scale=jnp.exp(s)), obs=returns)


def walk(kind):
    return walk_model, kind(walk_model)


def volatility_model(num_steps, returns=None, *, nu=4):
    sigma = numpyro.sample("sigma", dist.Exponential(5.0))

    def step(level, y):
        level = numpyro.sample("level", dist.Normal(level, sigma))
        numpyro.sample("r", dist.StudentT(nu, 0.0, jnp.exp(level)), obs=y)
        return level, None

    scan(step, 0.0, returns, length=num_steps)


def volatility():
    return volatility_model, AutoNormal(volatility_model)


# A hidden Markov model whose states are enumerated in a scan (examples/hmm_enum.py, model_1).


def hmm_model(sequences, lengths, args, include_prior=True):
    num_sequences, _, data_dim = sequences.shape
    with mask(mask=include_prior):
        probs_x = numpyro.sample(
            "probs_x", dist.Dirichlet(0.9 * jnp.eye(args.hidden_dim) + 0.1).to_event(1)
        )
        probs_y = numpyro.sample(
            "probs_y", dist.Beta(0.1, 0.9).expand([args.hidden_dim, data_dim]).to_event(2)
        )

    def transition_fn(carry, y):
        x_prev, t = carry
        shown = mask(mask=(t < lengths)[..., None])
        with numpyro.plate("sequences", num_sequences, dim=-2), shown:
            x = numpyro.sample(
                "x", dist.Categorical(probs_x[x_prev]), infer={"enumerate": "parallel"}
            )
            with numpyro.plate("tones", data_dim, dim=-1):
                numpyro.sample("y", dist.Bernoulli(probs_y[x.squeeze(-1)]), obs=y)
        return (x, t + 1), None

    x_init = jnp.zeros((num_sequences, 1), dtype=int)
    scan(transition_fn, (x_init, 0), jnp.swapaxes(sequences, 0, 1))


HMM_ARGS = argparse.Namespace(hidden_dim=3)


def hmm():
    return hmm_model, AutoDelta(block(hmm_model, hide=["x", "y"]))


def hmm_data():
    return (binary(3, 4, 2), jnp.array([4, 2, 3]), HMM_ARGS), {"include_prior": True}


# Two submodels, whose names `scope` keeps apart, of the number of knots that is asked for.


def trend_model(x, degree):
    weights = numpyro.sample("weights", dist.Normal(jnp.zeros(degree), 1.0).to_event(1))
    return jnp.power(x[:, None], jnp.arange(degree)) @ weights


def scoped_model(x, y, degree=2):
    trend = scope(trend_model, "trend")(x, degree)
    residual = scope(trend_model, "log_scale")(x, degree)
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(trend, jnp.exp(residual)), obs=y)


def scoped():
    return scoped_model, AutoNormal(scoped_model)


# Admissions by department (examples/ucbadmit.py), which the model itself counts.


def admissions_model(dept, male, applications, admit=None):
    v_mu = numpyro.sample("v_mu", dist.Normal(0, jnp.array([4.0, 1.0])))
    sigma = numpyro.sample("sigma", dist.HalfNormal(jnp.ones(2)))
    l_rho = numpyro.sample("L_Rho", dist.LKJCholesky(2, concentration=2))
    scale_tril = sigma[..., jnp.newaxis] * l_rho
    num_dept = len(np.unique(dept))
    z = numpyro.sample("z", dist.Normal(jnp.zeros((num_dept, 2)), 1))
    v = jnp.dot(scale_tril, z.T).T
    logits = v_mu[0] + v[dept, 0] + (v_mu[1] + v[dept, 1]) * male
    with numpyro.plate("data", len(applications)):
        numpyro.sample("admit", dist.Binomial(applications, logits=logits), obs=admit)


def admissions():
    return admissions_model, AutoNormal(admissions_model)


def admissions_data():
    dept, male = np.repeat(np.arange(3), 2), np.tile([1, 0], 3)
    admit = np.array([5, 8, 3, 1, 2, 2])
    return {"dept": dept, "male": male, "applications": np.full(6, 9), "admit": admit}


# Neal's funnel (examples/funnel.py), and a regression by groups, both non-centred.


def funnel_model(dim=3, *, y=0.5):
    width = numpyro.sample("y", dist.Normal(0.0, 3.0))
    with numpyro.plate("dims", dim):
        x = numpyro.sample("x", dist.Normal(0.0, jnp.exp(width / 2)))
        numpyro.sample("obs", dist.Normal(x, 1.0), obs=jnp.full(dim, y))


def funnel():
    model = reparam(funnel_model, config={"x": LocScaleReparam(centered=0)})
    return model, AutoNormal(model)


def groups_model(num_groups, group, y):
    level = numpyro.sample("level", dist.Normal(0.0, 1.0))
    size = numpyro.sample("size", dist.HalfNormal(1.0))
    non_centred = reparam(config={"effect": LocScaleReparam(centered=0)})
    with numpyro.plate("groups", num_groups), non_centred:
        effect = numpyro.sample("effect", dist.Normal(level, size))
    with numpyro.plate("data", len(y)):
        numpyro.sample("y", dist.Normal(effect[group], 1.0), obs=y)


def grouped():
    return groups_model, AutoNormal(groups_model)


def returns(num=5):
    return normal_data(num)


def groups():
    return 3, jnp.arange(7) % 3, normal_data(7)
