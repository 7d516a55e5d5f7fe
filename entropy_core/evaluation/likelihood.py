"""Log-likelihoods by importance sampling, data point by data point: errors, Pareto's k, gaps."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from arviz_base import dict_to_dataset
from jaxtyping import Float

from entropy_core.checks import check_positive_int, expected
from entropy_core.evaluation.bits import bits_per_dim

# Above it, neither an estimate nor its error can be trusted (Vehtari et al. 2024, Sec. 3).
HIGH_K = 0.7


@dataclass(frozen=True, eq=False)
class LogLikelihood:
    """The log-likelihood of each data point, estimated by importance sampling.

    `log 1/K sum_k w_nk`, with `w_nk = p(x_n, z_nk) / q(z_nk|x_n)` (Burda et al. 2016, Eq. 8). The
    average of the weights is an unbiased estimate of `p(x_n)`; its logarithm is biased low, by
    about `Var(w_n) / (2 K p(x_n)^2)` in expectation, and so a stochastic lower bound. Where
    `pareto_k > 0.7`, a few draws decide, and neither the value nor its error can be trusted
    (Vehtari et al. 2024).

    Args:
        values: In nats for each data point, of shape `(N,)`.
        standard_errors: The Monte-Carlo standard error of each value; NaN with one particle.
        pareto_k: The shape of the weights' upper tail, as `arviz_stats` estimates it by `psislw`;
            NaN where there is no tail to fit: with fewer than 25 particles, and where the largest
            weights are all equal, as they are if the guide is the exact posterior.
        num_particles: The number of draws for each data point, `K`.
        elbos: The mean of the log-weights of each data point, its ELBO.
        gap_errors: The Monte-Carlo standard error of `gaps`.

    Example:
        >>> nan = np.full(2, np.nan)
        >>> estimate = LogLikelihood(np.array([-3.0, -5.0]), np.array([0.3, 0.4]), nan, 20)
        >>> print(estimate)
        log-likelihood  -4.0000 ± 0.2500 nats per data point
        2 data points, 20 draws each
        Pareto k > 0.7  0 (0.0 %), not defined for 2
    """

    values: Float[np.ndarray, " n"]
    standard_errors: Float[np.ndarray, " n"]
    pareto_k: Float[np.ndarray, " n"]
    num_particles: int
    elbos: Float[np.ndarray, " n"] | None = None
    gap_errors: Float[np.ndarray, " n"] | None = None

    @property
    def gaps(self) -> Float[np.ndarray, " n"]:
        """How far the guide is from the posterior of each data point, in nats.

        `log 1/K sum_k w_nk - 1/K sum_k log w_nk` is never negative, and estimates
        `KL(q(z|x_n) || p(z|x_n))`: low in expectation, as `values` are. Both have the same draws.

        Raises:
            ValueError: If there are no ELBOs.
        """
        if self.elbos is None:
            raise ValueError(expected("the ELBO of each data point", "elbos", None))
        return self.values - self.elbos

    def worst(self, num: int = 10) -> pd.DataFrame:
        """The data points whose posterior the guide is farthest from.

        Args:
            num: How many.

        Returns:
            A line for each, under its number in the data: `gap` and its `error`,
            `log_likelihood`, and `pareto_k`, above which 0.7 the gap is most likely larger.

        Raises:
            ValueError: If `num` is no positive integer, or there are no ELBOs.
        """
        check_positive_int(num, "num")
        gaps = self.gaps
        rows = np.argsort(-gaps, kind="stable")[:num]
        columns = {
            "gap": gaps,
            "error": self.gap_errors,
            "log_likelihood": self.values,
            "pareto_k": self.pareto_k,
        }
        table = {name: np.asarray(values)[rows] for name, values in columns.items()}
        return pd.DataFrame(table, index=pd.Index(rows, name="data"))

    @property
    def mean(self) -> float:
        """The mean over data points, in nats per data point."""
        return float(self.values.mean())

    @property
    def standard_error(self) -> float:
        """The Monte-Carlo standard error of the mean: the draws vary, and the data do not."""
        return float(np.sqrt((self.standard_errors**2).sum()) / len(self.values))

    def bits_per_dim(self, data_dim: int, *, bin_width: float = 1.0) -> float:
        """The mean as the bits that code one dimension; see `entropy_core.evaluation.bits`.

        Args:
            data_dim: The number of dimensions of a data point.
            bin_width: The step from one level to the next in the data of a density; 1 for the
                probabilities of a discrete or discretised decoder.

        Raises:
            ValueError: If `data_dim` is no positive integer, or `bin_width` is not positive.
        """
        return bits_per_dim(self.mean, data_dim, bin_width=bin_width)

    def to_dataset(self) -> xr.Dataset:
        """All values by data point as an `xarray.Dataset`, for ArviZ's functions."""
        columns = {
            "log_likelihood": self.values,
            "standard_error": self.standard_errors,
            "pareto_k": self.pareto_k,
        }
        if self.elbos is not None and self.gap_errors is not None:
            columns |= {"elbo": self.elbos, "gap": self.gaps, "gap_error": self.gap_errors}
        return dict_to_dataset(
            columns,
            dims={name: ["data"] for name in columns},
            coords={"data": np.arange(len(self.values))},
            attrs={"num_particles": self.num_particles, "units": "nats per data point"},
            sample_dims=[],
        )

    def __str__(self) -> str:
        num, high = len(self.values), int((self.pareto_k > HIGH_K).sum())
        known = self.pareto_k[~np.isnan(self.pareto_k)]
        tail = [f"{high} ({100 * high / num:.1f} %)"]
        if len(known):
            tail.append(f"worst {known.max():.2f}")
        if len(known) < num:
            tail.append(f"not defined for {num - len(known)}")
        lines = [
            f"log-likelihood  {self.mean:.4f} ± {self.standard_error:.4f} nats per data point",
            f"{num} data points, {self.num_particles} draws each",
            f"Pareto k > {HIGH_K}  {', '.join(tail)}",
        ]
        if self.elbos is not None and self.gap_errors is not None:
            row = int(self.gaps.argmax())
            lines.append(
                f"above the ELBO by {self.gaps.mean():.4f}, most at {row}: "
                f"{self.gaps[row]:.2f} ± {self.gap_errors[row]:.2f}"
            )
        return "\n".join(lines)

    @staticmethod
    def concatenate(parts: Iterable["LogLikelihood"]) -> "LogLikelihood":
        """The estimates of several batches as one.

        Raises:
            ValueError: If there is no data point.
        """
        parts = list(parts)
        if not sum(len(part.values) for part in parts):
            raise ValueError(expected("at least one data point", "batches", "none"))

        def joined(name: str) -> Any:
            arrays = [getattr(part, name) for part in parts]
            return None if any(array is None for array in arrays) else np.concatenate(arrays)

        return LogLikelihood(
            joined("values"),
            joined("standard_errors"),
            joined("pareto_k"),
            parts[0].num_particles,
            joined("elbos"),
            joined("gap_errors"),
        )


def chunk_sizes(num_particles: int, chunk_size: int) -> list[int]:
    """How many particles to draw at a time, all of one size but for the last.

    Raises:
        ValueError: If a number is no positive integer.

    Example:
        >>> chunk_sizes(250, 100)
        [100, 100, 50]
    """
    check_positive_int(num_particles, "num_particles")
    check_positive_int(chunk_size, "chunk_size")
    return [min(chunk_size, num_particles - i) for i in range(0, num_particles, chunk_size)]
