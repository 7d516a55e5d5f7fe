"""The ELBO with variances replaced by their optimum on the batch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from entropy_core.across import ALONE, Across
from entropy_core.checks import check_choice, expected
from entropy_core.operations import Operations
from entropy_core.traces.records import Plate, SiteTerms

# What is profiled of a site: one variance for all dimensions, one for each, or the covariance.
Form = Literal["scalar", "diagonal", "full"] | None


def check_forms(prior: Form, decoder: Form) -> dict[str, Form]:
    """What is profiled of the sites of each role.

    Raises:
        ValueError: If nothing is to be profiled, or a form is not known.
    """
    check_choice(prior, (None, "diagonal", "full"), "prior")
    check_choice(decoder, (None, "scalar", "diagonal", "full"), "decoder")
    if prior is None and decoder is None:
        raise ValueError(expected("a site to profile", "prior` or `decoder", None))
    return {"prior": prior, "decoder": decoder}


def sites_to_profile(
    records: Sequence[SiteTerms], plate: Plate, forms: Mapping[str, Form]
) -> list[tuple[SiteTerms, Form]]:
    """The records of the sites in the data plate that are to be profiled, each with its form.

    Raises:
        ValueError: If there is none, or one is under a `scale` handler of several values.
    """
    found = [
        (record, forms[record.role])
        for record in records
        if forms.get(record.role) is not None and plate in record.plates
    ]
    for record, _ in found:
        if getattr(record.handler_scale, "ndim", 0):
            got = f"an array around site '{record.name}'"
            raise ValueError(expected("one number for each `scale` handler", "model", got))
    if not found:
        raise ValueError(expected("a site to profile in the data plate", "model", "none"))
    return found


def optimal_variance(
    deviations: Any,
    spread: Any,
    form: Form,
    name: str,
    ops: Operations,
    across: Across = ALONE,
) -> Any:
    """`mean_n E_q[(v - loc)^2]`, the optimum of a site's variance (Damm et al. 2023, Eq. 76).

    Args:
        deviations: The guide's means, or draws, less the model's location, `(R, D)`.
        spread: The mean of the guide's own variances, `(D,)`, or with `"full"` of its covariances,
            `(D, D)`; `None` with draws.
        form: What is profiled.
        name: The site.
        ops: The host's functions.
        across: The devices that have the other rows of the batch.

    Returns:
        Variances `(D,)`, or the covariance `(D, D)` where it is `"full"`.

    Raises:
        ValueError: If a full covariance has no more draws than dimensions.
    """
    num_rows, num_dims = deviations.shape
    if form == "full":
        check_full((across.count(num_rows), num_dims), name, drawn=spread is None)
        moments = deviations.T @ deviations / num_rows
        if spread is not None:
            moments = moments + (spread if spread.ndim == 2 else ops.diag(spread))
        return across.average(moments, num_rows)
    moments = (deviations**2).mean(0)
    if spread is not None:
        moments = moments + spread
    moments = across.average(moments, num_rows)
    # One number for all dimensions has an entry for each, so that their count is known.
    return ops.broadcast_to(moments.mean(), moments.shape) if form == "scalar" else moments


def profiled(
    records: Sequence[SiteTerms],
    variances: Mapping[str, Any],
    roles: Mapping[str, Form],
    ops: Operations,
) -> list[SiteTerms]:
    """The records with profiled variances: such a site adds minus its entropy."""

    def with_variance(site: SiteTerms) -> SiteTerms:
        found = variances[site.name]
        log_variance = ops.log_det(found) if found.ndim == 2 else ops.log(found).sum()
        entropy = 0.5 * (len(found) * math.log(2 * math.pi * math.e) + log_variance)
        values = ops.broadcast_to(entropy, site.term.shape)
        return replace(site, term=-values, entropy=values)

    return [
        with_variance(site) if roles.get(site.role) and site.name in variances else site
        for site in records
    ]


def check_full(shape: tuple[int, ...], name: str, *, drawn: bool) -> None:
    """Refuses a full covariance of draws that cannot be positive definite.

    Args:
        shape: The number of rows and of dimensions.
        name: The site.
        drawn: Whether there are but draws, and no covariance of the guide's to add to theirs.

    Raises:
        ValueError: If there are no more rows than dimensions.
    """
    num_rows, num_dims = shape
    if drawn and num_rows <= num_dims:
        what = f"more than {num_dims} data points for a full covariance of '{name}'"
        raise ValueError(expected(what, "batch", num_rows))
