"""What the theorem claims for each site of a Pyro model: the derivatives that it asks for."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from entropy_core.arguments import Arguments
from entropy_core.checks import check_number, check_positive_int, expected
from entropy_core.results.evidence import BatchEvidence, MeanEvidence
from entropy_core.theory.claims import TOLERANCE, SiteClaim, explain
from entropy_core.theory.directions import solved_misfit
from entropy_core.theory.linearised import Linearised, stacked
from entropy_core.traces.plates import find_data_plate
from entropy_core.traces.records import Plate, mean_or_total, part_of
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
        model: The model.
        guide: The guide, with draws that are reparameterised or enumerated.
        batches: A tensor whose first dimension is that of the data points, or an iterable of
            batches: tensors, or the arguments of model and guide: a tuple, a
            dictionary of those by name, or a tuple of both. The first one needs more
            data points than a site's direction has parameters.
        batch_size: How many data points to look at together, where `batches` is a tensor.
        num_particles: The number of draws from the guide for each data point.
        tolerance: What counts as zero, in nats per data point.
        data_plate: The name of the plate over data points; needed only where two crossed plates
            both hold all data.

    Returns:
        A claim for each model site, or for sites that share parameters together.

    Raises:
        ValueError: If there is no batch, a batch has NaN or infinite entries, a number is not
            positive, or the guide lacks a latent site of the model that is not enumerated.
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
    check_positive_int(num_particles, "num_particles")
    explanation = Explanation(model, guide, num_particles=num_particles, data_plate=data_plate)
    with evaluating(model, guide):
        for call in arguments_of(batches, batch_size):
            explanation.add(call)
    return explanation.claims(tolerance)


class Explanation:
    """Collects batch by batch what `explain_residuals` tells; its arguments are explained there."""

    def __init__(
        self, model: Callable, guide: Callable, *, num_particles: int, data_plate: str | None
    ) -> None:
        self.num_particles, self.data_plate = num_particles, data_plate
        self._looks = Looks(model, guide)
        self._at: list[Linearised] = []
        self._known: set[str] = set()
        self._evidence = MeanEvidence()

    @torch.enable_grad()
    def add(self, call: Arguments) -> None:
        """Takes in a batch.

        The first one, and each one with sites or parameters that none before has had, decides at
        which draws directions are looked for.
        """
        self._looks.start(*call)
        found = []
        for _ in range(self.num_particles):
            with reading_params() as params:
                pair = self._looks.look()
            found.append(_evidence(pair, _trained(params), self.data_plate))
        names = {name for draw in found for name in (*draw.params, *draw.residuals)}
        if not names <= self._known:
            self._known |= names
            trained = _trained(params)
            self._at.append(linearise(*self._looks.enumerated, trained, call))
            dtypes = {p.dtype for p in trained.values()}
            self._eps = max(torch.finfo(dtype).eps for dtype in dtypes)
        self._evidence.add(found)

    def claims(self, tolerance: float = TOLERANCE) -> list[SiteClaim]:
        """The claims, from all batches together.

        Raises:
            ValueError: If there has been no batch.
        """
        if not self._at:
            raise ValueError(expected("at least one batch", "batches", "none"))
        at = stacked(self._at)
        draws = self._evidence.draws(at.arrays)
        return explain(at, draws, tolerance=tolerance, solved=solved_misfit(self._eps))


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
        pair.untreated,
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
