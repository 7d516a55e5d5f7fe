"""NumPyro's own examples of latents for each data point, in their shape.

They differ from the originals in their sizes, and in that those which `fit` trains take `total`.
"""

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from flax import linen as nn
from flax import nnx
from numpyro.contrib.module import flax_module, nnx_module

from tests.numpyro.tutorials import joined, normal_data


def binary(*shape):
    return (normal_data(*shape) > 0).astype(float)


def rows_of(x, total):
    """The plate over a batch of a data set of size `total`."""
    size = len(x) if total is None else total
    with numpyro.handlers.substitute(data={"data": jnp.arange(len(x))}):
        return numpyro.plate("data", size, subsample_size=len(x))


# A variational autoencoder (examples/vae.py) of Linen nets with BatchNorm and Dropout, which are
# told by a keyword whether they train.


class Normed(nn.Module):
    features: int
    hidden: int = 8

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(self.hidden, param_dtype=float)(x)
        x = nn.BatchNorm(use_running_average=not train, param_dtype=float)(x)
        x = nn.Dropout(0.5, deterministic=not train)(nn.softplus(x))
        return nn.Dense(self.features, param_dtype=float)(x)


def linen_net(name, features, x, train):
    options = {"mutable": ["batch_stats"], "apply_rng": ["dropout"]}
    net = flax_module(name, Normed(features), x, train=train, **options)
    return net(x, train=train, rngs={"dropout": numpyro.prng_key()} if train else None)


def linen_model(x, total=None, train=True):
    with rows_of(x, total):
        z = numpyro.sample("z", dist.Normal(jnp.zeros((len(x), 2)), 1.0).to_event(1))
        logits = linen_net("decoder", x.shape[-1], z, train)
        numpyro.sample("obs", dist.Bernoulli(logits=logits).to_event(1), obs=x)


def linen_guide(x, total=None, train=True):
    loc, log_scale = jnp.split(linen_net("encoder", 4, x, train), 2, -1)
    with rows_of(x, total):
        numpyro.sample("z", dist.Normal(loc, jnp.exp(log_scale)).to_event(1))


def linen_vae():
    return linen_model, linen_guide


# The same of NNX nets, in their float32, held by the object whose methods model and guide are.


class NNXNet(nnx.Module):
    def __init__(self, x_dim, features, rngs, hidden=8):
        self.first = nnx.Linear(x_dim, hidden, rngs=rngs)
        self.norm = nnx.BatchNorm(hidden, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.last = nnx.Linear(hidden, features, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(nnx.softplus(self.norm(self.first(x)))))


class NNXVAE:
    def __init__(self, x_dim=6, z_dim=2):
        rngs = nnx.Rngs(0)
        self.encoder, self.decoder = NNXNet(x_dim, 2 * z_dim, rngs), NNXNet(z_dim, x_dim, rngs)
        self.z_dim = z_dim

    def model(self, x, total=None):
        decode = nnx_module("decoder", self.decoder)
        with rows_of(x, total):
            loc = jnp.zeros((len(x), self.z_dim), x.dtype)
            z = numpyro.sample("z", dist.Normal(loc, 1.0).to_event(1))
            logits = decode(z.astype(x.dtype))
            numpyro.sample("obs", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(self, x, total=None):
        loc, log_scale = jnp.split(nnx_module("encoder", self.encoder)(x), 2, -1)
        with rows_of(x, total):
            numpyro.sample("z", dist.Normal(loc, jnp.exp(log_scale)).to_event(1))


def nnx_vae():
    vae = NNXVAE()
    return vae.model, vae.guide


# A semi-supervised autoencoder: a label is there or not, and the guide has all its values then.


class SSVAE:
    def __init__(self, x_dim=6, y_dim=3, z_dim=2):
        rngs = nnx.Rngs(0)
        self.y_dim, self.z_dim = y_dim, z_dim
        self.label = nnx.Linear(x_dim, y_dim, param_dtype=float, rngs=rngs)
        self.encoder = nnx.Linear(x_dim + y_dim, 2 * z_dim, param_dtype=float, rngs=rngs)
        self.decoder = nnx.Linear(z_dim + y_dim, x_dim, param_dtype=float, rngs=rngs)

    def model(self, x, y=None):
        decode = nnx_module("decoder", self.decoder)
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(jnp.zeros(self.z_dim), 1.0).to_event(1))
            y = numpyro.sample("y", dist.Categorical(jnp.ones(self.y_dim) / self.y_dim), obs=y)
            logits = decode(joined(z, jax.nn.one_hot(y, self.y_dim)))
            numpyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(self, x, y=None):
        label = nnx_module("label", self.label)
        encode = nnx_module("encoder", self.encoder)
        with numpyro.plate("data", len(x)):
            if y is None:
                fn = dist.Categorical(logits=label(x))
                y = numpyro.sample("y", fn, infer={"enumerate": "parallel"})
            code = encode(joined(x, jax.nn.one_hot(y, self.y_dim)))
            loc, log_scale = jnp.split(code, 2, -1)
            numpyro.sample("z", dist.Normal(loc, jnp.exp(log_scale)).to_event(1))


def ss_vae():
    net = SSVAE()
    return net.model, net.guide


# Sequences of other lengths in each batch, each padded to its batch's longest one.


def ragged(*lengths):
    lengths = jnp.array(lengths)
    mask = jnp.arange(int(lengths.max())) < lengths[:, None]
    return binary(len(lengths), int(lengths.max()), 4), mask


# Latents of which a plate draws some at a time, with an AutoGuide that knows of the plate.


def effects_model(x, size=4):
    level = numpyro.sample("level", dist.Normal(0.0, 1.0))
    with numpyro.plate("data", len(x), subsample_size=size) as rows:
        effect = numpyro.sample("effect", dist.Normal(level, 1.0))
        numpyro.sample("x", dist.Normal(effect, 1.0), obs=x[rows])
