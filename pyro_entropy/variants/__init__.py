"""The papers' variational autoencoders by name: each is a choice of prior, encoder and decoder."""

from pyro_entropy.variants.damm import VAE0, VAE1, VAE2, VAE3, LinearVAE
from pyro_entropy.variants.related import EDVAE, BernoulliVAE, ConstantVarianceVAE, SigmaVAE

__all__ = [
    "EDVAE",
    "VAE0",
    "VAE1",
    "VAE2",
    "VAE3",
    "BernoulliVAE",
    "ConstantVarianceVAE",
    "LinearVAE",
    "SigmaVAE",
]
