"""Models of the kinds that Pyro's tutorials teach, as their users write them.

Nothing in them is done for the sake of this library.
"""

from collections.abc import Callable
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import pyro.distributions.transforms as T
import torch
from pyro import poutine
from pyro.contrib.easyguide import easy_guide
from pyro.infer import config_enumerate
from pyro.infer.autoguide import AutoDelta, AutoNormal
from pyro.infer.reparam import LocScaleReparam
from torch import nn
from torch.distributions import constraints

Tensors = tuple[torch.Tensor, ...]


class Tutorial(NamedTuple):
    """A model and guide with their data.

    Args:
        make: Makes the model and the guide.
        data: Makes their arguments.
        num_data: How many data points the outermost plate over all data holds; `None` where there
            is no such plate.
        plates: How many plate dimensions the model takes; only for enumeration.
        data_plate: The name of that plate, where it is not clear which of several it is.
    """

    make: Callable[[], tuple[Callable, Callable]]
    data: Callable[[], tuple]
    num_data: int | None
    plates: int | None = None
    data_plate: str | None = None


def normal_data(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


# A variational autoencoder (tutorial "vae").


class Decoder(nn.Module):
    def __init__(self, z_dim, hidden, x_dim):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(z_dim, hidden), nn.Softplus(), nn.Linear(hidden, x_dim), nn.Sigmoid()
        )

    def forward(self, z):
        return self.layers(z)


class Encoder(nn.Module):
    def __init__(self, x_dim, hidden, z_dim):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(x_dim, hidden), nn.Softplus())
        self.loc, self.scale = nn.Linear(hidden, z_dim), nn.Linear(hidden, z_dim)

    def forward(self, x):
        hidden = self.hidden(x)
        return self.loc(hidden), torch.exp(self.scale(hidden))


class VAE(nn.Module):
    def __init__(self, x_dim=6, z_dim=3, hidden=8):
        super().__init__()
        self.encoder, self.decoder = Encoder(x_dim, hidden, z_dim), Decoder(z_dim, hidden, x_dim)
        self.z_dim = z_dim

    def model(self, x):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", x.shape[0]):
            loc, scale = x.new_zeros(x.shape[0], self.z_dim), x.new_ones(x.shape[0], self.z_dim)
            z = pyro.sample("latent", dist.Normal(loc, scale).to_event(1))
            pyro.sample("obs", dist.Bernoulli(self.decoder(z)).to_event(1), obs=x)

    def guide(self, x):
        pyro.module("encoder", self.encoder)
        with pyro.plate("data", x.shape[0]):
            pyro.sample("latent", dist.Normal(*self.encoder(x)).to_event(1))


def vae():
    net = VAE()
    return net.model, net.guide


# Eight schools, plain and non-centred, with an AutoGuide.

SCHOOLS = torch.tensor([28.0, 8, -3, 7, -1, 1, 18, 12])
SCHOOL_SCALES = torch.tensor([15.0, 10, 16, 11, 9, 11, 10, 18])


def eight_schools(y, sigma):
    mu = pyro.sample("mu", dist.Normal(0.0, 10.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("J", len(y)):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("obs", dist.Normal(theta, sigma), obs=y)


def schools_data():
    return SCHOOLS.double(), SCHOOL_SCALES.double()


def noncentred_schools():
    model = poutine.reparam(eight_schools, config={"theta": LocScaleReparam(0.0)})
    return model, AutoNormal(model)


def easily_guided_schools():
    @easy_guide(eight_schools)
    def guide(self, y, sigma):
        tril = pyro.param("tril", lambda: 0.5 * torch.eye(2), constraint=constraints.lower_cholesky)
        both = self.group(match="mu|tau")
        both.sample("both", dist.MultivariateNormal(torch.zeros(2), scale_tril=tril))
        with self.plate("J"):
            pyro.sample("theta", dist.Normal(pyro.param("loc", lambda: torch.zeros(8)), 1.0))

    return eight_schools, guide


# A mixture whose assignments the model enumerates (tutorial "gmm").


@config_enumerate
def gmm_model(data, num_components=3):
    weights = pyro.sample("weights", dist.Dirichlet(0.5 * torch.ones(num_components)))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 2.0))
    with pyro.plate("components", num_components):
        locs = pyro.sample("locs", dist.Normal(0.0, 10.0))
    with pyro.plate("data", len(data)):
        assignment = pyro.sample("assignment", dist.Categorical(weights))
        pyro.sample("obs", dist.Normal(locs[assignment], scale), obs=data)


