"""What a code takes, part by part, beside the negative ELBO of the model that it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr


@dataclass(frozen=True)
class Rate:
    """The size of a code and of its parts, in bits of the whole data set.

    The code is `seed + latents + data - bits_back` up to the coder's own rounding. What is called
    exact has the probabilities of the same discretised model, at the same draws, as floats: their
    sum `exact_latents + exact_data - exact_bits_back` is an estimate of its negative ELBO.

    Attributes:
        num_points: The number of data points, `N`.
        num_dims: The number of variables of one data point, `D`.
        num_chains: The number of chains, each of which has a seed.
        precision: The bits of the number of a latent's bin.
        header: The header of the file, with the lengths of chains and the checksum.
        seed: The random bits that the first draws took.
        latents: The latents under the prior, `-log p(z)`, by the coder's probabilities.
        data: The data, `-log p(x|z)`, by the coder's probabilities.
        bits_back: What draws gave back, `-log q(z|x)`, by the coder's probabilities.
        code: All chains as they stand in the file, seeds included.
        exact_latents: As `latents`, by floats.
        exact_data: As `data`, by floats.
        exact_bits_back: As `bits_back`, by floats.

    Example:
        >>> rate = Rate(10, 8, 1, 14, 900, 64, 280.0, 50.0, 220.0, 176, 280.0, 50.0, 220.0)
        >>> rate.code_bits_per_point, rate.negative_elbo / rate.num_points
        (11.2, 11.0)
    """

    num_points: int
    num_dims: int
    num_chains: int
    precision: int
    header: int
    seed: int
    latents: float
    data: float
    bits_back: float
    code: int
    exact_latents: float
    exact_data: float
    exact_bits_back: float

    @property
    def negative_elbo(self) -> float:
        """The negative ELBO of the discretised model on the draws of the code, in bits."""
        return self.exact_latents + self.exact_data - self.exact_bits_back

    @property
    def code_less_seed(self) -> int:
        """The code without its seeds, in bits."""
        return self.code - self.seed

    @property
    def code_bits_per_point(self) -> float:
        """The code without its seeds, in bits per data point."""
        return self.code_less_seed / self.num_points

    @property
    def code_bits_per_dim(self) -> float:
        """The code without its seeds, in bits per variable of a data point."""
        return self.code_bits_per_point / self.num_dims

    @property
    def file_bits_per_dim(self) -> float:
        """The whole file, header and seeds included, in bits per variable of a data point."""
        return (self.code + self.header) / self.num_points / self.num_dims

    @property
    def probability_precision(self) -> float:
        """What the coder's probabilities add to the exact ones, in bits."""
        return self.latents + self.data - self.bits_back - self.negative_elbo

    @property
    def rounding(self) -> float:
        """What the ends of chains and the coder's arithmetic add, in bits."""
        return self.code_less_seed - (self.latents + self.data - self.bits_back)

    @property
    def excess(self) -> float:
        """The code without its seeds above the negative ELBO, as a part of it."""
        return self.code_less_seed / self.negative_elbo - 1

    def to_dataset(self, others: Mapping[str, float] | None = None) -> xr.Dataset:
        """The group of a report: parts in bits per data point, others in bits per variable."""
        parts = {
            "data": self.data,
            "latents": self.latents,
            "bits back": -self.bits_back,
            "rounding": self.rounding,
            "code less seed": self.code_less_seed,
            "seed": self.seed,
            "header": self.header,
            "file": self.code + self.header,
            "negative ELBO, same draws": self.negative_elbo,
        }
        found = dict(others or {})
        return xr.Dataset(
            {
                "bits": ("part", np.array(list(parts.values()), float) / self.num_points),
                "others": ("compressor", np.array(list(found.values()), float)),
            },
            {"part": list(parts), "compressor": np.array(list(found), dtype=object)},
            {
                "num_points": self.num_points,
                "num_dims": self.num_dims,
                "num_chains": self.num_chains,
                "precision": self.precision,
            },
        )

    def __str__(self) -> str:
        """A table for a person: bits per data point and per variable."""
        rows = [
            ("data, -log p(x|z)", self.data),
            ("latents, -log p(z)", self.latents),
            ("bits back, log q(z|x)", -self.bits_back),
            ("ends of chains, rounding", self.rounding),
            ("code less seed", self.code_less_seed),
            ("seed", self.seed),
            ("header, lengths, checksum", self.header),
            ("file", self.code + self.header),
            ("", None),
            ("negative ELBO, these draws", self.negative_elbo),
            ("code less seed, above it", self.code_less_seed - self.negative_elbo),
            ("  by probabilities of 24 bits", self.probability_precision),
            ("  by ends of chains, rounding", self.rounding),
        ]
        lines = [
            f"{self.num_points} data points of {self.num_dims} variables, {self.num_chains} "
            f"chains, latents of {self.precision} bits",
            f"{'':30}{'bits a point':>14}{'a variable':>12}",
        ]
        for name, bits in rows:
            if bits is None:
                lines.append("")
                continue
            # Zero has no sign.
            per_point = round(bits / self.num_points, 4) + 0.0
            per_dim = round(bits / self.num_points / self.num_dims, 5) + 0.0
            lines.append(f"{name:30}{per_point:14.4f}{per_dim:12.5f}")
        return "\n".join(lines)
