"""What a diagnostic returns: an `xarray.DataTree` in ArviZ's schema, and ways to look at it."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import h5py
import xarray as xr

from entropy_core.checks import expected
from entropy_core.coding.rate import Rate
from entropy_core.figures import sites as site_plots
from entropy_core.figures import training as plots
from entropy_core.figures.rates import plot_rate
from entropy_core.files import write_whole
from entropy_core.report.findings import findings
from entropy_core.report.html import fragment, render_page
from entropy_core.report.text import render_text
from entropy_core.results.accumulate import Accumulator
from entropy_core.results.data import ReportData
from entropy_core.results.groups import (
    CollapseThresholds,
    entropy_sum_group,
    latents_group,
    sites_group,
)
from entropy_core.theory.claims import SiteClaim, claims_group

# Those that each report has.
ALWAYS = {"entropy_sum", "sites", "latents"}
OWN_GROUPS = {"entropy_sum", "sites", "latents", "history", "claims", "rate"}

Kind = Literal["history", "active", "latents", "entropies", "residuals", "rate"]


class EntropyReport(ReportData):
    """The ELBO of a model and guide beside its sum of entropies, and the residual of each site.

    The ELBO `E_q[log p(z)] + E_q[log p(x|z)] + H[q(z|x)]` becomes the entropy sum
    `H[q(z|x)] - H[p(z)] - H[p(x|z)]` at every stationary point (Damm et al. 2023, Eq. 13).

    Values are in nats per data point where one plate holds all the data, in nats for the whole data
    set elsewhere: `report.units` says which.

    Args:
        tree: The groups `entropy_sum`, `sites`, `latents` and, after training, `history`.
    """

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
            "data_set_size": sums.data_set_size,
            "num_particles": sums.num_particles,
            "untreated": json.dumps(sums.untreated),
            "left_out": json.dumps(sums.left_out),
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

    def with_rate(self, rate: Rate, others: Mapping[str, float] | None = None) -> "EntropyReport":
        """The same report with what a code of the same data takes, beside the ELBO.

        Args:
            rate: The rate, from `compress`.
            others: The bits per variable that other compressors take of the same data, such as
                those of `entropy_core.coding.general.general_compressors`.

        Raises:
            ValueError: If the report is not of as many data points, or not per data point.
        """
        num = self.attrs["data_set_size"] if self.attrs["data_plate"] else None
        if rate.num_points != num:
            what = f"a report of {rate.num_points} data points"
            raise ValueError(expected(what, "report", f"one of {self.size}"))
        tree = self.to_datatree()
        tree["rate"] = xr.DataTree(rate.to_dataset(others))
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

    def findings(self, num_dims: Mapping[str, int] | None = None) -> list[str]:
        """What the numbers mean in plain words; see `entropy_core.report.findings`.

        Args:
            num_dims: The number of dimensions of a data point, by observed site.
        """
        return findings(self, num_dims)

    def plot(self, *, kind: Kind, backend: str = "matplotlib") -> Any:
        """A figure of the report; see `entropy_core.figures`.

        Args:
            kind: `"history"`, the course of training; `"active"`, the number of active latents over
                training; `"latents"`, the entropy of each latent; `"entropies"`, what each site
                adds; `"residuals"`, where the gap is; `"rate"`, a code beside the ELBO and others.
            backend: `"matplotlib"` or `"plotly"`.

        Returns:
            An `arviz_plots.PlotCollection`.

        Raises:
            ValueError: If the report lacks what the figure shows.
            ImportError: If arviz-plots is not installed.
        """
        figures = {
            "history": plots.plot_history,
            "active": plots.plot_active,
            "latents": plots.plot_latents,
            "entropies": site_plots.plot_entropies,
            "residuals": site_plots.plot_residuals,
            "rate": plot_rate,
        }
        if kind not in figures:
            raise ValueError(expected(f"one of {list(figures)}", "kind", repr(kind)))
        return figures[kind](self, backend=backend)

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Writes the report as one page, which needs no network; see `entropy_core.report.html`."""
        write_whole(path, render_page(self).encode())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the report as netCDF; an old file is replaced once the new one is whole."""
        # In memory first: on a full disk HDF5 itself does not come back.
        write_whole(path, self._tree.to_netcdf(None, engine="h5netcdf"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "EntropyReport":
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            OSError: If the file cannot be read.
            ValueError: If the file holds no report, or is damaged.
        """
        content = Path(path).read_bytes()
        try:
            # Where the root is damaged, h5netcdf would leave a file half open, which complains.
            with h5py.File(BytesIO(content)) as root:
                dict(root.attrs)
            with xr.open_datatree(BytesIO(content), engine="h5netcdf") as file:
                # The tree's own `load` leaves a variable behind that has the name of its group.
                groups = {node.path: node.to_dataset().load() for node in file.subtree}
            tree = xr.DataTree.from_dict(groups)
        # What a damaged file raises depends on where it is damaged.
        except Exception as error:
            raise ValueError(expected("an entropy report", "path", path)) from error
        missing = sorted(ALWAYS - tree.children.keys())
        if missing:
            got = f"{path} with groups {list(tree.children)}"
            raise ValueError(expected("an entropy report", "path", got))
        return cls(tree)

    def __str__(self) -> str:
        return render_text(self)

    def __repr__(self) -> str:
        return f"<EntropyReport: {self.units}, groups {list(self._tree.children)}>"

    def _repr_html_(self) -> str:
        return fragment(self)