def gmm():
    return gmm_model, AutoNormal(poutine.block(gmm_model, expose=["weights", "locs", "scale"]))


def gmm_by_points():
    return gmm_model, AutoDelta(poutine.block(gmm_model, expose=["weights", "locs", "scale"]))


# A mixture in the latent space, whose components the model enumerates.


def latent_mixture():
    decode, encode = nn.Linear(2, 6), nn.Linear(6, 4)

    def model(x):
        pyro.module("decoder", decode)
        means = pyro.param("means", normal_data(3, 2))
        with pyro.plate("data", len(x)):
            c = pyro.sample(
                "c", dist.Categorical(torch.ones(3) / 3), infer={"enumerate": "parallel"}
            )
            z = pyro.sample("z", dist.Normal(means[c], 0.5).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=decode(z)).to_event(1), obs=x)

    def guide(x):
        pyro.module("encoder", encode)
        with pyro.plate("data", len(x)):
            loc, log_scale = encode(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))

    return model, guide


# A hidden Markov model of sequences of different lengths.


def hmm_model(sequences, lengths, num_states=3):
    num_sequences, max_length, num_tones = sequences.shape
    with pyro.plate("states", num_states):
        moves = pyro.sample("moves", dist.Dirichlet(0.9 * torch.eye(num_states) + 0.1))
        rate = torch.ones(num_tones)
        emissions = pyro.sample("emissions", dist.Beta(rate, 2.0 * rate).to_event(1))
    tones = pyro.plate("tones", num_tones, dim=-1)
    with pyro.plate("sequences", num_sequences, dim=-2):
        state = 0
        for t in pyro.markov(range(max_length)):
            with poutine.mask(mask=(t < lengths).unsqueeze(-1)):
                state = pyro.sample(
                    f"state_{t}", dist.Categorical(moves[state]), infer={"enumerate": "parallel"}
                )
                with tones:
                    probs = emissions[state.squeeze(-1)]
                    pyro.sample(f"tone_{t}", dist.Bernoulli(probs), obs=sequences[:, t])


def hmm():
    return hmm_model, AutoDelta(poutine.block(hmm_model, expose=["moves", "emissions"]))


def melodies():
    return (normal_data(4, 5, 2) > 0).to(torch.get_default_dtype()), torch.tensor([5, 3, 2, 4])


# A guide with a normalising flow.


def banana(x):
    a = pyro.sample("a", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(a[0] + a[1] ** 2, 0.5), obs=x)


def flow():
    transform = T.affine_autoregressive(2, hidden_dims=[8])

    def guide(x):
        pyro.module("flow", transform)
        base = dist.Normal(torch.zeros(2), torch.ones(2)).to_event(1)
        pyro.sample("a", dist.TransformedDistribution(base, [transform]))

    return banana, guide


# A deep Markov model of short sequences in one padded batch (tutorial "dmm").


class DMM(nn.Module):
    def __init__(self, x_dim=4, z_dim=2):
        super().__init__()
        self.transition, self.emitter = nn.Linear(z_dim, 2 * z_dim), nn.Linear(z_dim, x_dim)
        self.combiner, self.rnn = nn.Linear(z_dim, z_dim), nn.RNN(x_dim, z_dim, batch_first=True)
        self.scale = nn.Linear(z_dim, z_dim)
        self.z_0 = nn.Parameter(torch.zeros(z_dim))

    def model(self, batch, mask):
        pyro.module("dmm", self)
        z = self.z_0
        with pyro.plate("sequences", len(batch)):
            for t in pyro.markov(range(batch.shape[1])):
                with poutine.mask(mask=mask[:, t]):
                    loc, scale = self.transition(z).chunk(2, -1)
                    fn = dist.Normal(loc, nn.functional.softplus(scale))
                    z = pyro.sample(f"z_{t}", fn.expand([len(batch), 2]).to_event(1))
                    emission = dist.Bernoulli(logits=self.emitter(z)).to_event(1)
                    pyro.sample(f"x_{t}", emission, obs=batch[:, t])

    def guide(self, batch, mask):
        pyro.module("dmm", self)
        hidden, _ = self.rnn(batch.flip(1))
        z = self.z_0.expand(len(batch), 2)
        with pyro.plate("sequences", len(batch)):
            for t in pyro.markov(range(batch.shape[1])):
                with poutine.mask(mask=mask[:, t]):
                    mixed = 0.5 * (torch.tanh(self.combiner(z)) + hidden.flip(1)[:, t])
                    fn = dist.Normal(mixed, nn.functional.softplus(self.scale(mixed)))
                    z = pyro.sample(f"z_{t}", fn.to_event(1))


