"""The host's SVI with steps that are replayed from a graph."""

from collections.abc import Callable
from typing import Any

from pyro.infer import ELBO, SVI
from pyro.optim import PyroOptim

from entropy_core.checks import expected
from pyro_entropy.capture.captured import CapturedLoss, Captures
from pyro_entropy.capture.optimiser import OneOptimiser


class CapturedSVI(SVI):
    """`pyro.infer.SVI` whose steps run no Python of the model, for any model and guide.

    It stands in `SVI`'s place in a loop of your own: the first step of a form of arguments runs as
    in Pyro, and the following ones are replayed from a graph of it, with one optimiser for all
    parameters; see `CapturedLoss`. Objectives of this package are captured with normal densities in
    fewer passes over the data, which differ from the host's by rounding; all others give the
    numbers of `SVI.step` bit for bit, where the optimiser's own fused step does. A number that
    changes with each step, such as a weight, is a tensor.

    Args:
        model: The model.
        guide: The guide.
        optim: The optimiser.
        loss: The objective, an object of the host's `ELBO`.
        after: How many steps of a form are run as they are first.
        check_every: The number of steps after which a graph is compared with the loss again.

    Raises:
        TypeError: If `loss` is no `ELBO`.
        ValueError: If a number is no positive integer.

    Example:
        >>> import pyro, torch
        >>> from pyro_entropy import VAE1, CapturedSVI, Standard_ELBO
        >>> vae, x = VAE1(4, 2), torch.rand(8, 4)
        >>> optim = pyro.optim.Adam({"lr": 1e-3})
        >>> svi = CapturedSVI(vae.model, vae.guide, optim, Standard_ELBO())
        >>> losses = [svi.step(x) for _ in range(100)]
        >>> print(svi.captures)
        99 of 100 steps replayed from a graph
    """

    def __init__(
        self,
        model: Callable,
        guide: Callable,
        optim: PyroOptim,
        loss: ELBO,
        *,
        after: int = 1,
        check_every: int = 500,
    ) -> None:
        if not isinstance(loss, ELBO):
            raise TypeError(expected("an object of `pyro.infer.ELBO`", "loss", loss))
        super().__init__(model, guide, optim, loss)
        self._captured = CapturedLoss(loss, model, guide, after=after, check_every=check_every)
        self._optimiser = OneOptimiser(optim)

    @property
    def captures(self) -> Captures:
        """How many steps were replayed, and why others were not."""
        return self._captured.captures

    def step(self, *args: Any, **kwargs: Any) -> Any:
        """Takes a step, as `SVI.step` does.

        Returns:
            The loss, in nats.
        """
        loss, params = self._captured(*args, **kwargs)
        tensors = list(params.values())
        self._optimiser(tensors)
        self._captured.drop_grads(tensors)
        return loss
