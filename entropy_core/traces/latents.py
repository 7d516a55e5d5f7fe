"""Latent sites that come apart into dimensions, for the criteria of posterior collapse."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from entropy_core.traces.reading import joint_sites
from entropy_core.traces.records import LatentTerms, Plate
from entropy_core.traces.sites import BaseSite

Latents = tuple[tuple[LatentTerms, ...], tuple[tuple[str, str], ...]]


def read_latents(
    model_sites: Mapping[str, Any],
    guide_sites: Mapping[str, Any],
    data_plate: Plate | None,
    rows: Callable[[Any, Any, int], Sequence[Any] | None],
    is_categorical: Callable[[Any], bool],
) -> Latents:
    """A record for each latent site that comes apart, and why each other one does not.

    Args:
        model_sites: The sites of the model.
        guide_sites: Those of the guide, with auxiliary ones put into those that they stand for.
        data_plate: The plate over data points.
        rows: From the guide's and the model's site and the number of data points to the arrays of
            `LatentTerms`, of shape `(B, H)`; `None` where there is no closed form.
        is_categorical: Whether the numbers of a distribution are names.
    """
    records = []
    untreated = [
        (name, "enumerated in the model alone: it has no dimensions")
        for name, site in model_sites.items()
        if site.enumerate_dim is not None and name not in guide_sites
    ]
    for name, site in guide_sites.items():
        if name not in model_sites or site.is_observed:
            continue
        joint = joint_sites(guide_sites, name)
        why, found = _why_not(site, model_sites[name], joint, data_plate), None
        if why is None and is_categorical(site.fn):
            why = "categorical: its numbers are names, without a mean"
        if why is None and data_plate is not None:
            found = rows(site, model_sites[name], data_plate.size)
        if found is None:
            untreated.append((name, why or "no closed form for single dimensions"))
        else:
            records.append(LatentTerms(name, *found))
    return tuple(records), tuple(untreated)


def _why_not(
    site: BaseSite, model_site: BaseSite, joint: Sequence[str], data_plate: Plate | None
) -> str | None:
    if site.is_point:
        if joint:
            return f"the guide draws it together with other sites, as {', '.join(joint)}"
        return "a point: the guide has no density there, and its entropy is 0 by convention"
    if data_plate is None or site.plates != (data_plate,):
        return "not in the data plate alone"
    if site.is_masked:
        return "masked"
    if site.enumerate_dim is not None:
        return "enumerated: it has no dimensions"
    if math.prod(site.fn.batch_shape) != data_plate.size:
        return "more than one draw for each data point"
    if math.prod(model_site.fn.batch_shape) > data_plate.size:
        return "another prior for each value of an enumerated site"
    return None
