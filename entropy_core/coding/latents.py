"""Latents on stacks of bits: their draws from `q(z|x)`, and what they cost under both."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from entropy_core.coding.bins import Floats, Grid, Normals, Walk
from entropy_core.coding.bits.search import Popping, Recording, search
from entropy_core.coding.bits.stacks import Stacks


@dataclass
class Costs:
    """What latents cost in bits, all together.

    Attributes:
        coded: By the coder's own probabilities.
        exact: By the probabilities of the bins.
    """

    coded: float = 0.0
    exact: float = 0.0

    def add(self, probability: Floats) -> None:
        """Adds the exact costs of some latents."""
        tiny = np.finfo(float).tiny
        self.exact -= float(np.log2(np.maximum(probability, tiny)).sum())


def pop_posterior(
    grid: Grid, posterior: Normals, stacks: Stacks, costs: Costs
) -> tuple[Int[np.ndarray, "A H"], Floats]:
    """Pops latents under `q`; returns their bins and their values."""
    popping, found = Popping(stacks), []
    walk = Walk(grid, len(posterior.loc), posterior)
    for dims in walk.blocks:
        bins, probability = search(walk.posterior_edge(dims), *walk.window(dims), popping, cut=True)
        costs.add(probability)
        walk.put(dims, bins)
        found.append(bins)
    costs.coded += popping.cost
    return np.hstack(found), walk.z


def push_posterior(
    grid: Grid, bins: Int[np.ndarray, "A H"], posterior: Normals, stacks: Stacks
) -> None:
    """Pushes latents under `q`: undoes `pop_posterior`."""
    recording = Recording(count=False)
    walk = Walk(grid, len(bins), posterior)
    for dims in walk.blocks:
        known = recording.known(bins[:, dims])
        search(walk.posterior_edge(dims), *walk.window(dims), known, cut=True)
        walk.put(dims, bins[:, dims])
    recording.push(stacks)


def push_prior(grid: Grid, bins: Int[np.ndarray, "A H"], stacks: Stacks, costs: Costs) -> None:
    """Pushes latents under the prior."""
    recording, walk = Recording(), Walk(grid, len(bins))
    for dims in walk.blocks:
        here = bins[:, dims]
        probability = np.full(here.shape, 1 / grid.num_bins)
        if grid.is_mixture:
            ends = np.zeros_like(here), np.full_like(here, grid.num_bins)
            _, probability = search(walk.prior_edge(dims), *ends, recording.known(here))
        costs.add(probability)
        walk.put(dims, here)
    if grid.is_mixture:
        recording.push(stacks)
        costs.coded += recording.cost
    else:
        stacks.push_uniform(bins, grid.num_bits)
        costs.coded += bins.size * grid.num_bits


def pop_prior(grid: Grid, num_rows: int, stacks: Stacks) -> tuple[Int[np.ndarray, "A H"], Floats]:
    """Pops latents under the prior: undoes `push_prior`."""
    walk, popping, found = Walk(grid, num_rows), Popping(stacks, count=False), []
    if not grid.is_mixture:
        uniform = stacks.pop_uniform(num_rows, grid.num_dims, grid.num_bits)
    for dims in walk.blocks:
        if grid.is_mixture:
            zeros = np.zeros((num_rows, 1), np.int64)
            bins, _ = search(walk.prior_edge(dims), zeros, zeros + grid.num_bins, popping)
        else:
            bins = uniform[:, dims]
        walk.put(dims, bins)
        found.append(bins)
    return np.hstack(found), walk.z
