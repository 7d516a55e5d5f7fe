"""Weights of the KL divergence that change in training."""

from collections.abc import Callable

from entropy_core.checks import check_non_negative, check_positive_int, expected


def linear_annealing(
    num_steps: int, *, start: float = 0.0, end: float = 1.0
) -> Callable[[int], float]:
    """A KL weight that goes from `start` to `end` in a straight line, for `fit(..., kl_weight=)`.

    `beta_t = start + (end - start) t / T` up to the step `t = T`, and `end` from there on: the
    warm-up of Sønderby et al. 2016. Any other function of the step will do, and in NumPyro a
    schedule of optax.

    Args:
        num_steps: `T`, the number of steps; that of the first one is 0.
        start: The weight at the first step.
        end: The weight from step `T` on.

    Raises:
        ValueError: If `num_steps` is no positive integer, or a weight is negative or not finite.

    Example:
        >>> weight = linear_annealing(4)
        >>> [weight(step) for step in range(6)]
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    check_positive_int(num_steps, "num_steps")
    first, last = check_non_negative(start, "start"), check_non_negative(end, "end")

    def kl_weight(step: int) -> float:
        return last if step >= num_steps else first + (last - first) * step / num_steps

    return kl_weight


def check_annealing(kl_weight: object, loss: object) -> None:
    """Refuses to anneal the KL weight of an objective that has none.

    Args:
        kl_weight: A function of the step; `None` for no annealing.
        loss: The objective.

    Raises:
        TypeError: If `kl_weight` is no function.
        ValueError: If the objective takes no `kl_weight`.
    """
    if kl_weight is None:
        return
    if not callable(kl_weight):
        raise TypeError(expected("a function of the step", "kl_weight", repr(kl_weight)))
    if not hasattr(loss, "kl_weight"):
        what = "an objective that takes a `kl_weight`, such as Standard_ELBO,"
        raise ValueError(expected(what, "loss", type(loss).__name__))


def is_comparable(loss: object, *, annealed: bool) -> bool:
    """Whether an objective and the ELBO of a model may be compared in the course of a training.

    Not where its weight changes on the way, nor where it has variances of its own in the place of
    the model's, which are not trained.
    """
    return not (annealed or getattr(loss, "replaces_variances", False))


def no_claim_of(loss: object, *, annealed: bool) -> str | None:
    """Why the theorem says nothing of the optimum of a training; `None` where it does."""
    return "annealed KL weight" if annealed else getattr(loss, "no_claim", None)
