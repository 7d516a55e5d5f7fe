"""An objective over the batches of several processes, each of which has a part of the rows."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from copy import copy
from typing import Any

import torch
from torch import Tensor

from entropy_core.checks import expected
from pyro_entropy.distributed.alike import Alike
from pyro_entropy.distributed.ranks import Ranks
from pyro_entropy.elbos.base import Capturable
from pyro_entropy.traces.modes import buffers_of, evaluating, keeping_random_state
from pyro_entropy.traces.pairs import reading_params, run_pair


class Distributed_ELBO(Capturable):
    """An objective of this package over the ranks of `torch.distributed`, each with its own rows.

    The loss is that of the whole batch, the same on every rank, and so are its gradients: sums over
    data points are added up, batch moments are averaged, and the negatives of ED-VAE are gathered,
    with gradients. It stands in the place of the objective in `SVI` and `fit`. The ranks' numbers
    of rows may differ. Parameters and buffers begin with the values of the first rank. `total` is
    the size of the whole data set.

    Each rank draws for itself: seed them differently. A latent site outside the data plate has a
    draw on each rank, and counts as the mean of them.

    `loss_and_grads`, and so `SVI.step`, leaves the gradient of the loss in the parameters of every
    rank. That of `differentiable_loss` is the mean over ranks of what `backward` leaves, which
    `torch.nn.parallel.DistributedDataParallel` around `elbo(model, guide)` takes.

    Args:
        loss: The objective.

    Raises:
        TypeError: If `loss` is no objective of this package.
        RuntimeError: If `torch.distributed` has no process group.
        ValueError: When called: if no plate holds all data, and as the objective does. An error on
            one rank leaves the others waiting, until `torchrun` ends them.

    Example:
        >>> import pyro
        >>> import torch.distributed as dist
        >>> from pyro_entropy import BILBO_ELBO, ConstantVarianceVAE, Distributed_ELBO
        >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        >>> vae, x = ConstantVarianceVAE(4, 2), torch.rand(8, 4)
        >>> optim = pyro.optim.Adam({"lr": 1e-3})
        >>> svi = pyro.infer.SVI(vae.model, vae.guide, optim, Distributed_ELBO(BILBO_ELBO()))
        >>> loss = svi.step(x)
        >>> dist.destroy_process_group()
    """

    def __init__(self, loss: Capturable) -> None:
        if not isinstance(loss, Capturable) or isinstance(loss, Distributed_ELBO):
            what = "an objective of this package, such as Standard_ELBO(),"
            raise TypeError(expected(what, "loss", type(loss).__name__))
        super().__init__(
            loss.num_particles,
            loss.max_plate_nesting,
            vectorize_particles=loss.vectorize_particles,
        )
        self.loss_of_batch = copy(loss)
        self.loss_of_batch.ranks = self.ranks = Ranks()
        self._params = Alike(self.ranks)
        self._pair: tuple[Callable, Callable] | None = None

    def __getattr__(self, name: str) -> Any:
        """Options of the objective, and what else it has, such as `terms`."""
        if name.startswith("_") or name == "loss_of_batch":
            raise AttributeError(name)
        return getattr(self.loss_of_batch, name)

    @property
    def history_terms(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of the objective."""
        return self.loss_of_batch.history_terms

    @property
    def replaces_variances(self) -> bool:  # type: ignore[override]
        """Whether the objective does."""
        return self.loss_of_batch.replaces_variances

    def noting(self) -> AbstractContextManager[list[Tensor]]:
        """Collects what the objective notes, the same on every rank."""
        return self.loss_of_batch.noting()

    def lean(self) -> Capturable | str:
        """Why it is not to be captured."""
        return "ranks send each other numbers on the way"

    def differentiable_loss(
        self, model: Callable, guide: Callable, *args: Any, **kwargs: Any
    ) -> Tensor:
        """The loss of the whole batch; its gradient is the mean over ranks of what each finds.

        Raises:
            ValueError: If no plate holds all data, and as the objective does.
            NotImplementedError: If a site of the guide has no reparameterised draws.
        """
        with self._alike(model, guide):
            return self.loss_of_batch.differentiable_loss(model, guide, *args, **kwargs)

    def loss(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """The loss of the whole batch."""
        loss: Any = self.loss_of_batch
        with self._alike(model, guide):
            return loss.loss(model, guide, *args, **kwargs)

    def loss_and_grads(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> float:
        """The loss of the whole batch; its gradients are left in the parameters of every rank."""
        loss: Any = self.loss_of_batch
        with self._alike(model, guide), reading_params() as params:
            value = loss.loss_and_grads(model, guide, *args, **kwargs)
        self.ranks.average_grads(params.values())
        return value

    def make_alike(self, model: Callable, guide: Callable, *args: Any, **kwargs: Any) -> None:
        """Gives parameters and buffers the values of the first rank, before there is a loss."""
        alike = self._alike(model, guide)
        with torch.no_grad(), keeping_random_state(), evaluating(model, guide), alike:
            run_pair(model, guide, args, kwargs)

    def _alike(self, model: Callable, guide: Callable) -> Alike:
        if self._pair != (model, guide):
            self._pair = model, guide
            self.ranks.broadcast(buffers_of(model, guide))
        return self._params

    # What the host's base class asks for: the objective runs pairs by itself.
    def _get_trace(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        raise NotImplementedError
