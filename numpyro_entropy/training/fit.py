"""A training loop: any data, validation, an end by itself, the entropy sum on the way."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import random
from jaxtyping import Array
from numpy.typing import NDArray
from numpyro.infer import ELBO, SVI
from numpyro.optim import Adam

from entropy_core.arguments import Arguments, check_call, takes
from entropy_core.checks import check_objective, check_positive_int, expected
from entropy_core.report.report import EntropyReport
from entropy_core.theory.claims import SiteClaim
from entropy_core.traces.sites import ONE_AT_A_TIME
from entropy_core.training.annealing import check_annealing, no_claim_of
from entropy_core.training.callbacks import Callback
from entropy_core.training.checkpoints import Checkpoints, checkpoints_of
from entropy_core.training.epochs import train
from entropy_core.training.optimum.certificate import Certificate
from entropy_core.training.stopping import Rule, Stopped, TheoremStop, rules_of
from numpyro_entropy.diagnostic.claims import explain_residuals
from numpyro_entropy.diagnostic.diagnostic import EntropySumDiagnostic
from numpyro_entropy.elbos.standard import Standard_ELBO
from numpyro_entropy.params import Params, check_params
from numpyro_entropy.traces.batches import check_observations
from numpyro_entropy.training import certificate
from numpyro_entropy.training.at_once import Seeds, SeedsResult, is_batch, seeds_result
from numpyro_entropy.training.data import LOOK_SIZE, Data, count_data, first_batch
from numpyro_entropy.training.steps import Steps, state_params
from numpyro_entropy.training.variances import ClosedFormVariances


@dataclass(frozen=True)
class FitResult:
    """What `fit` returns.

    `params, losses, report = fit(...)` takes it apart.

    Args:
        params: The parameters of model and guide.
        losses: The loss of each step, in nats per data point.
        report: The report on the training data at the end, with the history of training.
        stopped: What has ended the training.
        certificate: The certificate, where one was asked for.
    """

    params: Params
    losses: NDArray[np.float64]
    report: EntropyReport
    stopped: Stopped
    certificate: Certificate | None = None

    def __iter__(self) -> Iterator[Any]:
        return iter((self.params, self.losses, self.report))


def fit(
    rng_key: Array,
    model: Callable,
    guide: Callable,
    data: Any,
    *,
    init_params: Params | None = None,
    loss: ELBO | None = None,
    optim: Any = None,
    kl_weight: Callable[[int], Any] | None = None,
    num_epochs: int = 100,
    batch_size: int = 128,
    transform: Callable | None = None,
    validation: Any = None,
    stop: Rule | Sequence[Rule] | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoints: Checkpoints | str | os.PathLike[str] | None = None,
    closed_form_variances: bool = False,
    certify: bool = False,
    diagnostic: EntropySumDiagnostic | None = None,
    diagnose_every: int = 1,
    progress_bar: bool = True,
) -> FitResult | SeedsResult:
    """Trains a model and guide with `numpyro.infer.SVI`; watches the ELBO become an entropy sum.

    Each epoch goes once through the data. Where they have rows these are in random order, in the
    fewest batches of at most `batch_size`, which differ by one data point at most. A model that
    takes `total` is told the size of the data set, so that it scales each batch to it, the smallest
    one too; a model that does not take it is trained on each batch as it stands.

    Args:
        rng_key: The key for initial values, orders and draws. A batch of keys trains as many
            times at once, each as its key alone would: the result is a `SeedsResult`. Such a
            training takes no `stop`, `callbacks`, `checkpoints`,
            `closed_form_variances` or `certify`.
        model: Takes a batch and, if it can, `total`, the size of the data set, as `vae.model` does.
        guide: Takes the same.
        data: An array of shape `(N, ...)`, or NumPy's `memmap`, which may lie on a disk; a tuple or
            dictionary with some, the arguments of model and guide, which are shuffled alike;
            batches of these that can be gone through again, such as a `DataLoader` of torch; or a
            function of the epoch, counted from 1, that makes such batches, and those to look at for
            0. Each shape of a batch is compiled once.
        init_params: Initial values; the default is drawn.
        loss: The objective; the default is `Standard_ELBO()`.
        optim: The optimiser, NumPyro's or optax's; the default is Adam with learning rate 1e-3.
            Schedules are optax's, by step; `optax.contrib.reduce_on_plateau` is given the loss of
            each step.
        kl_weight: The weight of the KL divergence in the loss, as a function of the step, counted
            from 0, such as `entropy_core.training.linear_annealing` makes, which is called for
            several steps before the first of them; the default is that of `loss`. The report makes
            no claim then.
        num_epochs: The largest number of epochs.
        batch_size: The largest number of data points in a batch, where the data have rows.
        transform: What is done to each batch before a step, such as dynamic binarisation; it takes
            a key and a batch and returns a batch. Looks at the training data are at transformed
            batches too, always with the same key.
        validation: Held-out data, in any form that `data` has, and as they are.
        stop: What may end the training earlier: `EarlyStopping`, `TheoremStop`, or several.
        callbacks: Code of your own that is called on the way.
        checkpoints: A folder of files to go on from after the training was stopped.
        closed_form_variances: Whether learned variances are set to their optimum at the end of each
            epoch, from a pass over the training data; see the function of that name. Their sites
            are no part of a stop by the theorem.
        certify: Whether the result has a certificate: the residuals at the stationary point of the
            ELBO at held draws, and at fresh ones; see the function of that name.
        diagnostic: What looks at the result; the default has 10 draws for each data point. On the
            way one draw must do. The report says so where the theorem is silent on `loss`.
        diagnose_every: The number of epochs between looks, which are rows of the history.
        progress_bar: Whether to show a progress bar with loss, ELBO, entropy sum and gap.

    Raises:
        TypeError: If `data` have none of these forms or are not what the model takes, `kl_weight`
            is no function, `loss` is no objective, or `rng_key` no key.
        ValueError: If `data` are empty, not finite or outside the support of their distribution, a
            number is no positive integer, `loss` takes no `kl_weight`, `init_params` are not
            complete, or a file of `checkpoints` is damaged or of another training.
        NotFiniteLoss: If a loss is NaN or infinite: a FloatingPointError. Its `params` are the last
            ones with a finite loss.
        Interrupted: If the training is interrupted, as with Ctrl-C: a KeyboardInterrupt. Its
            `params` are those of the last step.

    Example:
        >>> from numpyro_entropy import VAE1, fit
        >>> vae, key = VAE1(4, 2), random.key(0)
        >>> x = random.uniform(key, (256, 4))
        >>> result = fit(key, vae.model, vae.guide, x, num_epochs=2, progress_bar=False)
        >>> len(result.losses)
        4
    """
    check_positive_int(batch_size, "batch_size")
    check_positive_int(num_epochs, "num_epochs")
    check_positive_int(diagnose_every, "diagnose_every")
    rules = rules_of(stop, validation=validation is not None)
    folder = checkpoints_of(checkpoints)
    loss = loss or Standard_ELBO()
    check_objective(loss, "loss")
    check_annealing(kl_weight, loss)
    given = {
        "stop": rules,
        "callbacks": callbacks,
        "checkpoints": folder,
        "closed_form_variances": closed_form_variances,
        "certify": certify,
    }
    several = is_batch(rng_key)
    for name, value in given.items():
        if value and several:
            raise ValueError(expected("none for a batch of keys", name, repr(value)))
    source = Data(data, batch_size, transform=transform)
    held_out = None if validation is None else Data(validation, LOOK_SIZE)
    keys = [random.split(key, 3) for key in (rng_key if several else [rng_key])]
    init_key, order_key, _ = keys[0]
    look_key = random.fold_in(order_key, 0)
    num_data = count_data(source, look_key)
    # `total` is given here and once: as an argument of the update it would be traced.
    total = {"total": num_data} if takes(model, "total") else {}
    svi = SVI(model, guide, optim or Adam(1e-3), loss, **total)
    first = first_batch(source, look_key)
    for name, fn in (("model", model), ("guide", guide)):
        check_call(fn, name, first.args, {**first.kwargs, **total})
    state = begin(init_key, svi, first, init_params)
    start = state_params(svi, state)
    check_observations(init_key, start, model, guide, source.of_one_size(look_key), batch_size)
    if held_out is not None:
        check_observations(init_key, start, model, guide, held_out.in_order(look_key), batch_size)
    diagnostic = diagnostic or EntropySumDiagnostic(model, guide, objective=loss)
    glance = glance_of(diagnostic, model, guide, rules)
    reason = no_claim_of(loss, annealed=kl_weight is not None)

    def steps_of(i: int, state: Any) -> Steps:
        _, order_key, report_key = keys[i]
        batches = source.in_order(random.fold_in(order_key, 0))
        return Steps(
            svi,
            source,
            num_data,
            state=state,
            rng_key=order_key,
            report_key=report_key,
            kl_weight=kl_weight,
            glance=glance,
            validation=held_out,
            claims=_claims_for(report_key, rules, model, guide, batches, diagnostic.data_plate),
        )

    def report_of(steps: Steps, history: xr.Dataset) -> EntropyReport:
        report = diagnostic.run(steps.report_key, steps.weights(), steps.in_order())
        report = report.with_history(history)
        return report.with_no_claim(reason) if reason else report

    course_options: dict[str, Any] = {
        "num_epochs": num_epochs,
        "diagnose_every": diagnose_every,
        "progress_bar": progress_bar,
    }
    if several:
        init_keys = jnp.stack([key[0] for key in keys])
        seeds = Seeds(svi, source, first, init_keys, init_params, kl_weight, steps_of)
        losses, histories = seeds.train(**course_options)
        both = zip(seeds.steps, histories, strict=True)
        return seeds_result(seeds, losses, [report_of(s, h.to_dataset()) for s, h in both])
    steps = steps_of(0, state)
    if closed_form_variances:
        steps.set_variances(ClosedFormVariances(model, guide, data_plate=diagnostic.data_plate))
    course, progress = train(
        steps, rules=rules, callbacks=callbacks, checkpoints=folder, **course_options
    )
    progress.report = report_of(steps, course.history)
    for callback in callbacks:
        callback.end(progress)
    certified = None
    if certify:
        pair = steps.report_key, steps.weights(), model, guide
        certified = certificate.certify(*pair, steps.in_order(), data_plate=diagnostic.data_plate)
    return FitResult(steps.weights(), course.losses, progress.report, course.stopped, certified)


def begin(rng_key: Array, svi: SVI, first: Arguments, init_params: Params | None) -> Any:
    """The first state of an SVI.

    Raises:
        ValueError: If `init_params` are not complete.
    """
    with ONE_AT_A_TIME:
        state = svi.init(rng_key, *first.args, **first.kwargs)
        if init_params is not None:
            check_params(init_params, state_params(svi, state))
            state = svi.init(rng_key, *first.args, init_params=init_params, **first.kwargs)
    return state


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
    rng_key: Array,
    rules: Sequence[Rule],
    model: Callable,
    guide: Callable,
    batches: Iterable,
    data_plate: str | None,
) -> Callable[[Params], list[SiteClaim]] | None:
    """What looks at the claims of the theorem, where a rule asks for it."""
    theorem = next((rule for rule in rules if isinstance(rule, TheoremStop)), None)
    if theorem is None:
        return None
    return lambda params: explain_residuals(
        rng_key,
        params,
        model,
        guide,
        batches,
        num_particles=theorem.num_draws,
        # The rule has an error of its own, of as many draws.
        max_particles=theorem.num_draws,
        tolerance=theorem.tol,
        data_plate=data_plate,
    )
