"""The diagnostic that compares the ELBO of any model and guide with its sum of entropies."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpyro
from jax import random
from jaxtyping import Array
from numpyro.infer import ELBO

from entropy_core.arguments import Arguments
from entropy_core.checks import check_number, check_outside, check_positive_int
from entropy_core.report.report import EntropyReport
from entropy_core.results.accumulate import Accumulator
from entropy_core.results.explanation import is_part
from entropy_core.results.groups import CollapseThresholds
from entropy_core.theory.verdicts import TOLERANCE
from entropy_core.traces.plates import find_data_plate
from entropy_core.traces.records import TraceTerms, joined, summed
from entropy_core.traces.sites import Pair
from numpyro_entropy.compiled import compiled
from numpyro_entropy.diagnostic.claims import Explanation
from numpyro_entropy.diagnostic.monitor import Monitor
from numpyro_entropy.layouts import fetched
from numpyro_entropy.params import Params
from numpyro_entropy.traces.batches import checked_arguments, outside_support
from numpyro_entropy.traces.enumerated import trace_enumerated
from numpyro_entropy.traces.latents import latent_terms
from numpyro_entropy.traces.modes import evaluating
from numpyro_entropy.traces.pairs import pair_of
from numpyro_entropy.traces.sites import Trace
from numpyro_entropy.traces.terms import all_terms


class EntropySumDiagnostic:
    """Compares the ELBO of a model and guide with its sum of entropies, site by site.

    At every stationary point `F = H[q(z|x)] - H[p(z)] - H[p(x|z)]` (Damm et al. 2023, Eq. 13), and
    at every other point `F` differs from it by the sum over the model's sites of
    `E_q[log p_s] + H[p_s]`: the report says where the gap is. It reads the distributions from the
    traces of any model and guide, in one pass over the data and in constant memory.

    Args:
        model: The model.
        guide: The guide.
        num_particles: The number of draws from the guide for each data point.
        entropy_samples: The number of fresh draws for an entropy that has no closed form.
        closed_form: `False` takes every term of the ELBO at the draws, and so the entropies of the
            guide: then the ELBO is that of the host's `Trace_ELBO`.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.
        thresholds: When a latent dimension counts as collapsed.
        objective: The objective that trains the pair. Where the theorem says nothing of its
            optimum, the report says so.

    Raises:
        ValueError: If a number of draws is no positive integer.

    Example:
        >>> from numpyro_entropy import VAE1, EntropySumDiagnostic
        >>> vae, key = VAE1(4, 2), random.key(0)
        >>> diagnostic = EntropySumDiagnostic(vae.model, vae.guide)
        >>> report = diagnostic.run(key, vae.init(key), random.uniform(key, (100, 4)))
        >>> report.units
        'nats per data point'
    """

    def __init__(
        self,
        model: Callable,
        guide: Callable,
        *,
        num_particles: int = 10,
        entropy_samples: int = 10,
        closed_form: bool = True,
        data_plate: str | None = None,
        thresholds: CollapseThresholds = CollapseThresholds(),  # noqa: B008 - it is frozen
        objective: ELBO | None = None,
    ) -> None:
        check_positive_int(num_particles, "num_particles")
        check_positive_int(entropy_samples, "entropy_samples")
        self.model = model
        self.guide = guide
        self.num_particles = num_particles
        self.entropy_samples = entropy_samples
        self.closed_form = closed_form
        self.data_plate = data_plate
        self.thresholds = thresholds
        self.objective = objective
        self._particle = compiled(self._trace_and_read)
        self._shapes: dict[Any, Params] = {}

    def run(
        self,
        rng_key: Array,
        params: Params,
        batches: Array | np.ndarray | Iterable,
        *,
        batch_size: int = 1000,
        explain: bool = False,
        max_particles: int | None = None,
        tolerance: float = TOLERANCE,
    ) -> EntropyReport:
        """Passes once over the data.

        Args:
            rng_key: The key for the draws.
            params: The parameters of model and guide.
            batches: An array whose first dimension is that of the data points, or an iterable of
                batches: arrays, or the arguments of model and guide: a tuple, a
                dictionary of those by name, or a tuple of both.
            batch_size: How many data points to look at together, where `batches` is an array.
            explain: Whether the report says what the theorem claims for each site, as
                `explain_residuals` does; the pass then draws as often again, with gradients.
            max_particles: How many draws the claims may take, see `explain_residuals`.
            tolerance: What counts as zero for these claims, in nats per data point.

        Raises:
            ValueError: If there is no batch, a batch has NaN or infinite entries or observations
                outside their support, `params` are not complete, `tolerance` is not positive, or
                the guide lacks a latent site of the model that is not enumerated.
            NotImplementedError: If `explain` is asked for and a site of the guide has neither
                reparameterised draws nor all its values.
        """
        check_number(tolerance, "tolerance")
        if not explain:
            return self.report(self.accumulate(rng_key, params, batches, batch_size=batch_size))
        explanation = Explanation(
            self.model,
            self.guide,
            num_particles=self.num_particles,
            max_particles=max_particles,
            data_plate=self.data_plate,
            is_part=is_part(batches, batch_size),
        )
        sums = self._accumulate(rng_key, params, batches, batch_size, explanation.add)
        claims = explanation.decided(rng_key, params, batches, batch_size, tolerance)
        return self.report(sums).with_claims(claims)

    def accumulate(
        self,
        rng_key: Array,
        params: Params,
        batches: Array | np.ndarray | Iterable,
        *,
        batch_size: int = 1000,
    ) -> Accumulator:
        """Passes over a part of the data, for `report`.

        What other passes have seen, such as those of other processes, is added with
        `Accumulator.merge`. The arguments and errors are those of `run`.

        Example:
            >>> from numpyro_entropy import VAE1
            >>> vae, key = VAE1(4, 2), random.key(0)
            >>> params, x = vae.init(key), random.uniform(key, (100, 4))
            >>> diagnostic = EntropySumDiagnostic(vae.model, vae.guide)
            >>> sums = diagnostic.accumulate(key, params, x[:50])
            >>> sums.merge(diagnostic.accumulate(random.key(1), params, x[50:]))
            >>> diagnostic.report(sums).size
            '100 data points'
        """
        return self._accumulate(rng_key, params, batches, batch_size, None)

    def report(self, sums: Accumulator) -> EntropyReport:
        """The report on all that has been accumulated.

        Raises:
            ValueError: If that is nothing.
        """
        # An objective of the host has no such attribute.
        no_claim = getattr(self.objective, "no_claim", None)
        return EntropyReport.from_accumulator(
            sums, self.thresholds, library=numpyro, no_claim=no_claim
        )

    def from_traces(
        self, model_trace: Trace, guide_trace: Trace, *, rng_key: Array | None = None
    ) -> EntropyReport:
        """Reads a guide's trace and the model's trace that was replayed against it: one draw.

        Raises:
            ValueError: If the guide lacks a latent site of the model that is not enumerated, or if
                an entropy has to be sampled and there is no `rng_key`.
        """
        sums = Accumulator(self.thresholds.kl_epsilon)
        sums.add([fetched(self._read(pair_of(model_trace, guide_trace), rng_key))])
        return self.report(sums)

    def monitor(self) -> Monitor:
        """Runs this diagnostic now and then in a training loop, and keeps the course of training.

        One particle, `num_particles=1`, will often do on the way.
        """
        return Monitor(self.run)

    def _accumulate(
        self,
        rng_key: Array,
        params: Params,
        batches: Array | np.ndarray | Iterable,
        batch_size: int,
        also: Callable[[Array, Params, Arguments], None] | None,
    ) -> Accumulator:
        sums = Accumulator(self.thresholds.kl_epsilon)
        with evaluating(self.model, self.guide):
            calls = checked_arguments(
                params, self.model, self.guide, batches, batch_size, self._shapes
            )
            for i, call in enumerate(calls):
                batch_key = random.fold_in(rng_key, i)
                keys = random.split(batch_key, self.num_particles)
                draws = [fetched(self._particle(key, params, call)) for key in keys]
                check_outside(draws[0][1])
                sums.add([terms for terms, _ in draws])
                if also:
                    also(batch_key, params, call)
        return sums

    def _trace_and_read(
        self, rng_key: Array, params: Params, call: Arguments
    ) -> tuple[TraceTerms, dict[str, Array]]:
        pair = trace_enumerated(rng_key, params, self.model, self.guide, *call)
        return self._read(pair, rng_key), outside_support(pair)

    def _read(self, pair: Pair, rng_key: Array | None) -> TraceTerms:
        pair = all_terms(
            pair,
            closed_form=self.closed_form,
            entropy_samples=self.entropy_samples,
            rng_key=rng_key,
        )
        plate = find_data_plate(pair.records, self.data_plate)
        latents, without_rows = latent_terms(pair, plate)
        return TraceTerms(
            sites=tuple(summed(record, plate) for record in pair.records),
            latents=latents,
            untreated=joined(pair.untreated, without_rows),
            data_plate=plate,
        )
