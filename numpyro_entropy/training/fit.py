"""A training loop for data in memory: minibatches, a progress bar, the entropy sum on the way."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array
from numpy.typing import NDArray
from numpyro.infer import ELBO, SVI
from numpyro.optim import Adam

from entropy_core.checks import check_finite, check_positive_int, check_weight, expected
from entropy_core.report.report import EntropyReport
from entropy_core.traces.sites import ONE_AT_A_TIME
from entropy_core.training.annealing import check_annealing, no_claim_of
from entropy_core.training.epochs import train
from numpyro_entropy.diagnostic.diagnostic import EntropySumDiagnostic
from numpyro_entropy.elbos.standard import Standard_ELBO
from numpyro_entropy.params import Params, check_params
from numpyro_entropy.traces.batches import check_observations


class FitResult(NamedTuple):
    """What `fit` returns.

    Args:
        params: The parameters of model and guide.
        losses: The loss of each step, in nats per data point.
        report: The report on the training data at the end, with the history of training.
    """

    params: Params
    losses: NDArray[np.float64]
    report: EntropyReport


def fit(
    rng_key: Array,
    model: Callable,
    guide: Callable,
    data: Array | np.ndarray,
    *,
    init_params: Params | None = None,
    loss: ELBO | None = None,
    optim: Any = None,
    kl_weight: Callable[[int], Any] | None = None,
    num_epochs: int = 100,
    batch_size: int = 128,
    diagnostic: EntropySumDiagnostic | None = None,
    diagnose_every: int = 1,
    progress_bar: bool = True,
) -> FitResult:
    """Trains a model and guide with `numpyro.infer.SVI`; watches the ELBO become an entropy sum.

    Each epoch goes once through the data in random order, in batches of equal size; what is left
    over waits for another epoch's order.

    Args:
        rng_key: The key for initial values, orders and draws.
        model: Takes a batch and `total`, the size of the data set, as `vae.model` does.
        guide: Takes the same.
        data: The data set, of shape `(N, ...)`.
        init_params: Initial values; the default is drawn.
        loss: The objective; the default is `Standard_ELBO()`.
        optim: The optimiser, NumPyro's or optax's; the default is Adam with learning rate 1e-3.
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
        TypeError: If `data` is no array, or `kl_weight` no function.
        ValueError: If `data` is empty, not finite or outside the support of its distribution, a
            number is no positive integer, `loss` takes no `kl_weight`, or `init_params` are not
            complete.
        FloatingPointError: If a loss is NaN or infinite.

    Example:
        >>> from numpyro_entropy import VAE1, fit
        >>> vae, key = VAE1(4, 2), random.key(0)
        >>> x = random.uniform(key, (256, 4))
        >>> result = fit(key, vae.model, vae.guide, x, num_epochs=2, progress_bar=False)
        >>> len(result.losses)
        4
    """
    if not isinstance(data, jax.Array | np.ndarray):
        raise TypeError(expected("an array", "data", type(data).__name__))
    if not len(data):
        raise ValueError(expected("at least one data point", "data", "an empty array"))
    check_finite(np.asarray(data), "data")
    check_positive_int(batch_size, "batch_size")
    check_positive_int(num_epochs, "num_epochs")
    check_positive_int(diagnose_every, "diagnose_every")
    loss = loss or Standard_ELBO()
    check_annealing(kl_weight, loss)
    num_data = len(data)
    batch_size = min(batch_size, num_data)
    data = jnp.asarray(data)
    # `total` is given here and once: as an argument of the update it would be traced.
    svi = SVI(model, guide, optim or Adam(1e-3), loss, total=num_data)
    init_key, order_key, report_key = random.split(rng_key, 3)

    def params() -> Params:
        return {**svi.get_params(state), **(state.mutable_state or {})}

    with ONE_AT_A_TIME:
        state = svi.init(init_key, data[:batch_size])
        if init_params is not None:
            check_params(init_params, {**svi.get_params(state), **(state.mutable_state or {})})
            state = svi.init(init_key, data[:batch_size], init_params=init_params)
    check_observations(init_key, params(), model, guide, data, batch_size)
    diagnostic = diagnostic or EntropySumDiagnostic(model, guide, objective=loss)
    glance = EntropySumDiagnostic(
        model,
        guide,
        num_particles=1,
        data_plate=diagnostic.data_plate,
        thresholds=diagnostic.thresholds,
    )

    # One step at a time: inside a loop of JAX's, convolutions take up to twenty times as long on a
    # CPU (jax-ml/jax#12868), and other nets take the same time.
    @jax.jit
    def step(state: Any, batch: Array, data: Array, **options: Array) -> tuple[Any, Array]:
        return svi.update(state, data[batch], **options)

    def run_epoch(epoch: int) -> NDArray[np.floating]:
        nonlocal state
        order = random.permutation(random.fold_in(order_key, epoch), num_data)
        batches = order[: num_data - num_data % batch_size].reshape(-1, batch_size)
        losses = []
        for i, batch in enumerate(batches, (epoch - 1) * len(batches)):
            options = {}
            if kl_weight is not None:
                # An array of one type, so that no step compiles again.
                options["kl_weight"] = jnp.asarray(check_weight(kl_weight(i), "kl_weight"), float)
            with ONE_AT_A_TIME:
                state, value = step(state, batch, data, **options)
            losses.append(value)
        return np.asarray(jax.device_get(losses)) / num_data

    losses, history = train(
        run_epoch,
        lambda: glance.run(report_key, params(), data),
        num_epochs=num_epochs,
        diagnose_every=diagnose_every,
        progress_bar=progress_bar,
    )
    report = diagnostic.run(report_key, params(), data).with_history(history)
    reason = no_claim_of(loss, annealed=kl_weight is not None)
    return FitResult(params(), losses, report.with_no_claim(reason) if reason else report)
