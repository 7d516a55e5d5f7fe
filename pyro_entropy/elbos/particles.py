"""Particles drawn at once, in a plate around model and guide; and draws held for gradients."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyro
import torch
from torch import Tensor

from entropy_core.elbos.iwae import Gradient
from entropy_core.traces.importance import LogWeights
from entropy_core.traces.records import PARTICLES
from entropy_core.traces.sites import Pair
from pyro_entropy.traces.modes import evaluating
from pyro_entropy.traces.sites import Site

# In float32, of log-probabilities that are sums over thousands of dimensions.
TOLERANCE = 1e-3


def in_particles(fn: Callable, num_particles: int, max_plate_nesting: int | float) -> Callable:
    """A model or guide in a plate of particles, outside of all its own ones."""
    return pyro.plate(PARTICLES, num_particles, dim=-int(max_plate_nesting))(fn)


def can_be_vectorised(
    model: Callable,
    guide: Callable,
    trace: Callable[..., Pair],
    log_weights: Callable[[Pair], LogWeights],
    max_plate_nesting: int | float,
) -> bool:
    """Whether two draws at once have the log-weights that they have one by one.

    A pair that was not written for a dimension in front fails, or is silently wrong where sizes
    happen to agree: batch normalisation takes the data points for features. Nothing is moved.

    Args:
        model: The model.
        guide: The guide.
        trace: Runs a model and a guide, with sites held at values.
        log_weights: Reads a pair.
        max_plate_nesting: How many dimensions plates take, that of particles among them.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.no_grad(), torch.random.fork_rng(devices), evaluating(model, guide):
        try:
            both = trace(*(in_particles(fn, 2, max_plate_nesting) for fn in (model, guide)))
            for i, values in enumerate(log_weights(both).values):
                draws = {name: _draw_of(both.guide[name], i) for name in both.latents}
                single = log_weights(trace(model, guide, {**both.rows, **draws}))
                # Weights that are no numbers are refused elsewhere.
                alike: dict[str, Any] = {"rtol": TOLERANCE, "atol": TOLERANCE, "equal_nan": True}
                if not torch.allclose(values, single.values, **alike):
                    return False
        except (RuntimeError, ValueError, IndexError):
            # What fails one by one too has an error of its own.
            log_weights(trace(model, guide))
            return False
    return True


def _draw_of(site: Site, i: int) -> Tensor:
    """The value of one particle, as the site has it without them."""
    dims = [-plate.dim for plate in site.plates if plate.dim and plate.name != PARTICLES]
    num_dims = max(dims, default=0) + len(site.fn.event_shape)
    value = site.value[i]
    return value.reshape(value.shape[value.dim() - num_dims :])


class HeldDraw(NamedTuple):
    """A draw of the guide, and the same values as a leaf at which a gradient is taken."""

    site: Site
    leaf: Tensor


def held_draws(sites: Mapping[str, Site]) -> list[HeldDraw]:
    """The draws of a guide, each with a leaf."""
    latents = [site for site in sites.values() if not site.is_observed]
    return [HeldDraw(site, site.value.detach().requires_grad_()) for site in latents]


def path_gradient(
    log_weights: Tensor, weights: Tensor, held: Sequence[HeldDraw], gradient: Gradient
) -> Tensor:
    """What has the gradient of the guide's parameters along its draws alone.

    `sum_k w_k^2 (d log w_k / d z_k) z_k` for DReG (Tucker et al. 2019, Eq. 8), with `w_k` in place
    of its square for sticking the landing.

    Args:
        log_weights: At the leaves, `(K, B)`.
        weights: Normalised over the particles, without a gradient.
        held: The draws and their leaves.
        gradient: The estimator.
    """

    def total(coefficients: Tensor, some: Sequence[HeldDraw]) -> Tensor:
        objective = (coefficients * log_weights).sum()
        slopes = torch.autograd.grad(objective, [h.leaf for h in some], retain_graph=True)
        parts = [(slope * h.site.value).sum() for slope, h in zip(slopes, some, strict=True)]
        return torch.stack(parts).sum()

    return sum(
        (total(coefficients, some) for coefficients, some in _groups(weights, held, gradient)),
        weights.new_zeros(()),
    )


def _groups(
    weights: Tensor, held: Sequence[HeldDraw], gradient: Gradient
) -> Iterator[tuple[Tensor, list[Any]]]:
    # The identity behind the square needs a density: a point has none, and its gradient is plain.
    points = [h for h in held if h.site.is_point]
    others = [h for h in held if not h.site.is_point]
    if points:
        yield weights, points
    if others:
        yield weights**2 if gradient == "dreg" else weights, others
