"""Pyro's own examples of latents for each data point, in their shape: methods of one module.

They differ from the originals in their sizes, and in that the one which `fit` trains takes `total`.
"""

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import config_enumerate
from torch import nn

from tests.pyro.tutorials import normal_data

# A variational autoencoder (examples/vae/vae.py), whose nets have BatchNorm and Dropout.


class BatchNormVAE(nn.Module):
    def __init__(self, x_dim=6, z_dim=2, hidden=8):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(x_dim, hidden), nn.BatchNorm1d(hidden), nn.Dropout(0.5), nn.Softplus()
        )
        self.heads = nn.Linear(hidden, 2 * z_dim)
        self.decoder = nn.Sequential(
            nn.Linear(z_dim, hidden),
            nn.BatchNorm1d(hidden),
            nn.Softplus(),
            nn.Linear(hidden, x_dim),
        )
        self.z_dim = z_dim

    # An own `subsample` is anything that has a length.
    def model(self, x, total=None):
        pyro.module("decoder", self.decoder)
        with pyro.plate("data", total or x.shape[0], subsample=x):
            z_loc = torch.zeros(x.shape[0], self.z_dim, dtype=x.dtype, device=x.device)
            z = pyro.sample("latent", dist.Normal(z_loc, torch.ones_like(z_loc)).to_event(1))
            probs = torch.sigmoid(self.decoder(z))
            pyro.sample("obs", dist.Bernoulli(probs, validate_args=False).to_event(1), obs=x)
            return probs

    def guide(self, x, total=None):
        pyro.module("encoder", self.encoder)
        pyro.module("heads", self.heads)
        with pyro.plate("data", total or x.shape[0], subsample=x):
            loc, log_scale = self.heads(self.encoder(x)).chunk(2, -1)
            pyro.sample("latent", dist.Normal(loc, log_scale.exp()).to_event(1))


def binary(*shape):
    return (normal_data(*shape) > 0).to(torch.get_default_dtype())


# A semi-supervised autoencoder (examples/vae/ss_vae_M2.py): a label is there or not, the plate has
# no size, and a second pair classifies.


class SSVAE(nn.Module):
    def __init__(self, x_dim=6, y_dim=3, z_dim=2, aux_loss_multiplier=4.0):
        super().__init__()
        self.y_dim, self.z_dim, self.aux_loss_multiplier = y_dim, z_dim, aux_loss_multiplier
        self.encoder_y = nn.Sequential(nn.Linear(x_dim, y_dim), nn.Softmax(-1))
        self.encoder_z = nn.Linear(x_dim + y_dim, 2 * z_dim)
        self.decoder = nn.Sequential(nn.Linear(z_dim + y_dim, x_dim), nn.Sigmoid())

    def model(self, xs, ys=None):
        pyro.module("ss_vae", self)
        options = {"dtype": xs.dtype, "device": xs.device}
        with pyro.plate("data"):
            loc = torch.zeros(len(xs), self.z_dim, **options)
            zs = pyro.sample("z", dist.Normal(loc, torch.ones_like(loc)).to_event(1))
            alpha = torch.ones(len(xs), self.y_dim, **options) / self.y_dim
            ys = pyro.sample("y", dist.OneHotCategorical(alpha), obs=ys)
            probs = self.decoder(concatenated(zs, ys))
            pyro.sample("x", dist.Bernoulli(probs, validate_args=False).to_event(1), obs=xs)
            return probs

    def guide(self, xs, ys=None):
        with pyro.plate("data"):
            if ys is None:
                ys = pyro.sample("y", dist.OneHotCategorical(self.encoder_y(xs)))
            loc, log_scale = self.encoder_z(concatenated(xs, ys)).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))

    def model_classify(self, xs, ys=None):
        pyro.module("ss_vae", self)
        with pyro.plate("data"):
            if ys is not None:
                alpha = self.encoder_y(xs)
                with poutine.scale(scale=self.aux_loss_multiplier):
                    pyro.sample("y_aux", dist.OneHotCategorical(alpha), obs=ys)

    def guide_classify(self, xs, ys=None):
        """Nothing is left to guide."""


