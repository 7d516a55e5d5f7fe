"""What the theorem claims for each site of a NumPyro model: the derivatives that it asks for."""

from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from entropy_core.arguments import Arguments
from entropy_core.checks import check_number, check_positive_int, expected
from entropy_core.theory.claims import TOLERANCE, Evidence, MeanEvidence, SiteClaim, explain
from entropy_core.theory.directions import solved_misfit
from entropy_core.traces.plates import find_data_plate
from entropy_core.traces.sites import Pair
from entropy_core.traces.sums import elbo_terms
from numpyro_entropy.diagnostic.linearised import float_params, linearise
from numpyro_entropy.entropies.base_measures import log_base_measure, mean_log_base_measure
from numpyro_entropy.params import Params, check_params
from numpyro_entropy.traces.batches import arguments_of
from numpyro_entropy.traces.modes import evaluating
from numpyro_entropy.traces.pairs import check_reparameterised, pair_shapes, trace_enumerated
from numpyro_entropy.traces.terms import all_terms


def explain_residuals(
    rng_key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    batches: Array | np.ndarray | Iterable,
    *,
    batch_size: int = 1000,
    num_particles: int = 1,
    tolerance: float = TOLERANCE,
    data_plate: str | None = None,
) -> list[SiteClaim]:
    """What the theorem claims for each site of a model, and whether it has converged.

    The residual `r_s = E_q[log p_s] + H[p_s]` of a site is the derivative of the ELBO along a
    direction of the parameters that scales the site's natural parameters and moves nothing else,
    where there is one (Damm et al. 2023, Theorems 1 to 3; Luecke 2022). That direction is looked
    for numerically at the draws of the first batch, in any parametrisation; for a fixed normal or
    Laplace prior it scales the latents in the guide and undoes that in their children. The claim is
    about a stationary point of the ELBO on these data.

    Args:
        rng_key: The key for the draws.
        params: The parameters of model and guide.
        model: The model.
        guide: The guide, with draws that are reparameterised or enumerated.
        batches: An array whose first dimension is that of the data points, or an iterable of
            batches: arrays, or the arguments of model and guide: a tuple, a
            dictionary of those by name, or a tuple of both. The first one needs more
            data points than a site's direction has parameters.
        batch_size: How many data points to look at together, where `batches` is an array.
        num_particles: The number of draws from the guide for each data point.
        tolerance: What counts as zero, in nats per data point.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.

    Returns:
        A claim for each model site, or for sites that share parameters together.

    Raises:
        ValueError: If there is no batch, a batch has NaN or infinite entries, a number is not
            positive, `params` are not complete, or the guide lacks a latent site of the model that
            is not enumerated.
        NotImplementedError: If a site of the guide has neither reparameterised draws nor all its
            values.

    Example:
        >>> from numpyro_entropy import VAE1
        >>> vae, key = VAE1(4, 2, hidden=()), random.key(0)
        >>> x = random.uniform(key, (100, 4))
        >>> for claim in explain_residuals(key, vae.init(key), vae.model, vae.guide, x):
        ...     print(*claim.sites, claim.verdict)
        z not converged
        x not converged
    """
    check_number(tolerance, "tolerance")
    check_positive_int(num_particles, "num_particles")
    explanation = Explanation(model, guide, num_particles=num_particles, data_plate=data_plate)
    with evaluating(model, guide):
        for i, call in enumerate(arguments_of(batches, batch_size)):
            if i == 0:
                check_params(params, pair_shapes(model, guide, *call))
            explanation.add(random.fold_in(rng_key, i), params, call)
    return explanation.claims(tolerance)


class Explanation:
    """Collects batch by batch what `explain_residuals` tells; its arguments are explained there."""

    def __init__(
        self, model: Callable, guide: Callable, *, num_particles: int, data_plate: str | None
    ) -> None:
        self.model, self.guide = model, guide
        self.num_particles, self.data_plate = num_particles, data_plate
        self._evidence = MeanEvidence()
        self._untreated: dict[str, str] = {}
        self._compiled = jax.jit(self._trace_and_read)

    def add(self, rng_key: Array, params: Params, call: Arguments) -> None:
        """Takes in a batch; the first one decides at which draws directions are looked for."""
        if not self._evidence.num_data:
            floats = float_params(params)
            if not floats:
                what = "parameters that can be trained"
                raise ValueError(expected(what, "model` and `guide", "none"))
            self._solved = solved_misfit(float(jnp.finfo(ravel_pytree(floats)[0].dtype).eps))
            self._at = linearise(rng_key, params, self.model, self.guide, call)
        keys = random.split(rng_key, self.num_particles)
        found = [self._read(*self._compiled(key, params, call)) for key in keys]
        self._evidence.add(found, call.num_data)

    def claims(self, tolerance: float = TOLERANCE) -> list[SiteClaim]:
        """The claims, from all batches together."""
        draws = self._evidence.draws
        return explain(self._at, draws, tolerance=tolerance, solved=self._solved)

    def _read(self, grads: Params, *parts: dict[str, Array]) -> Evidence:
        gradient = np.asarray(ravel_pytree(grads)[0], np.float64)
        residuals, measures = (
            {name: value.item() for name, value in jax.device_get(part).items()} for part in parts
        )
        return Evidence(gradient, residuals, measures, self._untreated)

    def _trace_and_read(
        self, rng_key: Array, params: Params, call: Arguments
    ) -> tuple[Params, Params, Params]:
        def elbo(floats: Params) -> tuple[Array, tuple[Params, Params]]:
            pair = trace_enumerated(rng_key, {**params, **floats}, self.model, self.guide, *call)
            check_reparameterised(pair.guide)
            pair = all_terms(pair, rng_key=rng_key)
            # What is no number goes around the compiler.
            self._untreated.update(pair.untreated)
            terms = elbo_terms(pair.records, self.data_plate)
            return terms.elbo, (terms.residuals, _base_measures(pair, self.data_plate))

        grads, (residuals, measures) = jax.grad(elbo, has_aux=True)(float_params(params))
        return grads, residuals, measures


def _base_measures(pair: Pair, data_plate: str | None) -> dict[str, Array]:
    """`E_q[log h(v)] - E_q E_p[log h]` of the sites whose base measure is not constant."""
    plate, found = find_data_plate(pair.records, data_plate), {}
    for record in pair.records:
        if record.role not in ("prior", "decoder"):
            continue
        site = pair.model[record.name]
        at_draw, mean = log_base_measure(site.fn, site.value), mean_log_base_measure(site.fn)
        if at_draw is not None and mean is not None:
            values = site.spread(at_draw - mean)
            if pair.enumeration is not None:
                values = pair.enumeration.mean(values, site.places)
            found[record.name] = record.total(values) / (plate.full_size if plate else 1)
    return found
