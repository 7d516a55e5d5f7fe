"""A training loop for data in memory: minibatches, a progress bar, the entropy sum on the way."""

from collections.abc import Callable
from typing import Any, NamedTuple
from warnings import warn

import numpy as np
import torch
from numpy.typing import NDArray
from pyro.infer import ELBO, SVI
from pyro.optim import Adam, PyroLRScheduler, PyroOptim  # type: ignore[attr-defined]
from torch import Tensor, nn

from entropy_core.checks import check_finite, check_positive_int, expected
from entropy_core.reach import reachable
from entropy_core.report.report import EntropyReport
from entropy_core.traces.sites import ONE_AT_A_TIME
from entropy_core.training.annealing import check_annealing, no_claim_of
from entropy_core.training.epochs import train
from pyro_entropy.diagnostic.diagnostic import EntropySumDiagnostic
from pyro_entropy.elbos.standard import Standard_ELBO
from pyro_entropy.operations import to_numpy
from pyro_entropy.traces.batches import check_observations
from pyro_entropy.traces.modes import evaluating, keeping_random_state
from pyro_entropy.traces.pairs import leaves_of, reading_params, run_pair


class FitResult(NamedTuple):
    """What `fit` returns.

    Args:
        losses: The loss of each step, in nats per data point.
        report: The report on the training data at the end, with the history of training.
    """

    losses: NDArray[np.float64]
    report: EntropyReport


def fit(
    model: Callable,
    guide: Callable,
    data: Tensor,
    *,
    loss: ELBO | None = None,
    optim: PyroOptim | None = None,
    kl_weight: Callable[[int], Any] | None = None,
    num_epochs: int = 100,
    batch_size: int = 128,
    diagnostic: EntropySumDiagnostic | None = None,
    diagnose_every: int = 1,
    progress_bar: bool = True,
) -> FitResult:
    """Trains a model and guide with `pyro.infer.SVI`; watches the ELBO become an entropy sum.

    Each epoch goes once through the data in random order, in batches of equal size; what is left
    over waits for another epoch's order.

    Args:
        model: Takes a batch and `total`, the size of the data set, as `vae.model` does.
        guide: Takes the same.
        data: The data set, of shape `(N, ...)`, on the device of the parameters.
        loss: The objective; the default is `Standard_ELBO()`.
        optim: The optimiser; the default is Adam with learning rate 1e-3. A scheduler, such as
            `pyro.optim.ExponentialLR`, takes a step at the end of each epoch.
        kl_weight: The weight of the KL divergence in the loss, as a function of the step, counted
            from 0, such as `entropy_core.training.linear_annealing` makes; the default is that of
            `loss`. The report makes no claim then.
        num_epochs: The number of epochs.
        batch_size: The number of data points in a batch, at most `N`.
        diagnostic: What looks at the result; the default has 10 draws for each data point. On the
            way one draw must do. The report says so where the theorem is silent on `loss`.
        diagnose_every: The number of epochs between rows of the history.
        progress_bar: Whether to show a progress bar with loss, ELBO, entropy sum and gap.

    Raises:
        TypeError: If `data` is no tensor, or `kl_weight` no function.
        ValueError: If `data` is empty, not finite or outside the support of its distribution, a
            number is no positive integer, `loss` takes no `kl_weight`, or Pyro's param store holds
            other tensors under the names of the parameters.
        FloatingPointError: If a loss is NaN or infinite.

    Example:
        >>> from pyro_entropy import VAE1, fit
        >>> vae = VAE1(4, 2)
        >>> x = torch.rand(256, 4)
        >>> losses, report = fit(vae.model, vae.guide, x, num_epochs=2, progress_bar=False)
        >>> len(losses)
        4
    """
    if not isinstance(data, Tensor):
        raise TypeError(expected("a torch.Tensor", "data", type(data).__name__))
    if not len(data):
        raise ValueError(expected("at least one data point", "data", "an empty tensor"))
    check_finite(to_numpy(data), "data")
    check_positive_int(batch_size, "batch_size")
    check_positive_int(num_epochs, "num_epochs")
    check_positive_int(diagnose_every, "diagnose_every")
    loss = loss or Standard_ELBO()
    check_annealing(kl_weight, loss)
    num_data = len(data)
    batch_size = min(batch_size, num_data)
    with keeping_random_state():
        check_param_store(model, guide, data[:batch_size])
        check_observations(model, guide, data, batch_size)
    optim = optim or Adam({"lr": 1e-3})
    svi = SVI(model, guide, optim, loss)
    diagnostic = diagnostic or EntropySumDiagnostic(model, guide, objective=loss)
    glance = EntropySumDiagnostic(
        model,
        guide,
        num_particles=1,
        data_plate=diagnostic.data_plate,
        thresholds=diagnostic.thresholds,
    )

    def run_epoch(epoch: int) -> NDArray[np.floating]:
        order = torch.randperm(num_data, device=data.device)
        batches = order[: num_data - num_data % batch_size].split(batch_size)
        losses = []
        for step, batch in enumerate(batches, (epoch - 1) * len(batches)):
            options = {} if kl_weight is None else {"kl_weight": kl_weight(step)}
            with ONE_AT_A_TIME:
                losses.append(svi.step(data[batch], total=num_data, **options) / num_data)
        if isinstance(optim, PyroLRScheduler):
            optim.step()
        return np.array(losses)

    def look(diagnostic: EntropySumDiagnostic) -> EntropyReport:
        # Training goes on as without it.
        with keeping_random_state():
            return diagnostic.run(data)

    losses, history = train(
        run_epoch,
        lambda: look(glance),
        num_epochs=num_epochs,
        diagnose_every=diagnose_every,
        progress_bar=progress_bar,
    )
    report = look(diagnostic).with_history(history)
    reason = no_claim_of(loss, annealed=kl_weight is not None)
    return FitResult(losses, report.with_no_claim(reason) if reason else report)


