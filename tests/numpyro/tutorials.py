"""Models of the kinds that NumPyro's tutorials teach, as their users write them.

Nothing in them is done for the sake of this library.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from flax import linen as nn
from numpyro.contrib.control_flow import scan
from numpyro.contrib.module import flax_module
from numpyro.distributions import constraints
from numpyro.distributions.flows import InverseAutoregressiveTransform
from numpyro.infer.autoguide import AutoDelta, AutoNormal
from numpyro.infer.reparam import LocScaleReparam
from numpyro.nn import AutoregressiveNN


class Tutorial(NamedTuple):
    """A model and guide with their data.

    Args:
        make: Makes the model and the guide.
        data: Makes their arguments.
        num_data: How many data points the outermost plate over all data holds; `None` where there
            is no such plate.
        enumerated: Whether a site is enumerated.
        data_plate: The name of that plate, where it is not clear which of several it is.
    """

    make: Callable[[], tuple[Callable, Callable]]
    data: Callable[[], tuple]
    num_data: int | None
    enumerated: bool = False
    data_plate: str | None = None


def normal_data(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(1).normal(size=shape))


# A variational autoencoder (example "vae").


class Decoder(nn.Module):
    x_dim: int = 6
    hidden: int = 8

    @nn.compact
    def __call__(self, z):
        z = nn.softplus(nn.Dense(self.hidden, param_dtype=jnp.float64)(z))
        return nn.sigmoid(nn.Dense(self.x_dim, param_dtype=jnp.float64)(z))


class Encoder(nn.Module):
    z_dim: int = 3
    hidden: int = 8

    @nn.compact
    def __call__(self, x):
        x = nn.softplus(nn.Dense(self.hidden, param_dtype=jnp.float64)(x))
        loc = nn.Dense(self.z_dim, param_dtype=jnp.float64)(x)
        return loc, jnp.exp(nn.Dense(self.z_dim, param_dtype=jnp.float64)(x))


def vae_model(x):
    decode = flax_module("decoder", Decoder(), input_shape=(1, 3))
    with numpyro.plate("batch", len(x)):
        z = numpyro.sample("z", dist.Normal(0, 1).expand([3]).to_event(1))
        numpyro.sample("obs", dist.Bernoulli(decode(z)).to_event(1), obs=x)


def vae_guide(x):
    encode = flax_module("encoder", Encoder(), input_shape=(1, 6))
    loc, scale = encode(x)
    with numpyro.plate("batch", len(x)):
        numpyro.sample("z", dist.Normal(loc, scale).to_event(1))


def vae():
    return vae_model, vae_guide


def images():
    return ((normal_data(8, 6) > 0).astype(float),)


# Eight schools, plain and non-centred, with an AutoGuide.

SCHOOLS = jnp.array([28.0, 8, -3, 7, -1, 1, 18, 12])
SCHOOL_SCALES = jnp.array([15.0, 10, 16, 11, 9, 11, 10, 18])


def eight_schools(y, sigma):
    mu = numpyro.sample("mu", dist.Normal(0, 10))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("J", len(y)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("obs", dist.Normal(theta, sigma), obs=y)


def schools_data():
    return SCHOOLS, SCHOOL_SCALES


def noncentred_schools():
    model = numpyro.handlers.reparam(eight_schools, config={"theta": LocScaleReparam(0)})
    return model, AutoNormal(model)


# A mixture whose assignments the model enumerates.


def gmm_model(data, num_components=3):
    weights = numpyro.sample("weights", dist.Dirichlet(0.5 * jnp.ones(num_components)))
    scale = numpyro.sample("scale", dist.LogNormal(0, 2))
    with numpyro.plate("components", num_components):
        locs = numpyro.sample("locs", dist.Normal(0, 10))
    with numpyro.plate("data", len(data)):
        assignment = numpyro.sample(
            "assignment", dist.Categorical(weights), infer={"enumerate": "parallel"}
        )
        numpyro.sample("obs", dist.Normal(locs[assignment], scale), obs=data)


def gmm():
    return gmm_model, AutoNormal(numpyro.handlers.block(gmm_model, hide=["assignment", "obs"]))


def gmm_by_points():
    return gmm_model, AutoDelta(numpyro.handlers.block(gmm_model, hide=["assignment", "obs"]))


# A mixture in the latent space, whose components the model enumerates.


def latent_mixture_model(x):
    decode = flax_module("decoder", nn.Dense(6, param_dtype=jnp.float64), input_shape=(1, 2))
    means = numpyro.param("means", normal_data(3, 2))
    with numpyro.plate("data", len(x)):
        c = numpyro.sample("c", dist.Categorical(jnp.ones(3) / 3), infer={"enumerate": "parallel"})
        z = numpyro.sample("z", dist.Normal(means[c], 0.5).to_event(1))
        numpyro.sample("x", dist.Bernoulli(logits=decode(z)).to_event(1), obs=x)


def latent_mixture_guide(x):
    encode = flax_module("encoder", Dense2(2), input_shape=(1, 6))
    with numpyro.plate("data", len(x)):
        loc, scale = encode(x)
        numpyro.sample("z", dist.Normal(loc, scale).to_event(1))


def latent_mixture():
    return latent_mixture_model, latent_mixture_guide


# A hidden Markov model of sequences of different lengths.


def hmm_model(sequences, lengths, num_states=3):
    num_sequences, max_length, num_tones = sequences.shape
    with numpyro.plate("states", num_states):
        moves = numpyro.sample("moves", dist.Dirichlet(0.9 * jnp.eye(num_states) + 0.1))
        rate = jnp.ones(num_tones)
        emissions = numpyro.sample("emissions", dist.Beta(rate, 2.0 * rate).to_event(1))
    tones = numpyro.plate("tones", num_tones, dim=-1)
    with numpyro.plate("sequences", num_sequences, dim=-2):
        state = 0
        for t in range(max_length):
            with numpyro.handlers.mask(mask=(t < lengths)[:, None]):
                state = numpyro.sample(
                    f"state_{t}", dist.Categorical(moves[state]), infer={"enumerate": "parallel"}
                )
                with tones:
                    probs = emissions[state.squeeze(-1)]
                    numpyro.sample(f"tone_{t}", dist.Bernoulli(probs), obs=sequences[:, t])


def hmm():
    hidden = [f"state_{t}" for t in range(5)] + [f"tone_{t}" for t in range(5)]
    return hmm_model, AutoDelta(numpyro.handlers.block(hmm_model, hide=hidden))


def melodies():
    return (normal_data(4, 5, 2) > 0).astype(float), jnp.array([5, 3, 2, 4])


# A guide with a normalising flow.


def banana(x):
    a = numpyro.sample("a", dist.Normal(jnp.zeros(2), 1).to_event(1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("x", dist.Normal(a[0] + a[1] ** 2, 0.5), obs=x)


def flow_guide(x):
    init, apply = AutoregressiveNN(2, [8])
    net = numpyro.module("flow", (init, apply), (2,))
    transform = InverseAutoregressiveTransform(net)
    base = dist.Normal(jnp.zeros(2), 1).to_event(1)
    numpyro.sample("a", dist.TransformedDistribution(base, transform))


def flow():
    return banana, flow_guide


# A deep Markov model of short sequences in one padded batch.


class Gated(nn.Module):
    dim: int

    @nn.compact
    def __call__(self, z):
        loc, scale = jnp.split(nn.Dense(2 * self.dim, param_dtype=jnp.float64)(z), 2, -1)
        return loc, nn.softplus(scale)


def dmm_model(batch, mask):
    transition = flax_module("transition", Gated(2), input_shape=(1, 2))
    emit = flax_module("emitter", nn.Dense(4, param_dtype=jnp.float64), input_shape=(1, 2))
    z = jnp.zeros((len(batch), 2))
    with numpyro.plate("sequences", len(batch)):
        for t in range(batch.shape[1]):
            with numpyro.handlers.mask(mask=mask[:, t]):
                loc, scale = transition(z)
                z = numpyro.sample(f"z_{t}", dist.Normal(loc, scale).to_event(1))
                fn = dist.Bernoulli(logits=emit(z)).to_event(1)
                numpyro.sample(f"x_{t}", fn, obs=batch[:, t])


def dmm_guide(batch, mask):
    combine = flax_module("combiner", Gated(2), input_shape=(1, 6))
    z = jnp.zeros((len(batch), 2))
    with numpyro.plate("sequences", len(batch)):
        for t in range(batch.shape[1]):
            with numpyro.handlers.mask(mask=mask[:, t]):
                loc, scale = combine(jnp.concatenate([z, batch[:, t]], -1))
                z = numpyro.sample(f"z_{t}", dist.Normal(loc, scale).to_event(1))


def dmm():
    return dmm_model, dmm_guide


LENGTHS = jnp.array([3, 1, 2, 3, 2])


def sequences():
    return (normal_data(5, 3, 4) > 0).astype(float), jnp.arange(3) < LENGTHS[:, None]


# The same in a scan: a stochastic volatility of several series.


def scan_model(series):
    sigma = numpyro.sample("sigma", dist.Exponential(1.0))

    def step(level, y):
        with numpyro.plate("series", series.shape[1]):
            level = numpyro.sample("level", dist.Normal(level, sigma))
            numpyro.sample("y", dist.Normal(level, 1.0), obs=y)
        return level, None

    scan(step, jnp.zeros(series.shape[1]), series)


def scan_guide(series):
    numpyro.sample("sigma", dist.LogNormal(numpyro.param("log_sigma", 0.1), 0.3))
    scale = numpyro.param("scale", 0.5, constraint=constraints.positive)

    def step(level, y):
        with numpyro.plate("series", series.shape[1]):
            level = numpyro.sample("level", dist.Normal(0.5 * (level + y), scale))
        return level, None

    scan(step, jnp.zeros(series.shape[1]), series)


def scanned():
    return scan_model, scan_guide


# Topic models: ProdLDA, and LDA with the topic of each word enumerated in the model.


class Documents(nn.Module):
    topics: int

    @nn.compact
    def __call__(self, docs):
        loc, log_scale = jnp.split(nn.Dense(2 * self.topics, param_dtype=jnp.float64)(docs), 2, -1)
        return loc, jnp.exp(log_scale)


def prodlda_model(docs):
    beta = flax_module(
        "beta", nn.Dense(10, use_bias=False, param_dtype=jnp.float64), input_shape=(1, 3)
    )
    with numpyro.plate("documents", len(docs)):
        logtheta = numpyro.sample("logtheta", dist.Normal(jnp.zeros(3), 1).to_event(1))
        logits = beta(nn.softmax(logtheta))
        numpyro.sample("obs", dist.Multinomial(12, logits=logits), obs=docs)


def prodlda_guide(docs):
    encode = flax_module("encoder", Documents(3), input_shape=(1, 10))
    with numpyro.plate("documents", len(docs)):
        numpyro.sample("logtheta", dist.Normal(*encode(docs)).to_event(1))


def prodlda():
    return prodlda_model, prodlda_guide


def documents():
    # Twelve words in each.
    words = np.random.default_rng(1).integers(10, size=(5, 12))
    return (jax.nn.one_hot(words, 10).sum(1),)


def lda_model(data, num_topics=3, num_words=10):
    with numpyro.plate("topics", num_topics):
        weights = numpyro.sample("topic_weights", dist.Gamma(1 / num_topics, 1))
        words = numpyro.sample("topic_words", dist.Dirichlet(jnp.ones(num_words) / num_words))
    with numpyro.plate("documents", data.shape[1]):
        topics = numpyro.sample("doc_topics", dist.Dirichlet(weights))
        with numpyro.plate("words", data.shape[0]):
            word_topics = numpyro.sample(
                "word_topics", dist.Categorical(topics), infer={"enumerate": "parallel"}
            )
            numpyro.sample("doc_words", dist.Categorical(words[word_topics]), obs=data)


def lda_guide(data, num_topics=3, num_words=10):
    posterior = numpyro.param(
        "topic_weights_posterior", jnp.ones(num_topics), constraint=constraints.positive
    )
    words_posterior = numpyro.param(
        "topic_words_posterior",
        jnp.ones((num_topics, num_words)),
        constraint=constraints.greater_than(0.5),
    )
    with numpyro.plate("topics", num_topics):
        numpyro.sample("topic_weights", dist.Gamma(posterior, 1))
        numpyro.sample("topic_words", dist.Dirichlet(words_posterior))
    doc = numpyro.param(
        "doc_topics_posterior", jnp.ones(num_topics) / num_topics, constraint=constraints.simplex
    )
    with numpyro.plate("documents", data.shape[1]):
        numpyro.sample("doc_topics", dist.Delta(doc, event_dim=1))


def lda():
    return lda_model, lda_guide


def words():
    return (jnp.asarray(np.random.default_rng(1).integers(10, size=(6, 4))),)


# A semi-supervised VAE, whose guide draws the label or enumerates it.


class Dense2(nn.Module):
    dim: int

    @nn.compact
    def __call__(self, x):
        loc, log_scale = jnp.split(nn.Dense(2 * self.dim, param_dtype=jnp.float64)(x), 2, -1)
        return loc, jnp.exp(log_scale)


def ss_vae_model(x):
    decode = flax_module("decoder", nn.Dense(6, param_dtype=jnp.float64), input_shape=(1, 5))
    with numpyro.plate("data", len(x)):
        z = numpyro.sample("z", dist.Normal(jnp.zeros(2), 1).to_event(1))
        y = numpyro.sample("y", dist.Categorical(jnp.ones(3) / 3))
        logits = decode(joined(z, jax.nn.one_hot(y, 3)))
        numpyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)


def ss_vae_guide(x, infer=None):
    label = flax_module("label", nn.Dense(3, param_dtype=jnp.float64), input_shape=(1, 6))
    encode = flax_module("encoder", Dense2(2), input_shape=(1, 9))
    with numpyro.plate("data", len(x)):
        y = numpyro.sample("y", dist.Categorical(logits=label(x)), infer=infer)
        loc, scale = encode(joined(x, jax.nn.one_hot(y, 3)))
        numpyro.sample("z", dist.Normal(loc, scale).to_event(1))


def joined(*arrays):
    shape = jnp.broadcast_shapes(*(array.shape[:-1] for array in arrays))
    return jnp.concatenate([jnp.broadcast_to(a, (*shape, a.shape[-1])) for a in arrays], -1)


def ss_vae():
    return ss_vae_model, lambda x: ss_vae_guide(x, {"enumerate": "parallel"})


def ss_vae_sampled():
    return ss_vae_model, ss_vae_guide


# Regression on a part of the rows at a time, with latents that all rows share.


def regression_model(x, y):
    bias = numpyro.sample("bias", dist.Normal(0, 5))
    weights = numpyro.sample("weights", dist.Normal(jnp.zeros(2), 1).to_event(1))
    sigma = numpyro.sample("sigma", dist.Exponential(1))
    mean = numpyro.deterministic("mean", bias + x @ weights)
    with numpyro.plate("rows", len(x), subsample_size=5) as rows:
        numpyro.sample("y", dist.Normal(mean[rows], sigma), obs=y[rows])


def regression_guide(x, y):
    loc = numpyro.param("loc", 0.1 * jnp.ones(2))
    scale = numpyro.param("scale", 0.3 * jnp.eye(2), constraint=constraints.lower_cholesky)
    numpyro.sample("bias", dist.Normal(numpyro.param("bias_loc", 0.2), 0.5))
    numpyro.sample("weights", dist.MultivariateNormal(loc, scale_tril=scale))
    numpyro.sample("sigma", dist.LogNormal(numpyro.param("log_sigma", 0.1), 0.4))


def regression():
    return regression_model, regression_guide


def rows():
    return normal_data(20, 2), normal_data(20)


# Observations of which some are missing.


def missing_model(x, seen):
    mean = numpyro.sample("mean", dist.Normal(0, 1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("x", dist.Normal(mean, 1), obs=x, obs_mask=seen)


def missing():
    return missing_model, AutoNormal(missing_model)


def some_missing():
    return normal_data(6), jnp.array([True, True, False, True, False, True])


TUTORIALS = {
    "vae": Tutorial(vae, images, 8),
    "eight schools": Tutorial(lambda: (eight_schools, AutoNormal(eight_schools)), schools_data, 8),
    "non-centred schools": Tutorial(noncentred_schools, schools_data, 8),
    "mixture": Tutorial(gmm, lambda: (normal_data(7),), 7, enumerated=True),
    "mixture, point estimates": Tutorial(
        gmm_by_points, lambda: (normal_data(7),), 7, enumerated=True
    ),
    "mixture of latents": Tutorial(latent_mixture, images, 8, enumerated=True),
    "hidden Markov model": Tutorial(hmm, melodies, 4, True, "sequences"),
    "flow guide": Tutorial(flow, lambda: (normal_data(7),), 7),
    "deep Markov model": Tutorial(dmm, sequences, 5),
    "scan": Tutorial(scanned, lambda: (normal_data(4, 3),), 3),
    "product topic model": Tutorial(prodlda, documents, 5),
    "topic model": Tutorial(lda, words, 4, True, "documents"),
    "semi-supervised, enumerated": Tutorial(ss_vae, images, 8, enumerated=True),
    "semi-supervised, sampled": Tutorial(ss_vae_sampled, images, 8),
    "regression": Tutorial(regression, rows, 20),
    "missing values": Tutorial(missing, some_missing, 6),
}
