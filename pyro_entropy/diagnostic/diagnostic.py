"""The diagnostic that compares the ELBO of any model and guide with its sum of entropies."""

from collections.abc import Callable, Iterable
from typing import Any

import pyro
import torch
from pyro.infer import ELBO
from pyro.poutine import Trace
from torch import Tensor

from entropy_core.arguments import Arguments
from entropy_core.checks import check_number, check_positive_int, expected
from entropy_core.report.report import EntropyReport
from entropy_core.results.accumulate import Accumulator
from entropy_core.results.explanation import is_part
from entropy_core.results.groups import CollapseThresholds
from entropy_core.theory.verdicts import TOLERANCE
from entropy_core.traces.plates import find_data_plate
from entropy_core.traces.records import TraceTerms, joined, map_arrays, summed
from entropy_core.traces.sites import Pair
from pyro_entropy.diagnostic.claims import Explanation
from pyro_entropy.diagnostic.monitor import Monitor
from pyro_entropy.distributed.merging import merged
from pyro_entropy.operations import to_numpy
from pyro_entropy.traces.batches import arguments_of
from pyro_entropy.traces.enumerated import Looks
from pyro_entropy.traces.latents import latent_terms
from pyro_entropy.traces.modes import evaluating
from pyro_entropy.traces.pairs import pair_of
from pyro_entropy.traces.terms import all_terms


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
        >>> from pyro_entropy import VAE1, EntropySumDiagnostic
        >>> vae = VAE1(4, 2)
        >>> report = EntropySumDiagnostic(vae.model, vae.guide).run(torch.rand(100, 4))
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
        self._looks = Looks(model, guide)

    def run(
        self,
        batches: Tensor | Iterable,
        *,
        batch_size: int = 1000,
        explain: bool = False,
        max_particles: int | None = None,
        tolerance: float = TOLERANCE,
        distributed: bool = False,
    ) -> EntropyReport:
        """Passes once over the data, with modules in evaluation mode.

        Args:
            batches: A tensor whose first dimension is that of the data points, or an iterable of
                batches: tensors, or the arguments of model and guide: a tuple, a
                dictionary of those by name, or a tuple of both.
            batch_size: How many data points to look at together, where `batches` is a tensor.
            explain: Whether the report says what the theorem claims for each site, as
                `explain_residuals` does; the pass then draws as often again, with gradients.
            max_particles: How many draws the claims may take, see `explain_residuals`.
            tolerance: What counts as zero for these claims, in nats per data point.
            distributed: Whether `batches` are the part of this rank of `torch.distributed`; the
                report, of all parts, is then the same on every rank, and has no claims.

        Raises:
            ValueError: If there is no batch, a batch has NaN or infinite entries, `tolerance` is
                not positive, the guide lacks a latent site of the model that is not enumerated, or
                `explain` is asked for of parts.
            RuntimeError: If `distributed` is asked for, and there is no process group.
            NotImplementedError: If `explain` is asked for and a site of the guide has neither
                reparameterised draws nor all its values.
        """
        check_number(tolerance, "tolerance")
        if distributed and explain:
            raise ValueError(expected("False for the parts of several ranks", "explain", explain))
        if not explain:
            sums = self.accumulate(batches, batch_size=batch_size)
            return self.report(merged(sums) if distributed else sums)
        explanation = Explanation(
            self.model,
            self.guide,
            num_particles=self.num_particles,
            max_particles=max_particles,
            data_plate=self.data_plate,
            is_part=is_part(batches, batch_size),
        )
        sums = self._accumulate(batches, batch_size, explanation.add)
        claims = explanation.decided(batches, batch_size, tolerance)
        return self.report(sums).with_claims(claims)

    def accumulate(self, batches: Tensor | Iterable, *, batch_size: int = 1000) -> Accumulator:
        """Passes over a part of the data, for `report`.

        What other passes have seen, such as those of other processes, is added with
        `Accumulator.merge`. The arguments and errors are those of `run`.

        Example:
            >>> from pyro_entropy import VAE1
            >>> vae, x = VAE1(4, 2), torch.rand(100, 4)
            >>> diagnostic = EntropySumDiagnostic(vae.model, vae.guide)
            >>> sums = diagnostic.accumulate(x[:60])
            >>> sums.merge(diagnostic.accumulate(x[60:]))
            >>> diagnostic.report(sums).size
            '100 data points'
        """
        return self._accumulate(batches, batch_size, None)

    def report(self, sums: Accumulator) -> EntropyReport:
        """The report on all that has been accumulated.

        Raises:
            ValueError: If that is nothing.
        """
        # An objective of the host has no such attribute.
        no_claim = getattr(self.objective, "no_claim", None)
        return EntropyReport.from_accumulator(
            sums, self.thresholds, library=pyro, no_claim=no_claim
        )

    @torch.no_grad()
    def from_traces(self, model_trace: Trace, guide_trace: Trace) -> EntropyReport:
        """Reads a guide's trace and the model's trace that was replayed against it: one draw.

        Raises:
            ValueError: If the guide lacks a latent site of the model that is not enumerated.
        """
        sums = Accumulator(self.thresholds.kl_epsilon)
        sums.add([self._read(pair_of(model_trace, guide_trace))])
        return self.report(sums)

    def monitor(self) -> Monitor:
        """Runs this diagnostic now and then in a training loop, and keeps the course of training.

        One particle, `num_particles=1`, will often do on the way.
        """
        return Monitor(self.run)

    @torch.no_grad()
    def _accumulate(
        self, batches: Tensor | Iterable, batch_size: int, also: Callable[[Arguments], None] | None
    ) -> Accumulator:
        sums = Accumulator(self.thresholds.kl_epsilon)
        if self._looks.pair != (self.model, self.guide):
            self._looks = Looks(self.model, self.guide)
        # They know from earlier passes if anything asks for enumeration.
        looks = self._looks
        with evaluating(self.model, self.guide):
            for call in arguments_of(batches, batch_size):
                looks.start(*call)
                sums.add([self._read(looks.look()) for _ in range(self.num_particles)])
                if also:
                    also(call)
        return sums

    def _read(self, pair: Pair) -> TraceTerms:
        pair = all_terms(pair, closed_form=self.closed_form, entropy_samples=self.entropy_samples)
        plate = find_data_plate(pair.records, self.data_plate)
        latents, without_rows = latent_terms(pair, plate)
        terms = TraceTerms(
            sites=tuple(summed(record, plate) for record in pair.records),
            latents=latents,
            untreated=joined(pair.untreated, without_rows),
            data_plate=plate,
        )
        return map_arrays(_to_numpy, terms)


def _to_numpy(value: Any) -> Any:
    return to_numpy(value) if isinstance(value, Tensor) else value
