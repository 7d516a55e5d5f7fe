"""Gaussian models whose posterior is known, wrong guides, and how far these are from it.

`z ~ N(0, 1)` of two dimensions, `x ~ N(W z, s^2)` of three. A guide `N(A x + b, C)` is at the
posterior `N(A* x, S)` for other `A`, `b` or `C` no more. With `d = (A - A*) x + b`,

    KL(p || q) + KL(q || p) = 1/2 tr(S C^-1 + C S^-1) - H + 1/2 E_p(x)[d^T (C^-1 + S^-1) d]
"""

from typing import NamedTuple

import numpy as np

VARIANCE = 0.5
H, D = 2, 3


class GaussianPair(NamedTuple):
    """A model's weights, and a guide.

    Args:
        weight: `W`, `(D, H)`.
        slope: `A`, `(H, D)`.
        shift: `b`, `(H,)`.
        root: A triangular root of `C`, `(H, H)`.
    """

    weight: np.ndarray
    slope: np.ndarray
    shift: np.ndarray
    root: np.ndarray

    @property
    def divergence(self) -> float:
        """That of guide and posterior, both ways together, in nats."""
        slope, covariance = posterior(self.weight)
        own = self.root @ self.root.T
        inverses = np.linalg.inv(own), np.linalg.inv(covariance)
        traces = np.trace(covariance @ inverses[0]) + np.trace(own @ inverses[1])
        data = self.weight @ self.weight.T + VARIANCE * np.eye(D)
        wrong = self.slope - slope
        moments = wrong @ data @ wrong.T + np.outer(self.shift, self.shift)
        return 0.5 * traces - H + 0.5 * np.trace(moments @ sum(inverses))


def posterior(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`A*` and `S`."""
    covariance = np.linalg.inv(np.eye(H) + weight.T @ weight / VARIANCE)
    return covariance @ weight.T / VARIANCE, covariance


# Columns at right angles have a posterior of independent latents, others have not.
STRAIGHT = np.array([[1.0, 0.0], [0.5, 0.8], [-0.8, 0.5]])
CROSSED = np.array([[1.0, 0.6], [0.5, 0.8], [0.3, -0.2]])


def _rotated(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _pair(
    weight: np.ndarray,
    *,
    scale: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
    angle: float = 0.0,
    diagonal: bool = False,
) -> GaussianPair:
    slope, covariance = posterior(weight)
    turn = _rotated(angle)
    covariance = turn @ covariance @ turn.T
    if diagonal:
        covariance = np.diag(np.diag(covariance))
    root = scale * np.linalg.cholesky(covariance)
    return GaussianPair(weight, turn @ slope, np.array(shift), root)


SCALES = (1.02, 1.05, 1.1, 1.5, 1 / 1.02, 1 / 1.05, 0.9, 0.5)

# Twenty pairs, all but the first two wrong.
PAIRS = {
    "right, diagonal": _pair(STRAIGHT),
    "right, full": _pair(CROSSED),
    **{f"scale {s:.2f}, diagonal": _pair(STRAIGHT, scale=s) for s in SCALES},
    **{f"scale {s:.2f}, full": _pair(CROSSED, scale=s) for s in SCALES[2:5]},
    "shifted, diagonal": _pair(STRAIGHT, shift=(0.2, 0.0)),
    "shifted, full": _pair(CROSSED, shift=(-0.1, 0.3)),
    "rotated": _pair(CROSSED, angle=0.3),
    "rotated, diagonal": _pair(CROSSED, angle=0.1, diagonal=True),
    "diagonal for full": _pair(CROSSED, diagonal=True),
    "narrow and shifted": _pair(CROSSED, scale=0.8, shift=(0.1, 0.1)),
    "wide and rotated": _pair(CROSSED, scale=1.2, angle=-0.2),
}