def dmm():
    net = DMM()
    return net.model, net.guide


LENGTHS = torch.tensor([3, 1, 2, 3, 2])


def sequences():
    return (normal_data(5, 3, 4) > 0).to(torch.get_default_dtype()), (
        torch.arange(3) < LENGTHS[:, None]
    )


# Topic models: ProdLDA, and LDA with the topic of each word enumerated in the model.


class ProdLDA(nn.Module):
    def __init__(self, vocabulary=10, topics=3):
        super().__init__()
        self.topics = topics
        self.beta = nn.Linear(topics, vocabulary, bias=False)
        self.encoder = nn.Linear(vocabulary, 2 * topics)

    def model(self, docs):
        pyro.module("prodlda", self)
        with pyro.plate("documents", docs.shape[0]):
            loc, scale = docs.new_zeros(self.topics), docs.new_ones(self.topics)
            logtheta = pyro.sample("logtheta", dist.Normal(loc, scale).to_event(1))
            probs = torch.softmax(self.beta(torch.softmax(logtheta, -1)), -1)
            total_count = int(docs.sum(-1).max())
            pyro.sample("obs", dist.Multinomial(total_count, probs), obs=docs)

    def guide(self, docs):
        pyro.module("prodlda", self)
        with pyro.plate("documents", docs.shape[0]):
            loc, log_scale = self.encoder(docs).chunk(2, -1)
            pyro.sample("logtheta", dist.Normal(loc, log_scale.exp()).to_event(1))


def prodlda():
    net = ProdLDA()
    return net.model, net.guide


def documents():
    # Twelve words in each.
    words = torch.randint(10, (5, 12), generator=torch.Generator().manual_seed(1))
    return (nn.functional.one_hot(words, 10).sum(1).to(torch.get_default_dtype()),)


def lda_model(data, num_topics=3, num_words=10):
    with pyro.plate("topics", num_topics):
        weights = pyro.sample("topic_weights", dist.Gamma(1.0 / num_topics, 1.0))
        words = pyro.sample("topic_words", dist.Dirichlet(torch.ones(num_words) / num_words))
    with pyro.plate("documents", data.shape[1]):
        topics = pyro.sample("doc_topics", dist.Dirichlet(weights))
        with pyro.plate("words", data.shape[0]):
            word_topics = pyro.sample(
                "word_topics", dist.Categorical(topics), infer={"enumerate": "parallel"}
            )
            pyro.sample("doc_words", dist.Categorical(words[word_topics]), obs=data)


def lda_guide(data, num_topics=3, num_words=10):
    posterior = pyro.param(
        "topic_weights_posterior", lambda: torch.ones(num_topics), constraint=constraints.positive
    )
    words_posterior = pyro.param(
        "topic_words_posterior",
        lambda: torch.ones(num_topics, num_words),
        constraint=constraints.greater_than(0.5),
    )
    with pyro.plate("topics", num_topics):
        pyro.sample("topic_weights", dist.Gamma(posterior, 1.0))
        pyro.sample("topic_words", dist.Dirichlet(words_posterior))
    doc = pyro.param(
        "doc_topics_posterior", lambda: torch.ones(num_topics), constraint=constraints.simplex
    )
    with pyro.plate("documents", data.shape[1]):
        pyro.sample("doc_topics", dist.Delta(doc, event_dim=1))


def words():
    return (torch.randint(10, (6, 4), generator=torch.Generator().manual_seed(1)),)


# A semi-supervised VAE whose guide enumerates the label (tutorial "ss-vae").


class SSVAE(nn.Module):
    def __init__(self, x_dim=6, y_dim=3, z_dim=2):
        super().__init__()
        self.y_dim, self.z_dim = y_dim, z_dim
        self.label, self.encoder = nn.Linear(x_dim, y_dim), nn.Linear(x_dim + y_dim, 2 * z_dim)
        self.decoder = nn.Linear(z_dim + y_dim, x_dim)

    def model(self, x, y=None):
        pyro.module("ss_vae", self)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(self.z_dim), 1.0).to_event(1))
            alpha = x.new_ones(self.y_dim) / self.y_dim
            y = pyro.sample("y", dist.OneHotCategorical(alpha), obs=y)
            logits = self.decoder(cat(z, y))
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(self, x, y=None):
        pyro.module("ss_vae", self)
        with pyro.plate("data", len(x)):
            if y is None:
                y = pyro.sample("y", dist.OneHotCategorical(logits=self.label(x)))
            loc, log_scale = self.encoder(cat(x, y)).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


