"""How far a guide is from the posterior: what simulations of the model say, and in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from arviz_base import dict_to_dataset
from jaxtyping import Int

from entropy_core.evaluation.likelihood import LogLikelihood
from entropy_core.evaluation.names import variable_names
from entropy_core.evaluation.simulations.ranks import rank_table, spread_evenly
from entropy_core.evaluation.simulations.words import (
    MOST_LATENTS,
    divergence_differs,
    on_divergence,
    on_gaps,
    on_latents,
    on_misfit,
    on_untreated,
    rank_lines,
    wrong_latents,
)
from entropy_core.results.numbers import with_error


class Estimate(NamedTuple):
    """A mean over simulations, and its standard error."""

    mean: float
    error: float


@dataclass(frozen=True, eq=False)
class GuideError:
    """How far a guide is from the posterior, over simulations from the model.

    With `(z, x) ~ p(z, x)` and `log w(z) = log p(z, x) - log q(z|x)` (Domke 2021),

        E_p(z,x)[log w(z)] - E_p(x) E_q(z|x)[log w(z)] = E_p(x)[KL(p(z|x) || q) + KL(q || p(z|x))]

    is zero for the posterior and positive for all else: no evidence enters. Units: nats per data
    point. The data are those of the model: where it does not fit, real data are others.

    Args:
        divergence: The symmetric divergence.
        std_error: Its Monte-Carlo standard error.
        elbo: The ELBO of simulated data, below their log-likelihood by the second divergence alone.
        sites: What each site adds to the divergence: the difference of `log p` of an observed site,
            of `log p - log q` of a latent one. They sum to it. None is a divergence of its own, and
            one may be negative.
        latents: The names of latents with ranks, such as `z[0]`.
        rank_counts: How often each latent of the model had each of the ranks in the guide.
        num_simulations: The number of simulated data points.
        num_infinite: The number of those where model or guide has no density, so that the
            divergence is infinite.
        rounding: What of `divergence` may be an effect of the float type.
        untreated: Pairs of a latent site without ranks and the reason why.

    Example:
        >>> ranks = np.full((1, 200), 50)
        >>> nothing = Estimate(0.0, 0.0)
        >>> print(GuideError(0.0, 0.0, nothing, {"z": nothing}, ("z[0]",), ranks, 10_000))
        ... # doctest: +NORMALIZE_WHITESPACE
        guide error  0.000000 ± 0.000000 nats per data point, in 10,000 simulations
        <BLANKLINE>
        site  nats
        z     0.000000 ± 0.000000
        <BLANKLINE>
        true latents in the guide's intervals, and above its median
              50 %  80 %  90 %  95 %  above
        z[0]    50    80    90    95     50
        <BLANKLINE>
        - In 10,000 simulations guide and posterior do not differ: the divergence is less than 1e-06
        nats per data point.
    """

    divergence: float
    std_error: float
    elbo: Estimate
    sites: Mapping[str, Estimate]
    latents: tuple[str, ...]
    rank_counts: Int[np.ndarray, "h r"]
    num_simulations: int
    num_infinite: int = 0
    rounding: float = 0.0
    untreated: tuple[tuple[str, str], ...] = ()

    @property
    def differs(self) -> bool:
        """Whether the simulations show that the guide is not the posterior.

        They would show so of the posterior in at most 0.27 of a hundred cases: half of that is left
        to the divergence, by Student's t, and half to the ranks of all latents, by binomial tests
        (Bonferroni). A guide is hardly ever the posterior; `divergence` says how far it is.
        """
        by_divergence = divergence_differs(
            self.divergence, self.std_error, self.num_simulations, self.rounding
        )
        return by_divergence or bool(len(wrong_latents(self.summary())))

    def summary(self) -> pd.DataFrame:
        """What ranks say, a line for each latent.

        Returns:
            The share of simulations whose true latent lies in the guide's central intervals, `50 %`
            to `95 %`, and `above` its median, each with its binomial standard error;
            `divergence`, how far its ranks are from uniform ones, which is no more than the
            guide's, with its error; and `p_value`, that of the count that is farthest off. Ranks of
            a latent are given the true values of those that the guide draws before it.
        """
        return rank_table(self.latents, self.rank_counts)

    def findings(self) -> list[str]:
        """What the numbers mean, a sentence or two for each finding."""
        table = self.summary()
        return [
            *on_divergence(
                self.divergence,
                self.std_error,
                self.num_simulations,
                self.num_infinite,
                self.rounding,
                ranks_differ=bool(len(wrong_latents(table))),
            ),
            *on_latents(table, self.num_simulations, self.divergence),
            *on_untreated(self.untreated),
        ]

    def on_data(self, likelihood: LogLikelihood) -> list[str]:
        """What real data say beside the simulated ones: of the guide there, and of the model.

        The model's own data have a mean log-likelihood between `elbo` and `elbo + divergence`. Data
        with another one are none of the model's, even where the guide is the posterior.

        Args:
            likelihood: What `log_likelihood` returns for the data.

        Returns:
            A sentence or two for each finding; none where errors allow none.

        Raises:
            ValueError: If `likelihood` has no ELBOs.
        """
        gaps, values = likelihood.gaps, likelihood.values
        return [
            *on_gaps(gaps, likelihood.pareto_k, self.divergence, self.std_error),
            *on_misfit(values, likelihood.pareto_k, self.elbo, self.divergence, self.std_error),
        ]

    def to_datatree(self) -> xr.DataTree:
        """The ranks as simulation-based calibration has them: the group `prior_sbc` of simuk.

        A variable for each latent site, with the dimensions `chain` (one), `draw`, over
        simulations, and `<site>_dim_0`: parts of the guide's distribution in `[0, 1]`. They are
        in order of size and not of simulation, since only counts are kept. `sample_stats` has the
        divergence.

        Example:
            >>> arviz_plots.plot_ecdf_pit(error.to_datatree())  # doctest: +SKIP
        """
        sites: dict[str, list[np.ndarray]] = {}
        for label, counts in zip(self.latents, self.rank_counts, strict=True):
            sites.setdefault(label.rpartition("[")[0], []).append(spread_evenly(counts))
        names = variable_names(sites)
        ranks = {names[site]: np.stack(columns, -1)[None] for site, columns in sites.items()}
        attributes = {
            "divergence": self.divergence,
            "std_error": self.std_error,
            "num_simulations": self.num_simulations,
            "units": "nats per data point",
        }
        return xr.DataTree.from_dict({"prior_sbc": dict_to_dataset(ranks, attrs=attributes)})

    def plot(self, *, coverage: bool = False, backend: str = "matplotlib", **options: Any) -> Any:
        """The distribution of ranks, less that of uniform ones, with simultaneous bands.

        Args:
            coverage: Whether to show how many true latents lie in the guide's central intervals,
                less how many should, in place of ranks.
            backend: One of arviz-plots, such as `"plotly"`.
            **options: Those of `arviz_plots.plot_ecdf_pit`, such as `coords`, `col_wrap`.

        Returns:
            The `arviz_plots.PlotCollection`.

        Raises:
            ImportError: If arviz-plots is not installed.
        """
        try:
            from arviz_plots import plot_ecdf_pit
        except ImportError as error:
            error.add_note("The figures need: pip install 'elbo-entropy[plots]'")
            raise
        if backend == "matplotlib":
            # Room for titles and labels.
            options["figure_kwargs"] = {"layout": "constrained", **options.get("figure_kwargs", {})}
        tree = self.to_datatree()
        return plot_ecdf_pit(tree, coverage=coverage, backend=backend, **options)

    def __str__(self) -> str:
        width = max(4, *(len(name) for name in self.sites))
        lines = [
            f"guide error  {with_error(self.divergence, self.std_error)} nats per data point, in "
            f"{self.num_simulations:,} simulations",
            "",
            f"{'site':{width}}  nats",
            *(f"{name:{width}}  {with_error(*found)}" for name, found in self.sites.items()),
        ]
        if self.latents:
            lines += ["", *rank_lines(self.summary(), MOST_LATENTS)]
        return "\n".join([*lines, "", *(f"- {finding}" for finding in self.findings())])
