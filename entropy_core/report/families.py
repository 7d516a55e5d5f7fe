"""What a residual means for a distribution of a known family, and what to do about it."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

# From so many standard errors on a residual is told.
CLEAR = 3.0
# A scale that is off by less is not worth a sentence.
OFF = 0.005


def meaning(site: pd.Series, num_dims: Mapping[str, int]) -> str:
    """A sentence to follow the one that says the residual, with a blank before it.

    A residual is `E_q[log p(v)] - E_p[log p(v)]`, by how much the values are more probable than
    those of the distribution itself. For `D` dimensions of a normal distribution it is
    `D/2 (1 - E (v - m)^2 / s^2)`, and of a Laplace one `D (1 - E |v - m| / b)` (from Damm et al.
    2023, Eq. 76), so that one scale for all is best at `s^2 (1 - 2 r / D)` and `b (1 - r / D)`.

    Args:
        site: A row of the sites of a report, per data point.
        num_dims: The number of dimensions of a data point, by site, where the row does not know.
    """
    residual, family = float(site["residual"]), str(site.get("family", ""))
    if not abs(residual) > CLEAR * np.nan_to_num(site["residual_mcse"]):
        # Not even its sign is clear.
        return ""
    dims = num_dims.get(site["site_name"]) or int(site.get("num_dims", 0))
    if family in ("Normal", "Laplace"):
        return _of_a_scale(site, family, dims if site["per"] == "data point" else 0)
    if family == "MultivariateNormal" and dims and site["per"] == "data point":
        ratio = 1 - 2 * _own(site) / dims
        return (
            f" The squared lengths of its deviations, by its covariance, are {_times(ratio)} what "
            "they are to be."
        )
    less = "more" if residual > 0 else "less"
    text = f" Its values are {less} probable under it than values of its own would be"
    if family in ("Bernoulli", "Categorical", "OneHotCategorical"):
        return f"{text}: its probabilities are {'not sure enough' if residual > 0 else 'too sure'}."
    return f"{text}."


def _of_a_scale(site: pd.Series, family: str, dims: int) -> str:
    normal = family == "Normal"
    deviations = "squared deviations" if normal else "absolute deviations"
    scales = "its variances" if normal else "its scales"
    text = f" On average the {deviations} of its values are"
    ratio = 1 - (2 if normal else 1) * _own(site) / dims if dims else np.nan
    # Where dimensions are hidden, or not those of a data point, only the sign tells.
    if not ratio > 0:
        return f"{text} {'below' if site['residual'] > 0 else 'above'} {scales}."
    text += f" {_times(ratio)} {scales}"
    scale, best = float(site.get("scale", np.nan)), np.sqrt(ratio) if normal else ratio
    if np.isnan(scale) or abs(best - 1) < OFF:
        return f"{text}."
    return f"{text}: a scale of {best * scale:.3g} in place of {scale:.3g} would make it zero."


def _own(site: pd.Series) -> float:
    """The residual by the data points that have the site."""
    return float(site["residual"]) * float(site.get("share", 1.0))


def _times(ratio: float) -> str:
    return f"{ratio:.3g} times"
