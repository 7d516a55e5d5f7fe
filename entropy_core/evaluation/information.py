"""How much a latent says of its data point, as a group for a report."""

import math
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr
from arviz_base import dict_to_dataset

from entropy_core.checks import expected
from entropy_core.results.groups import ESTIMATE
from entropy_core.traces.records import LatentTerms, Plate


def check_latents(names: list[str]) -> None:
    """Refuses a guide of several latent sites: each may depend on the draw of another.

    Args:
        names: The latent sites of the guide.

    Raises:
        ValueError: If there is not exactly one.
    """
    if len(names) != 1:
        raise ValueError(expected("one latent site", "guide", names or "none"))


def check_latent(
    name: str, plates: tuple[Plate, ...], plate: Plate | None, batch_shape: tuple[int, ...]
) -> None:
    """Refuses a latent site that is not one for each data point of the batch.

    Args:
        name: The site.
        plates: The plates around it.
        plate: The plate over data points.
        batch_shape: The batch shape of the site's distribution.

    Raises:
        ValueError: If the site is not in the data plate alone, or its distribution is not one for
            each data point, or there are fewer than two of them.
    """
    if plate is None or plates != (plate,) or batch_shape != (plate.size,) or plate.size < 2:
        what = "a latent for each of at least two data points, in the data plate alone,"
        got = f"'{name}' of batch shape {batch_shape} in {[p.name for p in plates]}"
        raise ValueError(expected(what, "guide", got))


def chunks(size: int, num_latents: int) -> list[slice]:
    """Rows of a batch of `size`, so few at a time that all pairs of them fit into memory."""
    rows = max(1, 2**22 // (size * max(num_latents, 1)))
    return [slice(i, i + rows) for i in range(0, size, rows)]


def information_group(
    total: Any, parts: Any, latents: LatentTerms | None, size: int, *, library: ModuleType
) -> xr.Dataset:
    """The estimates of the particles as means with standard errors.

    Args:
        total: For each particle the information of all latents together, of shape `(K,)`.
        parts: That of each latent, `(K, H)`, where they come apart.
        latents: Their divergences.
        size: The number of data points in the batch, `B`.
        library: The host.
    """

    def estimate(values: np.ndarray) -> np.ndarray:
        num = len(values)
        error = values.std(0, ddof=1) / num**0.5 if num > 1 else np.full(values.shape[1:], np.nan)
        return np.stack([values.mean(0), error], -1)

    data: dict[str, Any] = {
        "total": estimate(np.asarray(total, float)),
        "bound": np.array(math.log(size)),
    }
    dims: dict[Any, Any] = {"total": ["estimate"], "bound": []}
    coords: dict[Any, Any] = {"estimate": list(ESTIMATE)}
    if latents is not None:
        kl = np.asarray(latents.kl, float).mean(0)
        data |= {
            "mutual_information": estimate(np.asarray(parts, float)),
            "kl": kl,
            "marginal_kl": estimate(kl - np.asarray(parts, float)),
        }
        dims |= {name: ["latent", "estimate"] for name in ("mutual_information", "marginal_kl")}
        dims["kl"] = ["latent"]
        coords["latent"] = [f"{latents.site}[{h}]" for h in range(len(kl))]
    return dict_to_dataset(
        data, dims=dims, coords=coords, sample_dims=[], inference_library=library
    )
