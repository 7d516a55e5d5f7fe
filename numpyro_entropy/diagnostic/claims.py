"""What the theorem claims for each site of a NumPyro model: the derivatives that it asks for."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array

from entropy_core.arguments import Arguments
from entropy_core.checks import check_number, expected
from entropy_core.results.evidence import BatchEvidence, without_claim
from entropy_core.results.explanation import BaseExplanation, is_part, pieces, shown
from entropy_core.theory.claims import SiteClaim
from entropy_core.theory.verdicts import TOLERANCE
from entropy_core.traces.plates import find_data_plate
from entropy_core.traces.records import Plate, joined, mean_or_total, part_of
from entropy_core.traces.sites import Pair
from entropy_core.traces.sums import split_elbo_terms
from numpyro_entropy.compiled import compiled
from numpyro_entropy.diagnostic.linearised import float_params, linearise
from numpyro_entropy.entropies.base_measures import log_base_measure, mean_log_base_measure
from numpyro_entropy.layouts import fetched
from numpyro_entropy.params import Params
from numpyro_entropy.traces.batches import checked_arguments
from numpyro_entropy.traces.enumerated import trace_enumerated
from numpyro_entropy.traces.modes import evaluating
from numpyro_entropy.traces.pairs import check_reparameterised, pair_shapes
from numpyro_entropy.traces.terms import all_terms


def explain_residuals(
    rng_key: Array,
    params: Params,
    model: Callable,
    guide: Callable,
    batches: Array | np.ndarray | Iterable,
    *,
    batch_size: int = 1000,
    num_particles: int = 10,
    max_particles: int | None = None,
    tolerance: float = TOLERANCE,
    data_plate: str | None = None,
) -> list[SiteClaim]:
    """What the theorem claims for each site of a model, and whether it has converged.

    The residual `r_s = E_q[log p_s] + H[p_s]` of a site is the derivative of the ELBO along a
    direction of the parameters that scales the site's natural parameters and moves nothing else,
    where there is one (Damm et al. 2023, Theorems 1 to 3; Luecke 2022). That direction is looked
    for numerically at the draws of the first batches, in any parametrisation; for a fixed normal or
    Laplace prior it scales the latents in the guide and undoes that in their children. The claim is
    about a stationary point of the ELBO on these data, and the verdict about the residual: see
    `SiteClaim`.

    Args:
        rng_key: The key for the draws.
        params: The parameters of model and guide.
        model: The model.
        guide: The guide, with draws that are reparameterised or enumerated.
        batches: An array whose first dimension is that of the data points, or an iterable of
            batches: arrays, or the arguments of model and guide: a tuple, a
            dictionary of those by name, or a tuple of both.
        batch_size: How many data points to look at together, where `batches` is an array.
        num_particles: The number of draws from the guide for each data point.
        max_particles: How many there may be where verdicts need more: another pass over the data
            takes them, unless `batches` is an iterator. The default is five times as many.
        tolerance: What counts as zero, in nats per data point.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.

    Returns:
        A claim for each model site, or for sites that share parameters together.

    Raises:
        ValueError: If there is no batch, a batch has NaN or infinite entries, a number is not
            positive, `max_particles` is below `num_particles`, `params` are not complete, or the
            guide lacks a latent site of the model that
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
    explanation = Explanation(
        model,
        guide,
        num_particles=num_particles,
        max_particles=max_particles,
        data_plate=data_plate,
        is_part=is_part(batches, batch_size),
    )
    explanation.look(rng_key, params, batches, batch_size)
    return explanation.decided(rng_key, params, batches, batch_size, tolerance)


