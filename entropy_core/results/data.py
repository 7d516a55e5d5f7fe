"""The data of a report, to read: an `xarray.DataTree` in ArviZ's schema."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import xarray as xr

from entropy_core.checks import expected
from entropy_core.results import tables


class ReportData(Mapping[str, float]):
    """What a report says, without what draws, prints and writes it.

    A mapping from the quantities of the group `entropy_sum`, such as `"elbo"` and `"gap"`, to their
    means.

    `EntropyReport` is the report itself; figures, texts and pages read this much of it.

    Args:
        tree: The groups `entropy_sum`, `sites`, `latents` and, after training, `history`.
    """

    def __init__(self, tree: xr.DataTree) -> None:
        self._tree = tree

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
        one, several = (
            ("data point", "data points") if attrs["data_plate"] else ("batch", "batches")
        )
        return f"{attrs['num_data']:,} {one if attrs['num_data'] == 1 else several}"

    @property
    def untreated(self) -> dict[str, str]:
        """Sites without a record, an entropy or rows in `latents`, and the reason for each."""
        return json.loads(self._tree.attrs["untreated"])

    @property
    def left_out(self) -> dict[str, int]:
        """Sites that could not be treated, and in how many data points no sum holds them."""
        if "left_out" in self._tree.attrs:
            return json.loads(self._tree.attrs["left_out"])
        # Not every saved report has it.
        held, num_data = set(self.sites()["site_name"]), self._tree.attrs["num_data"]
        reasons = self.untreated.items()
        return {n: num_data for n, why in reasons if n not in held and why != "deterministic"}

    @property
    def relative_gap(self) -> float:
        """`|F - H_sum| / |F|` of this report (Damm et al. 2023, App. D.1)."""
        return abs(self["gap"] / self["elbo"])

    def __getitem__(self, quantity: str) -> float:
        """The mean of a quantity of the group `entropy_sum`, such as `"elbo"` or `"gap"`.

        Raises:
            KeyError: If there is no such quantity; it names those that there are.
        """
        group = self._tree["entropy_sum"]
        if quantity not in group.data_vars:
            raise KeyError(expected(f"one of {list(self)}", "quantity", repr(quantity)))
        return group[quantity].sel(estimate="mean").item()

    def __iter__(self) -> Iterator[str]:
        """The names of the quantities."""
        return map(str, self._tree["entropy_sum"].data_vars)

    def __len__(self) -> int:
        """The number of quantities."""
        return len(self._tree["entropy_sum"].data_vars)

    # Two reports with the same means may differ in all else.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

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

    def rate(self) -> pd.DataFrame:
        """A row for each part of a code's rate, the ELBO and other compressors, in bits.

        Raises:
            ValueError: If the report has none; see `with_rate`.
        """
        if "rate" not in self._tree.children:
            raise ValueError(expected("a report with a rate", "report", "one without"))
        return tables.rate(self._tree)

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