def cat(*tensors):
    shape = torch.broadcast_shapes(*(tensor.shape[:-1] for tensor in tensors))
    return torch.cat([tensor.expand((*shape, -1)) for tensor in tensors], -1)


def ss_vae():
    net = SSVAE()
    return net.model, config_enumerate(net.guide)


def ss_vae_sampled():
    net = SSVAE()
    return net.model, net.guide


def images():
    return ((normal_data(8, 6) > 0).to(torch.get_default_dtype()),)


# Regression on a part of the rows at a time, with latents that all rows share.


def regression_model(x, y):
    bias = pyro.sample("bias", dist.Normal(0.0, 5.0))
    weights = pyro.sample("weights", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    sigma = pyro.sample("sigma", dist.Exponential(1.0))
    mean = pyro.deterministic("mean", bias + x @ weights)
    with pyro.plate("rows", len(x), subsample_size=5) as rows:
        pyro.sample("y", dist.Normal(mean[rows], sigma), obs=y[rows])


def regression_guide(x, y):
    loc = pyro.param("loc", lambda: 0.1 * torch.ones(2))
    scale = pyro.param("scale", lambda: 0.3 * torch.eye(2), constraint=constraints.lower_cholesky)
    pyro.sample("bias", dist.Normal(pyro.param("bias_loc", lambda: torch.tensor(0.2)), 0.5))
    pyro.sample("weights", dist.MultivariateNormal(loc, scale_tril=scale))
    pyro.sample("sigma", dist.LogNormal(pyro.param("log_sigma", lambda: torch.tensor(0.1)), 0.4))


def regression():
    return regression_model, regression_guide


def rows():
    return normal_data(20, 2), normal_data(20)


# Observations of which some are missing, and data points one after the other.


def missing_model(x, seen):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(mean, 1.0), obs=x, obs_mask=seen)


def missing():
    return missing_model, AutoNormal(missing_model)


def some_missing():
    return normal_data(6), torch.tensor([True, True, False, True, False, True])


def coins_model(flips):
    fairness = pyro.sample("fairness", dist.Beta(10.0, 10.0))
    for i in pyro.plate("flips", len(flips)):
        pyro.sample(f"flip_{i}", dist.Bernoulli(fairness), obs=flips[i])


def coins_guide(flips):
    alpha = pyro.param("alpha", torch.tensor(15.0), constraint=constraints.positive)
    pyro.sample("fairness", dist.Beta(alpha, 12.0))


def coins():
    return coins_model, coins_guide


def flips():
    return (torch.tensor([1.0, 1, 1, 0, 1, 0, 1]),)


TUTORIALS = {
    "vae": Tutorial(vae, images, 8),
    "eight schools": Tutorial(lambda: (eight_schools, AutoNormal(eight_schools)), schools_data, 8),
    "non-centred schools": Tutorial(noncentred_schools, schools_data, 8),
    "schools, easily guided": Tutorial(easily_guided_schools, schools_data, 8),
    "mixture": Tutorial(gmm, lambda: (normal_data(7),), 7, plates=1),
    "mixture, point estimates": Tutorial(gmm_by_points, lambda: (normal_data(7),), 7, plates=1),
    "mixture of latents": Tutorial(latent_mixture, images, 8, plates=1),
    "hidden Markov model": Tutorial(hmm, melodies, 4, 2, "sequences"),
    "flow guide": Tutorial(flow, lambda: (normal_data(7),), 7),
    "deep Markov model": Tutorial(dmm, sequences, 5),
    "product topic model": Tutorial(prodlda, documents, 5),
    "topic model": Tutorial(lambda: (lda_model, lda_guide), words, 4, 2, "documents"),
    "semi-supervised, enumerated": Tutorial(ss_vae, images, 8, plates=1),
    "semi-supervised, sampled": Tutorial(ss_vae_sampled, images, 8),
    "regression": Tutorial(regression, rows, 20),
    "missing values": Tutorial(missing, some_missing, 6),
    "coin flips": Tutorial(coins, flips, None),
}
