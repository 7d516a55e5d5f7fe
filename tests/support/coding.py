"""Random models and data for codes, alike for both backends."""

from typing import Any, NamedTuple

import numpy as np

from tests.support.helpers import random_weights

PRIORS = ("standard", "learned", "floating", "mixture", "full mixture", "vamp")
ENCODERS = ("normal", "linear", "full", "constant")
DECODERS = ("bernoulli", "categorical", "poisson", "logistic", "normal")
CLASSES = 3


class Sizes(NamedTuple):
    """The sizes of a model and of its data."""

    num: int
    dim: int
    latent: int
    hidden: tuple[int, ...] = (8,)


class Host:
    """A backend: weights stand in its modules, or in parameters."""

    def __init__(self, m: Any, dtype: Any) -> None:
        self.m, self.dtype = m, dtype
        self.has_params = m.__name__ == "numpyro_entropy"

    def array(self, x: np.ndarray) -> Any:
        if self.has_params:
            return x
        import torch

        return torch.from_numpy(x)

    def draw(self, vae: Any, seed: int, spread: float) -> tuple:
        """Random weights: the arguments of the VAE's functions before the data."""
        if self.has_params:
            import jax
            from jax import random

            shapes = jax.eval_shape(vae.init, random.key(0))
            from numpyro_entropy.params import from_weights, to_weights

            zeros = {k: np.zeros(s.shape, s.dtype) for k, s in to_weights(shapes).items()}
            return (from_weights(_spread(zeros, seed, spread), shapes),)
        vae.set_weights(_spread(vae.get_weights(), seed, spread))
        return ()

    def compress(self, vae: Any, params: tuple, x: np.ndarray, **options: Any) -> Any:
        return self.m.compress(vae, *params, self.array(x), **options)

    def decompress(self, vae: Any, params: tuple, code: Any) -> np.ndarray:
        return np.asarray(self.m.decompress(vae, *params, code))


def _spread(weights: dict[str, np.ndarray], seed: int, spread: float) -> dict[str, np.ndarray]:
    drawn = random_weights(weights, seed)
    scaled = {
        key: w if key.endswith(("variance", "covariance", "scale")) else spread * w
        for key, w in drawn.items()
    }
    return {key: w.astype(weights[key].dtype) for key, w in scaled.items()}


def make(host: Host, prior: str, encoder: str, decoder: str, sizes: Sizes, levels: int = 256):
    """A VAE of these parts."""
    m, dtype = host.m, host.dtype
    d, h = sizes.dim, sizes.latent
    shape = (d, CLASSES) if decoder == "categorical" else (d,)
    rng = np.random.default_rng(h)
    means, factors = rng.standard_normal((3, h)), 0.3 * rng.standard_normal((3, h, h))

    def net(in_dim, out_dim):
        return m.MLP(in_dim, out_dim, sizes.hidden, "tanh", dtype=dtype)

    if decoder == "categorical" and encoder == "linear":
        encoder = "normal"
    enc = {
        "normal": lambda: m.NormalEncoder(net(shape, 2 * h)),
        "linear": lambda: m.LinearNormalEncoder(d, h, dtype=dtype),
        "full": lambda: m.FullNormalEncoder(net(shape, h * (h + 3) // 2), h),
        "constant": lambda: m.ConstantNormalEncoder(net(shape, h), 0.1, dtype=dtype),
    }[encoder]()
    covariance = factors @ factors.swapaxes(1, 2) + 0.1 * np.eye(h)
    pri = {
        "standard": lambda: m.StandardNormalPrior(h, dtype=dtype),
        "learned": lambda: m.NormalPrior(h, dtype=dtype),
        "floating": lambda: m.FloatingNormalPrior(h, full_covariance=True, dtype=dtype),
        "mixture": lambda: m.MixturePrior([1, 2, 3], means, means**2 + 0.1, dtype=dtype),
        "full mixture": lambda: m.MixturePrior([1, 2, 3], means, covariance, dtype=dtype),
        "vamp": lambda: m.VampPrior(enc, np.zeros((2, *shape)), dtype=dtype),
    }[prior]()
    dec = {
        "bernoulli": lambda: m.BernoulliDecoder(net(h, d)),
        "categorical": lambda: m.CategoricalDecoder(net(h, shape)),
        "poisson": lambda: m.PoissonDecoder(net(h, d)),
        "logistic": lambda: m.DiscretizedLogisticDecoder(net(h, d), num_levels=levels, dtype=dtype),
        "normal": lambda: m.DiscretizedNormalDecoder(net(h, d), num_levels=levels, dtype=dtype),
    }[decoder]()
    return m.VAE(pri, enc, dec, shape)


def observations(decoder: str, sizes: Sizes, seed: int, dtype: Any, levels: int = 256):
    """Data that a decoder has probabilities for, the rarest ones among them."""
    rng, shape = np.random.default_rng(seed), (sizes.num, sizes.dim)
    x = {
        "bernoulli": lambda: rng.random(shape) < rng.random(),
        "categorical": lambda: np.eye(CLASSES)[rng.integers(CLASSES, size=shape)],
        "poisson": lambda: rng.poisson(10 ** rng.uniform(-1, 3), shape),
        "logistic": lambda: rng.integers(levels, size=shape) / (levels - 1),
        "normal": lambda: rng.binomial(levels - 1, rng.random(), shape) / (levels - 1),
    }[decoder]()
    return x.astype(dtype)


def drawn(seed: int, largest: Sizes) -> tuple[str, str, str, Sizes]:
    """Random parts, and sizes up to the largest ones, log-uniform."""
    rng = np.random.default_rng(seed)
    num, dim, latent = np.exp(rng.uniform(0, np.log(np.array(largest[:3]) + 1))).astype(int)
    prior, encoder, decoder = (str(rng.choice(names)) for names in (PRIORS, ENCODERS, DECODERS))
    return prior, encoder, decoder, Sizes(int(num), int(dim), int(latent))
