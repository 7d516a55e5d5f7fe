"""The ELBO with variances replaced by their optimum on the batch."""

from entropy_core.checks import expected


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