def check_param_store(model: Callable, guide: Callable, *args: object) -> None:
    """Refuses a pair that reads tensors which Pyro's param store would not train.

    The store knows a parameter by its name alone: of two modules that share a name, the second is
    served the tensors of the first, and never moves. A module that no `pyro.module` has registered
    is not in the store at all. Frozen parameters, and those of modules that a call does not use,
    are warned of.

    Raises:
        ValueError: If the densities of a pair depend on a tensor with `requires_grad` that is no
            parameter of the store.
    """
    with evaluating(model, guide), torch.enable_grad():
        with reading_params() as trained:
            pair = run_pair(model, guide, args)
        known = {id(t) for t in [*trained.values(), *(a for a in args if isinstance(a, Tensor))]}
        read = leaves_of(pair)
        leaves = [leaf for leaf in read if id(leaf) not in known]
    modules = (module for fn in (model, guide) for module in reachable(fn, nn.Module))
    parameters = {id(p): (name, p) for module in modules for name, p in module.named_parameters()}
    if leaves:
        names = {key: name for key, (name, _) in parameters.items()}
        found = [names.get(id(leaf), f"one of shape {tuple(leaf.shape)}") for leaf in leaves]
        what = "parameters of Pyro's param store (`pyro.module`, each under a name of its own)"
        got = f"others, which would not move: {', '.join(sorted(found))}"
        raise ValueError(expected(what, "model` and `guide", got))
    frozen = [name for name, p in parameters.values() if not p.requires_grad]
    used = {id(leaf) for leaf in read}
    idle = [name for key, (name, p) in parameters.items() if p.requires_grad and key not in used]
    reasons = {"frozen (requires_grad=False)": frozen, "not used by the first batch": idle}
    said = [f"{why}: {', '.join(sorted(names))}" for why, names in reasons.items() if names]
    if said:
        warn(f"parameters that may stay as they are: {'; '.join(said)}", stacklevel=3)
