"""The certificate of a NumPyro model: its residuals where the gradient of the ELBO vanishes."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jax.flatten_util import ravel_pytree
from jaxtyping import Array
from numpyro.distributions import biject_to, constraints
from numpyro.handlers import seed
from numpyro.primitives import Messenger

from entropy_core.arguments import Arguments
from entropy_core.checks import check_number, check_positive_int, expected
from entropy_core.traces.records import SiteTerms
from entropy_core.traces.sites import Pair
from entropy_core.training.optimum.certificate import (
    GRADIENT_TOLERANCE,
    MAX_EVALUATIONS,
    NOT_FROZEN,
    TOLERANCE,
    Certificate,
    Draw,
    Weights,
    added,
    certificate,
)
from entropy_core.training.optimum.stationary import check_slope, repeats, stationary_point
from numpyro_entropy.diagnostic.claims import explain_residuals
from numpyro_entropy.diagnostic.linearised import float_params
from numpyro_entropy.params import Params
from numpyro_entropy.traces.batches import checked_arguments, compiled
from numpyro_entropy.traces.enumerated import trace_enumerated
from numpyro_entropy.traces.modes import evaluating
from numpyro_entropy.traces.pairs import check_reparameterised
from numpyro_entropy.traces.terms import all_terms, site_terms


def certify(
    rng_key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    batches: Array | np.ndarray | Iterable,
    *,
    batch_size: int = 1000,
    num_particles: int = 1,
    num_fresh: int = 10,
    tolerance: float = TOLERANCE,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
    max_evaluations: int = MAX_EVALUATIONS,
    data_plate: str | None = None,
) -> Certificate:
    """Goes to the stationary point of the ELBO at held draws, and looks at the residuals there.

    At a stationary point `F = H[q(z|x)] - H[p(z)] - H[p(x|z)]`, and each residual of which the
    theorem makes a claim is zero (Damm et al. 2023, Theorems 1 to 3). Training ends near one at
    best, and sees other draws at each step. Here the noise of the guide's draws is held, so that
    the ELBO of all data is a function of the parameters alone; L-BFGS and Newton's method find its
    stationary point in float64. What the residuals are at fresh draws is what held draws have
    hidden: a large net learns them by heart.

    Nets are in evaluation mode. `params` stay as they are: `Certificate.params` has new ones, those
    of the stationary point, as NumPy's arrays in float64, and whatever else is in `params`.

    Args:
        rng_key: The key for the draws.
        params: The parameters of model and guide.
        model: The model.
        guide: The guide, with draws that are reparameterised or enumerated.
        batches: All the data: an array whose first dimension is that of the data points, or an
            iterable of batches: arrays, or the arguments of model and guide: a tuple, a
            dictionary of those by name, or a tuple of both. They are held in memory, in float64.
        batch_size: How many data points to look at together, where `batches` is an array.
        num_particles: The number of held draws for each data point.
        num_fresh: The number of fresh draws for each data point.
        tolerance: What counts as zero at the held draws, in nats per data point.
        gradient_tolerance: The norm of the gradient at which the search ends.
        max_evaluations: After how many evaluations of the ELBO the search gives up.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.

    Raises:
        ValueError: If there is no batch or no parameter, `params` are not complete, a number is not
            positive, a batch or the ELBO has NaN or infinite entries, a plate draws its own rows,
            or there are several particles and a site outside the data plate.
        NotImplementedError: If a site of the guide has neither reparameterised draws nor all its
            values, or if the ELBO is no smooth function of the parameters at held draws.

    Example:
        >>> import jax.numpy as jnp
        >>> from numpyro_entropy import LinearVAE
        >>> vae, keys = LinearVAE(4, 1), random.split(random.key(0))
        >>> x = random.normal(keys[0], (200, 1)) + 0.5 * random.normal(keys[1], (200, 4))
        >>> certificate = certify(keys[0], vae.init(keys[1]), vae.model, vae.guide, x)
        >>> certificate.is_stationary
        True
        >>> certificate.sites["verdict"].to_dict()
        {'z': 'holds', 'x': 'holds'}
    """
    check_number(tolerance, "tolerance")
    check_number(gradient_tolerance, "gradient_tolerance")
    for name, value in (
        ("num_particles", num_particles),
        ("num_fresh", num_fresh),
        ("max_evaluations", max_evaluations),
    ):
        check_positive_int(value, name)
    with evaluating(model, guide), jax.enable_x64(True):
        weights = Weights(data_plate, num_particles)
        try:
            batches = checked_arguments(params, model, guide, batches, batch_size)
            calls = [jax.tree.map(_double, call) for call in batches] * num_particles
            frozen = _Frozen(rng_key, params, model, guide, calls, weights)
            smooth = repeats(frozen, frozen.start) and check_slope(frozen, frozen.start)
        except jax.errors.ConcretizationTypeError as error:
            got = "a branch that looks at draws or parameters"
            raise NotImplementedError(expected(NOT_FROZEN, "model` and `guide", got)) from error
        if not smooth:
            raise NotImplementedError(expected(NOT_FROZEN, "model` and `guide", "others"))
        found = stationary_point(
            frozen,
            frozen.start,
            gradient_tolerance=gradient_tolerance,
            max_evaluations=max_evaluations,
        )
        there = frozen.params(found.point)
        held = map(tuple, frozen.calls)
        claims = explain_residuals(
            rng_key,
            there,
            *frozen.pair,
            held,
            # All draws are the held ones: two show that nothing else moves.
            num_particles=2,
            max_particles=2,
            tolerance=tolerance,
            data_plate=data_plate,
        )
        num_held = num_fresh if frozen.sampled else 1
        return certificate(
            found,
            jax.tree.map(np.asarray, there),
            claims,
            [frozen.draw(found.point, 0, again) for again in range(num_held)],
            [frozen.draw(found.point, i + 1) for i in range(num_fresh)],
            gradient_tolerance=gradient_tolerance,
            tolerance=tolerance,
            num_draws=num_particles,
        )


class _Frozen:
    """The negative ELBO of all batches at held draws, as a function of the parameters."""

    def __init__(
        self,
        rng_key: Array,
        params: Params,
        model: Callable,
        guide: Callable,
        calls: Sequence[Arguments],
        weights: Weights,
    ) -> None:
        if not calls:
            raise ValueError(expected("at least one batch", "batches", "none"))

        # The key of a batch is the first argument of both; it says which draws are held.
        def held_model(key: Array, *args: Any, **kwargs: Any) -> Any:
            return model(*args, **kwargs)

        def held_guide(key: Array, *args: Any, **kwargs: Any) -> Any:
            return seed(guide, key)(*args, **kwargs)

        self.pair, self.weights, self.rng_key = (held_model, held_guide), weights, rng_key
        self.all = jax.tree.map(_double, params)
        self.calls = [_keyed(self._key(0, i), call) for i, call in enumerate(calls)]
        self.sampled, self._constraints = False, dict[str, Any]()
        for call in self.calls:
            # The arguments stay what they are: a model may look at their values.
            jax.eval_shape(lambda params, call=call: self._look_once(params, call), self.all)
        trained = float_params({name: self.all[name] for name in self._constraints})
        if not trained:
            what = "parameters that can be trained"
            raise ValueError(expected(what, "model` and `guide", "none"))
        free = {name: self._transform(name).inv(value) for name, value in trained.items()}
        start, self._unravel = ravel_pytree(free)
        self.start = np.asarray(start, np.float64)
        self._value_and_gradient = compiled(jax.value_and_grad(self._loss))
        self._read = compiled(self._draw)

    def _look_once(self, params: Params, call: Arguments) -> None:
        """Finds out which parameters there are, and what each batch counts."""
        seen = _Constraints()
        with seen:
            pair = self._run(params, call)
        self._constraints |= seen.found
        check_reparameterised(pair.guide)
        if pair.drawing_rows:
            got = f"{sorted(pair.drawing_rows)}, which draw theirs"
            raise ValueError(expected("plates of all rows", "model", got))
        records = all_terms(pair, rng_key=self.rng_key).records
        self.weights.add(records)
        self.sampled |= any(r.entropy_method == "sampled" for r in records)

    def _run(self, params: Params, call: Arguments) -> Pair:
        return trace_enumerated(self.rng_key, params, *self.pair, *call)

    def _loss(self, point: Array, call: Arguments, shares: Array) -> Array:
        pair = self._run(self.params(point), call)
        return -self.weights.elbo(_loss_records(pair, self.rng_key), shares)

    def _draw(self, point: Array, key: Array, call: Arguments, shares: Array) -> Draw:
        records = all_terms(self._run(self.params(point), call), rng_key=key).records
        elbo = self.weights.elbo(records, shares)
        return Draw(elbo, self.weights.residuals(records, shares))

    def __call__(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """The value and the gradient, in nats per data point."""
        value, gradient = 0.0, np.zeros_like(point)
        for number, call in enumerate(self.calls):
            found = self._value_and_gradient(point, call, self.weights.shares(number))
            value += float(found[0])
            gradient += np.asarray(found[1])
        return value, gradient

    def draw(self, point: np.ndarray, number: int, again: int = 0) -> Draw:
        """ELBO and residuals at the held draws, number 0, or at others.

        What is sampled besides, to get entropies, is another one where `again` is.
        """
        found = []
        for i, call in enumerate(self.calls):
            moved = Arguments((self._key(number, i), *call.args[1:]), call.kwargs)
            key = random.fold_in(self._key(number, i), again)
            found.append(self._read(point, key, moved, self.weights.shares(i)))
        return added(found)

    def params(self, point: Any) -> Params:
        """A vector as parameters."""
        free = self._unravel(point)
        return {**self.all, **{n: self._transform(n)(value) for n, value in free.items()}}

    def _transform(self, name: str) -> Any:
        # Trees are the parameters of nets, without constraints.
        return biject_to(self._constraints[name])

    def _key(self, number: int, batch: int) -> Array:
        return random.fold_in(random.fold_in(self.rng_key, number), batch)


class _Constraints(Messenger):
    """Keeps the constraints of the parameters that a pair asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, Any] = {}

    def postprocess_message(self, msg: Any) -> None:
        if msg["type"] == "param":
            self.found[msg["name"]] = msg["kwargs"].get("constraint", constraints.real)


def _loss_records(pair: Pair, rng_key: Array) -> Sequence[SiteTerms]:
    sites = [*pair.guide.values(), *pair.model.values()]
    if any(site.enumerate_dim is not None for site in sites):
        return all_terms(pair, rng_key=rng_key).records
    # The ELBO has no entropies of the model, which may have to be sampled.
    return site_terms(pair, entropies=False).records


def _keyed(key: Array, call: Arguments) -> Arguments:
    return Arguments((key, *call.args), call.kwargs)


def _double(leaf: Any) -> Any:
    """A leaf with floats in float64, and as an array of JAX's."""
    if not isinstance(leaf, jax.Array | np.ndarray):
        return leaf
    floating = jnp.issubdtype(leaf.dtype, jnp.floating)
    return jnp.asarray(leaf, jnp.float64 if floating else leaf.dtype)