def concatenated(*tensors):
    shape = torch.broadcast_shapes(*(tensor.shape[:-1] for tensor in tensors))
    return torch.cat([tensor.expand((*shape, -1)) for tensor in tensors], -1)


def ss_vae():
    net = SSVAE()
    return net.model, config_enumerate(net.guide, "parallel", expand=True)


def labels(num):
    return nn.functional.one_hot(torch.arange(num) % 3, 3).to(torch.get_default_dtype())


# A deep Markov model (examples/dmm.py): batches of sequences of other lengths, each padded to its
# own longest one, and the latents' terms annealed by a `scale` handler.


class DMM(nn.Module):
    def __init__(self, x_dim=4, z_dim=2, rnn_dim=3):
        super().__init__()
        self.emitter = nn.Sequential(nn.Linear(z_dim, x_dim), nn.Sigmoid())
        self.trans = nn.Linear(z_dim, 2 * z_dim)
        self.hidden_to_z = nn.Linear(rnn_dim, 2 * z_dim)
        self.z_to_hidden = nn.Linear(z_dim, rnn_dim)
        self.rnn = nn.RNN(x_dim, rnn_dim, batch_first=True)
        self.z_0, self.z_q_0 = nn.Parameter(torch.zeros(z_dim)), nn.Parameter(torch.zeros(z_dim))
        self.h_0 = nn.Parameter(torch.zeros(1, 1, rnn_dim))

    def model(self, batch, batch_reversed, mask, lengths, annealing_factor=1.0):
        pyro.module("dmm", self)
        z_prev = self.z_0.expand(batch.size(0), self.z_0.size(0))
        with pyro.plate("z_minibatch", len(batch)):
            for t in pyro.markov(range(1, batch.size(1) + 1)):
                loc, scale = self.trans(z_prev).chunk(2, -1)
                with poutine.scale(scale=annealing_factor):
                    fn = dist.Normal(loc, nn.functional.softplus(scale))
                    z_t = pyro.sample(f"z_{t}", fn.mask(mask[:, t - 1 : t]).to_event(1))
                emission = dist.Bernoulli(self.emitter(z_t))
                pyro.sample(
                    f"obs_x_{t}",
                    emission.mask(mask[:, t - 1 : t]).to_event(1),
                    obs=batch[:, t - 1, :],
                )
                z_prev = z_t

    def guide(self, batch, batch_reversed, mask, lengths, annealing_factor=1.0):
        pyro.module("dmm", self)
        h_0 = self.h_0.expand(1, batch.size(0), self.rnn.hidden_size).contiguous()
        output, _ = self.rnn(batch_reversed, h_0)
        output, _ = nn.utils.rnn.pad_packed_sequence(output, batch_first=True)
        output = reverse_sequences(output, lengths)
        z_prev = self.z_q_0.expand(batch.size(0), self.z_q_0.size(0))
        with pyro.plate("z_minibatch", len(batch)):
            for t in pyro.markov(range(1, batch.size(1) + 1)):
                hidden = 0.5 * (torch.tanh(self.z_to_hidden(z_prev)) + output[:, t - 1, :])
                loc, scale = self.hidden_to_z(hidden).chunk(2, -1)
                fn = dist.Normal(loc, nn.functional.softplus(scale))
                with poutine.scale(scale=annealing_factor):
                    z_prev = pyro.sample(f"z_{t}", fn.mask(mask[:, t - 1 : t]).to_event(1))


def reverse_sequences(batch, lengths):
    reversed_batch = torch.zeros_like(batch)
    for b, length in enumerate(lengths.tolist()):
        reversed_batch[b, :length] = batch[b, :length].flip(0)
    return reversed_batch


def sequences(*lengths):
    """A batch as `examples/dmm.py` makes it, of lengths that do not rise."""
    lengths = torch.tensor(lengths)
    mask = (torch.arange(lengths.max()) < lengths[:, None]).to(torch.get_default_dtype())
    batch = binary(len(lengths), int(lengths.max()), 4) * mask[..., None]
    packed = nn.utils.rnn.pack_padded_sequence(
        reverse_sequences(batch, lengths), lengths, batch_first=True
    )
    return batch, packed, mask, lengths