class Explanation(BaseExplanation):
    """Collects batch by batch what `explain_residuals` tells; its arguments are explained there.

    Args:
        is_part: Whether a batch is a part of one array: then directions may be looked for at fewer
            rows of it.
    """

    def __init__(
        self,
        model: Callable,
        guide: Callable,
        *,
        num_particles: int,
        max_particles: int | None,
        data_plate: str | None,
        is_part: bool,
    ) -> None:
        super().__init__(num_particles, max_particles)
        self.model, self.guide = model, guide
        self.data_plate, self.is_part = data_plate, is_part
        self._compiled = compiled(self._trace_and_read)

    def look(
        self,
        rng_key: Array,
        params: Params,
        batches: Array | np.ndarray | Iterable,
        batch_size: int,
    ) -> None:
        """Passes once over the data."""
        with evaluating(self.model, self.guide):
            calls = checked_arguments(params, self.model, self.guide, batches, batch_size)
            for i, call in enumerate(shown(calls)):
                self.add(random.fold_in(rng_key, i), params, call)

    def decided(
        self,
        rng_key: Array,
        params: Params,
        batches: Array | np.ndarray | Iterable,
        batch_size: int,
        tolerance: float,
    ) -> list[SiteClaim]:
        """The claims, after another pass where that may decide what is open."""
        if not isinstance(batches, Iterator) and self.more_draws(tolerance):
            # Other draws than those of the first pass.
            self.look(random.split(rng_key)[1], params, batches, batch_size)
        return self.claims(tolerance)

    def add(self, rng_key: Array, params: Params, call: Arguments) -> None:
        """Takes in a batch.

        Raises:
            ValueError: If there are no parameters, or not all that the batch asks for.
        """
        # A split would be compiled for each number of draws.
        keys = (random.fold_in(rng_key, i) for i in range(self.num_particles))
        draws = [fetched(self._compiled(key, params, call)) for key in keys]
        floats = jax.tree.leaves(float_params(params))
        if not floats:
            what = "parameters that can be trained"
            raise ValueError(expected(what, "model` and `guide", "none"))
        if self._wants_rows(draws):
            eps = max(float(jnp.finfo(jnp.result_type(leaf)).eps) for leaf in floats)
            for piece in pieces(call, self.is_part):
                at = linearise(rng_key, params, self.model, self.guide, piece)
                self._take_rows(at, eps)
                if not self._needs_rows(draws):
                    break
        self._take(draws)

    def _trace_and_read(self, rng_key: Array, params: Params, call: Arguments) -> BatchEvidence:
        read_params = tuple(pair_shapes(self.model, self.guide, *call))

        def read(floats: Params) -> tuple[tuple[Array, Array], BatchEvidence]:
            pair = trace_enumerated(rng_key, {**params, **floats}, self.model, self.guide, *call)
            check_reparameterised(pair.guide)
            pair = all_terms(pair, rng_key=rng_key)
            plate = find_data_plate(pair.records, self.data_plate)
            inside, outside = split_elbo_terms(pair.records, self.data_plate)
            residuals = {
                name: value * unit
                for terms, unit in zip((inside, outside), np.eye(2), strict=True)
                for name, value in terms.residuals.items()
            }
            measures = _base_measures(pair, plate)
            untreated = joined(pair.untreated, without_claim(pair.records))
            found = BatchEvidence({}, residuals, measures, untreated, read_params, plate)
            return (jnp.asarray(inside.elbo), jnp.asarray(outside.elbo)), found

        (inside, outside), pull, found = jax.vjp(read, float_params(params), has_aux=True)
        one, zero = jnp.ones_like, jnp.zeros_like
        halves = pull((one(inside), zero(outside))) + pull((zero(inside), one(outside)))
        leaves = [jax.tree_util.tree_leaves_with_path(half) for half in halves]
        gradient = {
            jax.tree_util.keystr(path): jnp.stack([per_point.ravel(), whole.ravel()])
            for (path, per_point), (_, whole) in zip(*leaves, strict=True)
        }
        return replace(found, gradient=gradient)


def _base_measures(pair: Pair, plate: Plate | None) -> dict[str, Array]:
    """`E_q[log h(v)] - E_q E_p[log h]` of the sites whose base measure is not constant."""
    found = {}
    for record in pair.records:
        if record.role not in ("prior", "decoder"):
            continue
        site = pair.model[record.name]
        at_draw, mean = log_base_measure(site.fn, site.value), mean_log_base_measure(site.fn)
        if at_draw is not None and mean is not None:
            values = site.spread(at_draw - mean)
            if pair.enumeration is not None:
                values = pair.enumeration.mean(values, site.places)
            found[record.name] = mean_or_total(record, values, plate) * part_of(record, plate)
    return found


# Evidence passes through jit; what is not an array is static there.
jax.tree_util.register_dataclass(
    BatchEvidence,
    data_fields=["gradient", "residuals", "base_measures"],
    meta_fields=["untreated", "params", "plate"],
)
