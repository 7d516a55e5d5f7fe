"""Training: epochs, their history, annealing."""

from entropy_core.training.annealing import linear_annealing

__all__ = ["linear_annealing"]
