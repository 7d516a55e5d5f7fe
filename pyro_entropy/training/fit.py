"""A training loop: any data, validation, an end by itself, the entropy sum on the way."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from warnings import warn

import numpy as np
import torch
from numpy.typing import NDArray
from pyro.infer import ELBO, SVI
from pyro.optim import Adam, PyroOptim  # type: ignore[attr-defined]
from torch import Tensor, nn

from entropy_core.checks import check_choice, check_objective, check_positive_int, expected
from entropy_core.reach import reachable
from entropy_core.report.report import EntropyReport
from entropy_core.theory.claims import SiteClaim
from entropy_core.training.annealing import check_annealing, no_claim_of
from entropy_core.training.callbacks import Callback
from entropy_core.training.checkpoints import Checkpoints, checkpoints_of
from entropy_core.training.epochs import train
from entropy_core.training.optimum.certificate import Certificate
from entropy_core.training.stopping import Rule, Stopped, TheoremStop, rules_of
from pyro_entropy.capture.captured import CapturedLoss, Captures
from pyro_entropy.diagnostic.claims import explain_residuals
from pyro_entropy.diagnostic.diagnostic import EntropySumDiagnostic
from pyro_entropy.distributed.elbo import Distributed_ELBO
from pyro_entropy.elbos.standard import Standard_ELBO
from pyro_entropy.traces.batches import check_observations
from pyro_entropy.traces.modes import evaluating, keeping_random_state
from pyro_entropy.traces.pairs import leaves_of, reading_params, run_pair
from pyro_entropy.training import certificate
from pyro_entropy.training.data import LOOK_SIZE, Data, first_batch
from pyro_entropy.training.steps import Steps
from pyro_entropy.training.variances import ClosedFormVariances

# A graph takes as long to make as about so many steps.
CAPTURE_AFTER = 50


@dataclass(frozen=True)
class FitResult:
    """What `fit` returns.

    `losses, report = fit(...)` takes it apart.

    Args:
        losses: The loss of each step, in nats per data point.
        report: The report on the training data at the end, with the history of training.
        stopped: What has ended the training.
        certificate: The certificate, where one was asked for.
        captures: How many steps were replayed from a graph, and why others were not.
    """

    losses: NDArray[np.float64]
    report: EntropyReport
    stopped: Stopped
    certificate: Certificate | None = None
    captures: Captures = field(default_factory=Captures)

    def __iter__(self) -> Iterator[Any]:
        return iter((self.losses, self.report))


def fit(
    model: Callable,
    guide: Callable,
    data: Any,
    *,
    loss: ELBO | None = None,
    optim: PyroOptim | None = None,
    kl_weight: Callable[[int], Any] | None = None,
    num_epochs: int = 100,
    batch_size: int = 128,
    transform: Callable | None = None,
    validation: Any = None,
    stop: Rule | Sequence[Rule] | None = None,
    schedule_by: str = "epoch",
    callbacks: Sequence[Callback] = (),
    checkpoints: Checkpoints | str | os.PathLike[str] | None = None,
    closed_form_variances: bool = False,
    certify: bool = False,
    capture: bool = True,
    diagnostic: EntropySumDiagnostic | None = None,
    diagnose_every: int = 1,
    progress_bar: bool = True,
) -> FitResult:
    """Trains a model and guide with `pyro.infer.SVI`; watches the ELBO become an entropy sum.

    Each epoch goes once through the data. Where they have rows these are in random order, in the
    fewest batches of at most `batch_size`, which differ by one data point at most. A model that
    takes `total` is told the size of the data set, so that it scales each batch to it, the smallest
    one too; a model that does not take it is trained on each batch as it stands.

    Args:
        model: Takes a batch and, if it can, `total`, the size of the data set, as `vae.model` does.
        guide: Takes the same.
        data: A tensor of shape `(N, ...)`, or NumPy array, which may lie on a disk; a tuple or
            dictionary with some, the arguments of model and guide, which are shuffled alike;
            batches of these that can be gone through again, such as a `DataLoader`; or a function
            of the epoch, counted from 1, that makes such batches, and those to look at for 0.
        loss: The objective; the default is `Standard_ELBO()`. With a `Distributed_ELBO` the ranks
            of `torch.distributed` train together: each is given the same data and takes its rows of
            each batch (batches that come as they are, are one rank's part, as many on each), and
            weights, losses and looks are those of all. It goes without `closed_form_variances`,
            `certify`, `checkpoints` and `TheoremStop`.
        optim: The optimiser; the default is Adam with learning rate 1e-3. It may be a scheduler,
            such as `pyro.optim.ExponentialLR`. `pyro.optim.ReduceLROnPlateau` is given the held-out
            loss at each look where there are held-out data, and the mean loss of the epoch
            elsewhere.
        kl_weight: The weight of the KL divergence in the loss, as a function of the step, counted
            from 0, such as `entropy_core.training.linear_annealing` makes; the default is that of
            `loss`. The report makes no claim then.
        num_epochs: The largest number of epochs.
        batch_size: The largest number of data points in a batch, where the data have rows.
        transform: What is done to each batch before a step, such as dynamic binarisation; it takes
            and returns a batch. Looks at the training data are at transformed batches too.
        validation: Held-out data, in any form that `data` has, and as they are.
        stop: What may end the training earlier: `EarlyStopping`, `TheoremStop`, or several.
        schedule_by: When a scheduler takes a step: at the end of each `"epoch"`, or each `"step"`.
        callbacks: Code of your own that is called on the way.
        checkpoints: A folder of files to go on from after the training was stopped.
        closed_form_variances: Whether learned variances are set to their optimum at the end of each
            epoch, from a pass over the training data; see the function of that name. Their sites
            are no part of a stop by the theorem.
        certify: Whether the result has a certificate: the residuals at the stationary point of the
            ELBO at held draws, and at fresh ones; see the function of that name.
        capture: Whether steps are replayed from a graph of the host's operations once it is known,
            where that can be done; see `CapturedSVI`. `captures` of the result says how many were.
        diagnostic: What looks at the result; the default has 10 draws for each data point. On the
            way one draw must do. The report says so where the theorem is silent on `loss`.
        diagnose_every: The number of epochs between looks, which are rows of the history.
        progress_bar: Whether to show a progress bar with loss, ELBO, entropy sum and gap.

    Raises:
        TypeError: If `data` have none of these forms, `kl_weight` is no function, or `loss` is no
            objective.
        ValueError: If `data` are empty, not finite or outside the support of their distribution, a
            number is no positive integer, `loss` takes no `kl_weight`, or not what is asked for
            beside it, Pyro's param store holds other tensors under the names of the parameters, or
            a file of `checkpoints` is damaged or of another training.
        NotFiniteLoss: If a loss is NaN or infinite: a FloatingPointError. The modules then have the
            last weights with a finite loss; with 100,000 numbers or more, those of up to 16 steps
            before.
        Interrupted: If the training is interrupted, as with Ctrl-C: a KeyboardInterrupt.

    Example:
        >>> from pyro_entropy import VAE1, fit
        >>> vae = VAE1(4, 2)
        >>> x = torch.rand(256, 4)
        >>> losses, report = fit(vae.model, vae.guide, x, num_epochs=2, progress_bar=False)
        >>> len(losses)
        4
    """
    check_positive_int(batch_size, "batch_size")
    check_positive_int(num_epochs, "num_epochs")
    check_positive_int(diagnose_every, "diagnose_every")
    check_choice(schedule_by, ("epoch", "step"), "schedule_by")
    rules = rules_of(stop, validation=validation is not None)
    folder = checkpoints_of(checkpoints)
    loss = loss or Standard_ELBO()
    check_objective(loss, "loss_and_grads")
    check_annealing(kl_weight, loss)
    ranks = None
    if isinstance(loss, Distributed_ELBO):
        ranks = loss.ranks
        _check_together(
            stop=[rule for rule in rules if isinstance(rule, TheoremStop)],
            checkpoints=folder,
            closed_form_variances=closed_form_variances,
            certify=certify,
        )
    with keeping_random_state():
        device = _device_of(model, guide)
        source = Data(data, batch_size, transform=transform, device=device, ranks=ranks)
        held_out = None
        if validation is not None:
            held_out = Data(validation, LOOK_SIZE, device=device, ranks=ranks)
        first = first_batch(source)
        check_param_store(model, guide, *first.args, **first.kwargs)
        num_data = check_observations(model, guide, source.in_order(batch_size), batch_size)
        if isinstance(loss, Distributed_ELBO):
            num_data = sum(loss.ranks.gather(num_data))
            loss.make_alike(model, guide, *first.args, **first.kwargs)
        if held_out is not None:
            check_observations(model, guide, held_out.in_order(), batch_size)
    diagnostic = diagnostic or EntropySumDiagnostic(model, guide, objective=loss)
    steps = Steps(
        SVI(model, guide, optim or Adam({"lr": 1e-3}), loss),
        CapturedLoss(loss, model, guide, after=CAPTURE_AFTER if capture else None),
        source,
        num_data,
        kl_weight=kl_weight,
        schedule_by=schedule_by,
        glance=glance_of(diagnostic, model, guide, rules),
        validation=held_out,
        claims=_claims_for(rules, model, guide, source, diagnostic.data_plate),
    )
    steps.register(first)
    if closed_form_variances:
        steps.set_variances(ClosedFormVariances(model, guide, data_plate=diagnostic.data_plate))
    course, progress = train(
        steps,
        num_epochs=num_epochs,
        diagnose_every=diagnose_every,
        progress_bar=progress_bar and not (ranks and ranks.rank),
        rules=rules,
        callbacks=callbacks,
        checkpoints=folder,
    )
    with keeping_random_state():
        report = diagnostic.run(source.in_order(), distributed=ranks is not None)
        report = report.with_history(course.history)
        certified = None
        if certify:
            certified = certificate.certify(
                model, guide, source.in_order(), data_plate=diagnostic.data_plate
            )
    reason = no_claim_of(loss, annealed=kl_weight is not None)
    progress.report = report.with_no_claim(reason) if reason else report
    for callback in callbacks:
        with keeping_random_state():
            callback.end(progress)
    captures = steps.loss.captures
    return FitResult(course.losses, progress.report, course.stopped, certified, captures)


def glance_of(
    diagnostic: EntropySumDiagnostic, model: Callable, guide: Callable, rules: Sequence[Rule]
) -> EntropySumDiagnostic:
    """What looks on the way: with as many draws as a stop by the theorem asks for, or one."""
    return EntropySumDiagnostic(
        model,
        guide,
        num_particles=max((getattr(rule, "num_draws", 1) for rule in rules), default=1),
        data_plate=diagnostic.data_plate,
        thresholds=diagnostic.thresholds,
    )


def _claims_for(
    rules: Sequence[Rule], model: Callable, guide: Callable, source: Data, data_plate: str | None
) -> Callable[[], list[SiteClaim]] | None:
    """What looks at the claims of the theorem, where a rule asks for it."""
    theorem = next((rule for rule in rules if isinstance(rule, TheoremStop)), None)
    if theorem is None:
        return None
    return lambda: explain_residuals(
        model,
        guide,
        source.in_order(),
        num_particles=theorem.num_draws,
        # The rule has an error of its own, of as many draws.
        max_particles=theorem.num_draws,
        tolerance=theorem.tol,
        data_plate=data_plate,
    )


def _check_together(**given: Any) -> None:
    """Refuses what several ranks do not do together."""
    for name, value in given.items():
        if value:
            raise ValueError(expected("none with a Distributed_ELBO", name, repr(value)))


def _device_of(model: Callable, guide: Callable) -> torch.device | None:
    modules = (module for fn in (model, guide) for module in reachable(fn, nn.Module))
    return next((p.device for module in modules for p in module.parameters()), None)


def check_param_store(model: Callable, guide: Callable, *args: object, **kwargs: object) -> None:
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
            pair = run_pair(model, guide, args, kwargs)
        known = {
            id(t)
            for t in [
                *trained.values(),
                *(a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)),
            ]
        }
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
