"""What the theorem claims for each site of a Pyro model: the derivatives that it asks for."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
from pyro_entropy.diagnostic.linearised import Params, linearise
from pyro_entropy.entropies.base_measures import log_base_measure, mean_log_base_measure
from pyro_entropy.operations import to_numpy
from pyro_entropy.traces.batches import arguments_of
from pyro_entropy.traces.enumerated import Looks
from pyro_entropy.traces.modes import evaluating
from pyro_entropy.traces.pairs import check_reparameterised, reading_params
from pyro_entropy.traces.terms import all_terms


def explain_residuals(
    model: Callable,
    guide: Callable,
    batches: Tensor | Iterable,
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
        model: The model.
        guide: The guide, with draws that are reparameterised or enumerated.
        batches: A tensor whose first dimension is that of the data points, or an iterable of
            batches: tensors, or the arguments of model and guide: a tuple, a
            dictionary of those by name, or a tuple of both.
        batch_size: How many data points to look at together, where `batches` is a tensor.
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
            positive, `max_particles` is below `num_particles`, or the guide lacks a latent site of
            the model that is not enumerated.
        NotImplementedError: If a site of the guide has neither reparameterised draws nor all its
            values.

    Example:
        >>> from pyro_entropy import VAE1
        >>> vae = VAE1(4, 2, hidden=())
        >>> for claim in explain_residuals(vae.model, vae.guide, torch.rand(100, 4)):
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
    explanation.look(batches, batch_size)
    return explanation.decided(batches, batch_size, tolerance)


class Explanation(BaseExplanation):
    """Collects batch by batch what `explain_residuals` tells; its arguments are explained there.

    Args:
        is_part: Whether a batch is a part of one tensor: then directions may be looked for at fewer
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
        self._looks = Looks(model, guide)

    def look(self, batches: Tensor | Iterable, batch_size: int) -> None:
        """Passes once over the data."""
        with evaluating(self.model, self.guide):
            for call in shown(arguments_of(batches, batch_size)):
                self.add(call)

    def decided(
        self, batches: Tensor | Iterable, batch_size: int, tolerance: float
    ) -> list[SiteClaim]:
        """The claims, after another pass where that may decide what is open."""
        if not isinstance(batches, Iterator) and self.more_draws(tolerance):
            self.look(batches, batch_size)
        return self.claims(tolerance)

    @torch.enable_grad()
    def add(self, call: Arguments) -> None:
        """Takes in a batch."""
        self._looks.start(*call)
        draws = []
        for _ in range(self.num_particles):
            with reading_params() as params:
                pair = self._looks.look()
            draws.append(_evidence(pair, _trained(params), self.data_plate))
        if self._wants_rows(draws):
            trained = _trained(params)
            eps = max(torch.finfo(p.dtype).eps for p in trained.values())
            for piece in pieces(call, self.is_part):
                self._take_rows(linearise(*self._looks.enumerated, trained, piece), eps)
                if not self._needs_rows(draws):
                    break
        self._take(draws)


def _trained(params: Params) -> Params:
    """The unconstrained parameters that SVI would train."""
    trained = {n: p for n, p in params.items() if p.requires_grad and p.is_floating_point()}
    if not trained:
        raise ValueError(expected("parameters that can be trained", "model` and `guide", "none"))
    return trained


def _evidence(pair: Pair, params: Params, data_plate: str | None) -> BatchEvidence:
    check_reparameterised(pair.guide)
    pair = all_terms(pair)
    plate = find_data_plate(pair.records, data_plate)
    parts = split_elbo_terms(pair.records, data_plate)
    gradients = [_gradient(terms.elbo, list(params.values())) for terms in parts]
    residuals: dict[str, np.ndarray] = {}
    for terms, unit in zip(parts, np.eye(2), strict=True):
        residuals |= {name: value.item() * unit for name, value in terms.residuals.items()}
    return BatchEvidence(
        {name: np.stack(pair) for name, *pair in zip(params, *gradients, strict=True)},
        residuals,
        _base_measures(pair, plate),
        joined(pair.untreated, without_claim(pair.records)),
        tuple(params),
        plate,
    )


def _gradient(value: Any, params: list[Tensor]) -> list[np.ndarray]:
    grads: tuple[Tensor | None, ...] = (None,) * len(params)
    # Where all sites are left out of a sum, nothing is left to differentiate.
    if isinstance(value, Tensor) and value.requires_grad:
        grads = torch.autograd.grad(value, params, allow_unused=True, retain_graph=True)
    found = zip(params, grads, strict=True)
    return [
        to_numpy((torch.zeros_like(p) if g is None else g).double().flatten()) for p, g in found
    ]


def _base_measures(pair: Pair, plate: Plate | None) -> dict[str, np.ndarray]:
    """`E_q[log h(v)] - E_q E_p[log h]` of the sites whose base measure is not constant."""
    found = {}
    for record in pair.records:
        if record.role not in ("prior", "decoder"):
            continue
        site = pair.model[record.name]
        at_draw = log_base_measure(site.fn, site.value)
        mean = mean_log_base_measure(site.fn, site.value)
        if at_draw is not None and mean is not None:
            values = site.spread(at_draw - mean)
            if pair.enumeration is not None:
                values = pair.enumeration.mean(values, site.places)
            total = mean_or_total(record, values, plate).item()
            found[record.name] = total * part_of(record, plate)
    return found
