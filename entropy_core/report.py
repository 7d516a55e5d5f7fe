"""What a diagnostic returns: an `xarray.DataTree` in ArviZ's schema, and ways to look at it."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, Literal

import pandas as pd
import xarray as xr

from entropy_core import tables
from entropy_core.accumulate import Accumulator
from entropy_core.checks import expected
from entropy_core.claims import SiteClaim, claims_group
from entropy_core.files import replacing
from entropy_core.groups import (
    CollapseThresholds,
    entropy_sum_group,
    latents_group,
    sites_group,
)

OWN_GROUPS = {"entropy_sum", "sites", "latents", "history", "claims"}

Kind = Literal["history", "active", "latents", "entropies", "residuals"]


class EntropyReport:
    """The ELBO of a model and guide beside its sum of entropies, and the residual of each site.

    The ELBO `E_q[log p(z)] + E_q[log p(x|z)] + H[q(z|x)]` becomes the entropy sum
    `H[q(z|x)] - H[p(z)] - H[p(x|z)]` at every stationary point (Damm et al. 2023, Eq. 13).

    Values are in nats per data point where one plate holds all the data, in nats for the whole data
    set elsewhere: `report.units` says which.

    Args:
        tree: The groups `entropy_sum`, `sites`, `latents` and, after training, `history`.
    """

    def __init__(self, tree: xr.DataTree) -> None:
        self._tree = tree

    @classmethod
    def from_accumulator(
        cls,
        sums: Accumulator,
        thresholds: CollapseThresholds,
        *,
        library: ModuleType,
        no_claim: str | None = None,
    ) -> "EntropyReport":
        """Turns the sums of a diagnostic into a report.

        Args:
            sums: What one pass over the data has seen.
            thresholds: When a latent dimension counts as collapsed.
            library: The host, whose name and version the report carries.
            no_claim: See `EntropyReport.no_claim`.

        Raises:
            ValueError: If the pass has seen no data.
        """
        if not sums.num_data:
            raise ValueError(expected("at least one batch", "batches", "none"))
        groups = {
            "entropy_sum": entropy_sum_group(sums),
            "sites": sites_group(sums),
            "latents": latents_group(sums, thresholds),
        }
        tree = xr.DataTree.from_dict(groups)
        tree.attrs = {
            "created_at": datetime.now(UTC).isoformat(),
            "inference_library": library.__name__,
            "inference_library_version": library.__version__,
            "units": "nats per data point" if sums.data_plate else "nats",
            "data_plate": sums.data_plate or "",
            "num_data": sums.num_data,
            "data_set_size": sums.total or sums.num_data,
            "num_particles": sums.num_particles,
            "untreated": json.dumps(sums.untreated),
            "no_claim": no_claim or "",
            **asdict(thresholds),
        }
        return cls(tree)

    def with_history(self, history: xr.Dataset) -> "EntropyReport":
        """The same report with the course of training, over the dimensions `epoch` and `latent`."""
        tree = self.to_datatree()
        tree["history"] = xr.DataTree(history)
        return type(self)(tree)

    def with_claims(self, claims: Sequence[SiteClaim]) -> "EntropyReport":
        """The same report with what the theorem claims for each site, from `explain_residuals`."""
        tree = self.to_datatree()
        tree["claims"] = xr.DataTree(claims_group(claims))
        return type(self)(tree)

    def with_groups(self, tree: xr.DataTree) -> "EntropyReport":
        """The same report with more groups, such as those of `to_datatree` of either package.

        Args:
            tree: The groups, such as ArviZ's `posterior` and `log_likelihood`.

        Raises:
            ValueError: If a group has the name of one of the report's own.
        """
        own = sorted(OWN_GROUPS & tree.children.keys())
        if own:
            raise ValueError(expected("groups that are not the report's own", "tree", own))
        merged = self.to_datatree()
        for name, group in tree.children.items():
            merged[name] = group.copy(deep=True)
        return type(self)(merged)

    def with_no_claim(self, reason: str) -> "EntropyReport":
        """The same report of a pair that was trained with an objective other than the ELBO.

        Args:
            reason: See `no_claim`.
        """
        tree = self.to_datatree()
        tree.attrs["no_claim"] = reason
        return type(self)(tree)

    @property
    def no_claim(self) -> str | None:
        """Why the theorem says nothing of the optimum that the pair was trained for.

        Such as `"free bits"`; `None` where the pair was trained with the ELBO, or where the report
        does not know the objective. The numbers are those of the ELBO in every case.
        """
        # Not every saved report has it.
        return self._tree.attrs.get("no_claim") or None

    @property
    def units(self) -> str:
        """The units of every value."""
        return self._tree.attrs["units"]

    @property
    def size(self) -> str:
        """The number of data points, or of batches where no plate says what a data point is."""
        attrs = self._tree.attrs
        return f"{attrs['num_data']:,} {'data points' if attrs['data_plate'] else 'batches'}"

    @property
    def untreated(self) -> dict[str, str]:
        """Sites without a record, an entropy or rows in `latents`, and the reason for each."""
        return json.loads(self._tree.attrs["untreated"])

    @property
    def relative_gap(self) -> float:
        """`|F - H_sum| / |F|` of this report (Damm et al. 2023, App. D.1)."""
        return abs(self["gap"] / self["elbo"])

    def __getitem__(self, quantity: str) -> float:
        """The mean of a quantity of the group `entropy_sum`, such as `"elbo"` or `"gap"`."""
        return self._tree["entropy_sum"][quantity].sel(estimate="mean").item()

    def summary(self) -> pd.DataFrame:
        """A row for each quantity and for the residual of each site, with its standard error.

        Returns:
            The columns `mean`, `mcse` (Monte-Carlo standard error; NaN with one particle).
        """
        return tables.summary(self._tree)

    def sites(self) -> pd.DataFrame:
        """A row for each sample site: what it adds, its entropy, its residual, how each was got."""
        return tables.of_group(self._tree, "sites")

    def latents(self) -> pd.DataFrame:
        """A row for each latent dimension: its entropies and divergence, and if it collapsed."""
        return tables.of_group(self._tree, "latents")

    def claims(self) -> pd.DataFrame:
        """A row for each claim of the theorem: the parts of the residual, the verdict, the reason.

        Raises:
            ValueError: If the report has none; see `with_claims`.
        """
        if "claims" not in self._tree.children:
            raise ValueError(expected("a report with claims", "report", "one without"))
        return tables.of_group(self._tree, "claims")

    def findings(self, num_dims: Mapping[str, int] | None = None) -> list[str]:
        """What the numbers mean in plain words; see `entropy_core.findings`.

        Args:
            num_dims: The number of dimensions of a data point, by observed site.
        """
        from entropy_core import findings

        return findings.findings(self, num_dims)

    @property
    def attrs(self) -> dict[str, Any]:
        """What the report says of itself: its library, its sizes, its thresholds."""
        return {str(name): value for name, value in self._tree.attrs.items()}

    def group(self, name: str) -> xr.Dataset | None:
        """A group to read, without a copy; `None` where the report has no such group."""
        children = self._tree.children
        return children[name].dataset if name in children else None

    def to_datatree(self) -> xr.DataTree:
        """A copy of the groups as an `xarray.DataTree`, for ArviZ's functions."""
        return self._tree.copy(deep=True)

    def plot(self, *, kind: Kind, backend: str = "matplotlib") -> Any:
        """A figure of the report; see `entropy_core.plots` and `entropy_core.site_plots`.

        Args:
            kind: `"history"`, the course of training; `"active"`, the number of active latents over
                training; `"latents"`, the entropy of each latent; `"entropies"`, what each site
                adds; `"residuals"`, where the gap is.
            backend: `"matplotlib"` or `"plotly"`.

        Returns:
            An `arviz_plots.PlotCollection`.

        Raises:
            ValueError: If the report lacks what the figure shows.
            ImportError: If arviz-plots is not installed.
        """
        from entropy_core import plots, site_plots

        figures = {
            "history": plots.plot_history,
            "active": plots.plot_active,
            "latents": plots.plot_latents,
            "entropies": site_plots.plot_entropies,
            "residuals": site_plots.plot_residuals,
        }
        if kind not in figures:
            raise ValueError(expected(f"one of {list(figures)}", "kind", repr(kind)))
        return figures[kind](self, backend=backend)

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Writes the report as one page, which needs no network; see `entropy_core.html`."""
        from entropy_core import html

        with replacing(path) as temporary:
            temporary.write_text(html.render(self), encoding="utf-8")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the report as netCDF; an old file is replaced once the new one is whole."""
        with replacing(path) as temporary:
            self._tree.to_netcdf(temporary, engine="h5netcdf")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "EntropyReport":
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file holds no report.
        """
        try:
            with xr.open_datatree(path, engine="h5netcdf") as tree:
                tree.load()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ValueError(expected("an entropy report", "path", path)) from error
        if "entropy_sum" not in tree.children:
            groups = list(tree.children)
            raise ValueError(expected("an entropy report", "path", f"{path} with groups {groups}"))
        return cls(tree)

    def __str__(self) -> str:
        from entropy_core import text

        return text.render(self)

    def __repr__(self) -> str:
        return f"<EntropyReport: {self.units}, groups {list(self._tree.children)}>"

    def _repr_html_(self) -> str:
        from entropy_core import html

        return html.fragment(self)
