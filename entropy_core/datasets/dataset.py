"""What every generator and loader returns."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from entropy_core.checks import check_finite, check_positive_int, expected


# Generated equality would compare whole arrays in one `bool`, which NumPy refuses.
@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test set of the same D features.

    Attributes:
        name: What reports and figures call it.
        train: The training set, `(N, D)`.
        test: The test set, `(M, D)`, with `M = 0` where there is none.
        parameters: The truth that generated the data, empty for real data.
        image_shape: Height and width where a data point is an image.

    Raises:
        ValueError: If a set is not a matrix of finite floats, if `train` is empty, or if `test` has
            other features than `train`.
    """

    name: str
    train: Float[np.ndarray, "N D"]
    test: Float[np.ndarray, "M D"]
    parameters: dict[str, np.ndarray | float] = field(default_factory=dict)
    image_shape: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, x in (("train", self.train), ("test", self.test)):
            if x.ndim != 2 or not np.issubdtype(x.dtype, np.floating):
                got = f"{x.dtype} of shape {x.shape}"
                raise ValueError(expected("floats of shape (N, D)", name, got))
            check_finite(x, name)
        if len(self.train) == 0:
            raise ValueError(expected("at least one data point", "train", "none"))
        if self.test.shape[1] != self.train.shape[1]:
            what = f"{self.train.shape[1]} features, as in `train`,"
            raise ValueError(expected(what, "test", self.test.shape[1]))


def check_sizes(**sizes: int) -> None:
    """Refuses sizes that are no positive integers, by their names.

    Raises:
        ValueError: If one is not.
    """
    for name, size in sizes.items():
        check_positive_int(size, name)
