"""From data to a code and back: each chain draws, pushes and goes on with one point at a time."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray

from entropy_core.checks import check_positive_int, expected
from entropy_core.coding.batches import Batches, Nets, hash_arrays
from entropy_core.coding.bins import MOST_BITS, Grid, Mixture, choose_bits
from entropy_core.coding.bits.stacks import Stacks, Starved, constriction, seed_words
from entropy_core.coding.container import (
    CompressedData,
    Header,
    chain_bytes,
    pack,
    read_code,
    unpack,
)
from entropy_core.coding.latents import (
    Costs,
    pop_posterior,
    pop_prior,
    push_posterior,
    push_prior,
)
from entropy_core.coding.rate import Rate
from entropy_core.coding.symbols import pop_data, push_data

POINTS_OF_CHAIN = 256
MOST_CHAINS = 64
FLOATS = ("float16", "float32", "float64")


def write_code(
    nets: Nets, x: NDArray[np.floating], num_chains: int | None, precision: int | None
) -> CompressedData:
    """Compresses data.

    Args:
        nets: The nets.
        x: The data, `(N, *data_shape)`.
        num_chains: The number of chains; `None` for one for each `POINTS_OF_CHAIN` points, up to
            `MOST_CHAINS`.
        precision: The bits of the number of a latent's bin; `None` for those that the smallest tau
            asks for, up to 14.

    Raises:
        ImportError: If `constriction` is missing.
        ValueError: If a number is out of range, or the data are not what the decoder has
            probabilities for.
    """
    constriction()
    _check_prior(nets.prior)
    if x.dtype.name not in FLOATS:
        raise ValueError(expected(f"one of {FLOATS}", "data", x.dtype))
    if num_chains is None:
        num_chains = min(max(len(x) // POINTS_OF_CHAIN, 1), MOST_CHAINS)
    check_positive_int(num_chains, "num_chains")
    batches = Batches(nets, len(x), min(num_chains, len(x)), x.shape[1:], x.dtype.name)
    numbers = batches.first.to_levels(x)
    if precision is None:
        steps = range(batches.num_steps)
        posteriors = (batches.posterior(numbers[batches.rows(step)]) for step in steps)
        precision = choose_bits(posteriors, nets.prior)
    check_positive_int(precision, "precision")
    if precision > MOST_BITS:
        raise ValueError(expected(f"at most {MOST_BITS} bits", "precision", precision))
    grid = Grid(nets.prior, precision)
    # More than the first draws can take, and what the coder needs to be one.
    num_words = -(-grid.num_dims * precision // 32) + 4
    while True:
        stacks = Stacks([seed_words(c, num_words) for c in range(batches.num_chains)])
        try:
            costs = _write(batches, grid, numbers, stacks)
            break
        except Starved:
            num_words *= 2
    header = Header(
        environment=nets.environment,
        num_points=len(x),
        data_shape=x.shape[1:],
        dtype=x.dtype.name,
        num_chains=batches.num_chains,
        precision=precision,
        seed_words=num_words,
        weights=hash_arrays(nets.weights),
        outputs=batches.hash_outputs(),
        data=hash_arrays({"numbers": numbers}),
    )
    code = pack(header, stacks.untouched, stacks.words())
    return CompressedData(code, _rate(code, header, stacks, numbers.shape[1], costs))


def read_data(
    code: Any, make: Callable[[tuple[int, ...]], Nets], data_shape: tuple[int, ...] | None
) -> NDArray[np.floating]:
    """The data of a code, `(N, *data_shape)`.

    Args:
        code: The bytes, what `compress` returned, or the path of a file.
        make: From the shape of one data point to the nets.
        data_shape: The shape of one data point that the VAE takes, `None` for any.

    Raises:
        ImportError: If `constriction` is missing.
        FileNotFoundError: If there is no such file.
        ValueError: If the code is damaged, or anything is another than when it was written.
    """
    header, chains = unpack(read_code(code))
    constriction()
    if data_shape not in (None, header.data_shape):
        raise ValueError(expected(f"a VAE of data of shape {header.data_shape}", "vae", data_shape))
    nets = make(header.data_shape)
    _check_environment(header.environment, nets.environment)
    if header.weights != hash_arrays(nets.weights):
        raise ValueError(expected("the weights that the code was written with", "vae", "others"))
    _check_prior(nets.prior)
    batches = Batches(nets, header.num_points, header.num_chains, header.data_shape, header.dtype)
    if header.outputs != batches.hash_outputs():
        got = "one with these weights and other outputs"
        raise ValueError(expected("the model that the code was written with", "vae", got))
    seeds = [seed_words(c, header.seed_words) for c in range(header.num_chains)]
    stacks = Stacks(
        [np.concatenate([s[:skip], w]) for s, (skip, w) in zip(seeds, chains, strict=True)]
    )
    try:
        numbers = _read(batches, Grid(nets.prior, header.precision), stacks)
        ends = zip(seeds, stacks.words(), strict=True)
        if header.data != hash_arrays({"numbers": numbers}):
            raise ValueError("other data")
        if not all(np.array_equal(seed, words) for seed, words in ends):
            raise ValueError("other seeds")
    except ValueError as error:
        # Versions and devices agree, and yet a net has returned other floats.
        got = "one whose nets return other numbers here than where the code was written"
        raise ValueError(
            expected("the model that the code was written with", "vae", got)
        ) from error
    return batches.first.values(numbers, header.data_shape, header.dtype)


def _write(
    batches: Batches,
    grid: Grid,
    numbers: Int[np.ndarray, "N D"],
    stacks: Stacks,
) -> tuple[Costs, Costs, Costs]:
    back, latents, data = Costs(), Costs(), Costs()
    for step in range(batches.num_steps):
        here = numbers[batches.rows(step)]
        bins, z = pop_posterior(grid, batches.posterior(here), stacks, back)
        stacks.look()
        likelihood = batches.likelihood(z)
        data.coded += push_data(here, likelihood, stacks)
        data.exact -= float(likelihood.log_prob(here).sum() / np.log(2))
        push_prior(grid, bins, stacks, latents)
    return back, latents, data


def _read(batches: Batches, grid: Grid, stacks: Stacks) -> Int[np.ndarray, "N D"]:
    shape = batches.num_points, batches.first.shape[1]
    numbers = np.zeros(shape, batches.first.number_type)
    for step in reversed(range(batches.num_steps)):
        rows = batches.rows(step)
        bins, z = pop_prior(grid, rows.stop - rows.start, stacks)
        numbers[rows] = pop_data(batches.likelihood(z), stacks)
        push_posterior(grid, bins, batches.posterior(numbers[rows]), stacks)
    return numbers


def _rate(
    code: bytes, header: Header, stacks: Stacks, num_dims: int, costs: tuple[Costs, Costs, Costs]
) -> Rate:
    back, latents, data = costs
    in_chains = 8 * chain_bytes(code, header.num_chains)
    return Rate(
        num_points=header.num_points,
        num_dims=num_dims,
        num_chains=header.num_chains,
        precision=header.precision,
        header=8 * len(code) - in_chains,
        seed=32 * sum(header.seed_words - skip for skip in stacks.untouched),
        latents=latents.coded,
        data=data.coded,
        bits_back=back.coded,
        code=in_chains,
        exact_latents=latents.exact,
        exact_data=data.exact,
        exact_bits_back=back.exact,
    )


def _check_prior(prior: Mixture) -> None:
    prior.components.check("prior")
    if not np.isfinite(prior.log_weights).all():
        raise ValueError(expected("components with positive weights", "prior", "one without"))


def _check_environment(written: Mapping[str, str], here: Mapping[str, str]) -> None:
    others = [
        f"{name} {here.get(name, 'none')} for {written.get(name, 'none')}"
        for name in sorted(written.keys() | here.keys())
        if written.get(name) != here.get(name)
    ]
    if others:
        what = "a code that was written with the same libraries on the same device"
        raise ValueError(expected(what, "code", f"here {', '.join(others)}"))
