"""Data sets of the papers: seeded generators of the synthetic ones, loaders of real ones.

Every function returns a `Dataset` in NumPy arrays, and none downloads anything.
"""

from entropy_core.datasets.dataset import Dataset
from entropy_core.datasets.edvae import edvae_modulated, edvae_normal, modulated_latents
from entropy_core.datasets.real import digits, idx, mnist_5k
from entropy_core.datasets.synthetic import manifold, pca_ring, ppca

__all__ = [
    "Dataset",
    "digits",
    "edvae_modulated",
    "edvae_normal",
    "idx",
    "manifold",
    "mnist_5k",
    "modulated_latents",
    "pca_ring",
    "ppca",
]
