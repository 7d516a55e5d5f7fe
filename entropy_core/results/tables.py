"""The groups of a report as data frames."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

ROWS = {
    "elbo": "ELBO",
    "prior_term": "prior term",
    "reconstruction_term": "reconstruction term",
    "encoder_entropy": "encoder entropy",
    "prior_entropy": "prior entropy",
    "decoder_entropy": "decoder entropy",
    "entropy_sum": "entropy sum",
    "gap": "gap",
}


def summary(tree: xr.DataTree) -> pd.DataFrame:
    """A row for each quantity and for the residual of each site; the columns `mean`, `mcse`."""
    sums, sites = tree["entropy_sum"].dataset, tree["sites"].dataset
    rows = {label: sums[name].values for name, label in ROWS.items()}
    columns = [sites[name].values for name in ("role", "site_name", "per")]
    roles: dict[str, set[str]] = {}
    for role, name, _ in zip(*columns, strict=True):
        roles.setdefault(name, set()).add(role)
    for i, (role, name, per) in enumerate(zip(*columns, strict=True)):
        if role != "encoder":
            # A guide may have a factor of the same name as one of the model's, and a site may be
            # observed in some batches and drawn in others.
            label = f"{name} (guide)" if role == "guide factor" else name
            label = f"{name} ({role})" if roles[name] >= {"prior", "decoder"} else label
            # Where there is a plate over data points, other values are for one of them.
            outside = per == "data set" and tree.attrs["data_plate"]
            label = f"{label}, per data set" if outside else label
            rows[f"residual of {label}"] = sites["residual"].values[i]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "mcse"])


def sites_per_data_point(tree: xr.DataTree) -> pd.DataFrame:
    """The group `sites` as parts of the ELBO: each data point has its share of what is outside."""
    table, attrs = of_group(tree, "sites"), tree.attrs
    if attrs["data_plate"]:
        shared = table["per"] == "data set"
        numbers = [
            c
            for c in table.columns
            if str(c).removesuffix("_mcse") in ("term", "entropy", "residual")
        ]
        table.loc[shared, numbers] /= attrs["data_set_size"]
    return table


def of_group(tree: xr.DataTree, group: str) -> pd.DataFrame:
    """A column for a plain variable of a group, and two for one with its standard error."""
    dataset = tree[group].dataset
    columns: dict[str, Any] = {}
    for name, variable in dataset.data_vars.items():
        if "estimate" in variable.dims:
            columns[str(name)] = variable.sel(estimate="mean").values
            columns[f"{name}_mcse"] = variable.sel(estimate="mcse").values
        else:
            columns[str(name)] = variable.values
    dim = group.removesuffix("s")
    return pd.DataFrame(columns, index=pd.Index(dataset[dim].values, name=dim))


def rate(tree: xr.DataTree) -> pd.DataFrame:
    """What a code takes, part by part, beside the report's negative ELBO and other compressors."""
    group = tree["rate"].dataset
    elbo = tree["entropy_sum"]["elbo"].values / np.log(2)
    num_dims = group.attrs["num_dims"]
    rows = dict(zip(group["part"].values, group["bits"].values, strict=True))
    rows["negative ELBO, other draws"] = -elbo[0]
    others = zip(group["compressor"].values, group["others"].values * num_dims, strict=True)
    table = pd.DataFrame({"bits_per_point": rows | dict(others)})
    table["bits_per_dim"] = table["bits_per_point"] / num_dims
    table["mcse_per_dim"] = np.nan
    table.loc["negative ELBO, other draws", "mcse_per_dim"] = elbo[1] / num_dims
    return table
