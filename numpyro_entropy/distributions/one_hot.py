"""The categorical distribution of one-hot vectors."""

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import nn, random
from jaxtyping import Array
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from numpyro_entropy.nets.mlp import AnyArray


class _OneHot(constraints.ParameterFreeConstraint):
    is_discrete = True
    event_dim = 1

    def __call__(self, x: AnyArray) -> AnyArray:
        return ((x == 0) | (x == 1)).all(-1) & (x.sum(-1) == 1)

    def feasible_like(self, prototype: Array) -> Array:
        return jnp.zeros_like(prototype).at[..., 0].set(1)


one_hot = _OneHot()


class OneHotCategorical(dist.Distribution):
    """The categorical distribution of one-hot vectors, which the host lacks.

    Args:
        logits: Unnormalised log-probabilities, of shape `(..., K)`.
        validate_args: Whether to check arguments, as in all of NumPyro's distributions.

    Example:
        >>> OneHotCategorical(jnp.zeros(4)).log_prob(jnp.array([0.0, 1.0, 0.0, 0.0]))
        Array(-1.386..., dtype=...)
    """

    arg_constraints = {"logits": constraints.real_vector}  # noqa: RUF012 - the host's interface
    support = one_hot

    def __init__(self, logits: AnyArray, *, validate_args: bool | None = None) -> None:
        self.logits = nn.log_softmax(logits)
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=validate_args)

    @validate_sample
    def log_prob(self, value: AnyArray | float) -> Array:
        """The logarithm of the probability of the class that is one."""
        return jnp.where(value == 1, self.logits, 0).sum(-1)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """A one-hot vector, in the float type of the logits."""
        draw = random.categorical(key, self.logits, shape=sample_shape + self.batch_shape)
        return nn.one_hot(draw, self.event_shape[0], dtype=self.logits.dtype)

    @property
    def mean(self) -> Array:
        """The probabilities."""
        return jnp.exp(self.logits)

    @property
    def variance(self) -> Array:
        """`p (1 - p)`."""
        return self.mean * (1 - self.mean)

    def entropy(self) -> Array:
        """`-sum_k p_k log p_k`, in nats."""
        return -jnp.where(self.mean > 0, self.mean * self.logits, 0).sum(-1)
