"""From the sums of one pass over the data to the groups of a report."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from arviz_base import make_attrs

from entropy_core.results.accumulate import Accumulator
from entropy_core.theory import closed_form
from entropy_core.theory.channel import gaussian_channel

ESTIMATE = ("mean", "mcse")


@dataclass(frozen=True)
class CollapseThresholds:
    """When a latent dimension counts as collapsed, or as active.

    Args:
        entropy_delta: A latent is collapsed where the entropy of its encoder is above
            `H[p(z_h)] - entropy_delta` (Damm et al. 2023, Eq. 24). With the default the threshold
            of a standard normal prior is 1 nat, as in the paper's figures.
        kl_epsilon: It is collapsed by divergence where `KL < kl_epsilon` for nearly all of the data
            (Lucas et al. 2019).
        kl_delta: The fraction of the data for which that may fail.
        active_variance: An active unit has `Var_x(E_q[z_h])` above it (Burda et al. 2016).
    """

    entropy_delta: float = 0.4189
    kl_epsilon: float = 0.01
    kl_delta: float = 0.01
    active_variance: float = 0.01


def entropy_sum_group(sums: Accumulator) -> xr.Dataset:
    """The ELBO in three terms and in three entropies, each with its standard error.

    Where handlers scale sites, `scaled_elbo` is the ELBO that a loss has under them.
    """
    scaled = any(site.scaled for site in sums.sites.values())
    names = [key for key in sums.moments if len(key) == 1 and (scaled or key != ("scaled_elbo",))]
    return _dataset(
        {name: np.array(sums.estimate((name,))) for (name,) in names},
        dims={name: ["estimate"] for (name,) in names},
        coords={"estimate": list(ESTIMATE)},
    )


def sites_group(sums: Accumulator) -> xr.Dataset:
    """What each sample site adds, how it was got, and its residual (NaN for a guide's site).

    A site outside the data plate, such as a global latent, has values in nats for the whole data
    set: `per` says so. `num_data` is the number of data points in the batches that have the site:
    values are means over all data points, to which the others add zero, so that residuals add up
    to the gap. `num_dims` is the number of dimensions of a data point, 0 where there is no one such
    number; `scale` the one of a normal or Laplace distribution with the same for all elements (NaN
    for others); `observed` the fraction of the elements that no mask hides. Where the model has a
    distribution of a user's own with a closed form, `check` is by how much its draws differ from
    that (NaN for other sites).
    """
    sites = list(sums.sites.values())

    def column(name: str) -> np.ndarray:
        keys = [(name, site.role, site.name) for site in sites]
        missing = (np.nan, np.nan)
        found = []
        for key, site in zip(keys, sites, strict=True):
            estimate = sums.estimate_total if sums.is_global(site) else sums.estimate
            found.append(estimate(key) if key in sums.moments else missing)
        return np.array(found)

    def text(values: set[str]) -> str:
        return ", ".join(sorted(values))

    names = ["term", "entropy", "residual"]
    names += ["check"] if any(key[0] == "check" for key in sums.moments) else []
    values: dict[str, Any] = {name: column(name) for name in names}
    texts = {
        "role": [site.role for site in sites],
        "site_name": [site.name for site in sites],
        "term_method": [text(site.term_methods) for site in sites],
        "entropy_method": [text(site.entropy_methods) for site in sites],
        "per": ["data point" if sums.plates and s.in_data_plate else "data set" for s in sites],
        "family": [text(site.families) for site in sites],
        "plates": ["; ".join(sorted(site.plates)) for site in sites],
        # A handler's scale is a part of a loss and never of a report: it is listed and not used.
        "handler_scale": [text(site.handler_scales) for site in sites],
    }
    plain: dict[str, Any] = {name: np.array(column) for name, column in texts.items()}
    plain["observed"] = np.array([site.observed for site in sites])
    plain["scale"] = np.array([site.scale for site in sites], float)
    plain["num_dims"] = np.array([site.dims for site in sites], int)
    counts = [sums.moments["term", site.role, site.name].num_data for site in sites]
    plain["num_data"] = np.array(counts, int)
    return _dataset(
        values | plain,
        dims={name: ["site", "estimate"] for name in values} | {name: ["site"] for name in plain},
        coords={
            "site": [f"{site.role} {site.name}" for site in sites],
            "estimate": list(ESTIMATE),
        },
    )


def latents_group(sums: Accumulator, thresholds: CollapseThresholds) -> xr.Dataset:
    """Each latent dimension: its entropies and divergence, and three criteria of collapse.

    Where encoder and prior are normal, it is a Gaussian channel as well, see `gaussian_channel`.

    They are means over the data points in the batches that have the latent, `num_data` of them.
    """
    latents = sums.latents
    labels = [f"{site}[{h}]" for site, m in latents.items() for h in range(len(m.mean))]

    def mean_of(name: str) -> np.ndarray:
        return _joined([getattr(m, name) / m.num_data for m in latents.values()])

    encoder_entropy, prior_entropy = mean_of("entropy"), mean_of("prior_entropy")
    fraction_below, variance = mean_of("below"), mean_of("squares")
    kl = mean_of("kl")
    channel, capacity, power = gaussian_channel(
        encoder_entropy, prior_entropy, kl, mean_of("noise")
    )
    num_data = [[m.num_data] * len(m.mean) for m in latents.values()]
    values = {
        "encoder_entropy": encoder_entropy,
        "prior_entropy": prior_entropy,
        "kl": kl,
        "kl_bits": kl / np.log(2),
        "channel_bits": channel,
        "capacity_bits": capacity,
        "second_moment": power,
        "kl_below_epsilon": fraction_below,
        "variance_of_mean": variance,
        "collapsed": closed_form.collapsed_by_entropy(
            encoder_entropy, prior_entropy, delta=thresholds.entropy_delta
        ),
        "collapsed_by_kl": closed_form.collapsed_by_kl(fraction_below, delta=thresholds.kl_delta),
        "active": closed_form.active_units(variance, threshold=thresholds.active_variance),
        "num_data": _joined([np.array(counts, int) for counts in num_data]),
    }
    return _dataset(values, dims={name: ["latent"] for name in values}, coords={"latent": labels})


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.zeros(0)


def _dataset(data: dict[str, Any], dims: dict[Any, Any], coords: dict[Any, Any]) -> xr.Dataset:
    # What `dict_to_dataset` makes, in a fifth of its time: a training makes many reports.
    variables = {name: (dims[name], values) for name, values in data.items()}
    return xr.Dataset(variables, coords=coords, attrs=make_attrs())
