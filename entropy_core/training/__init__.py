"""Training: epochs, their history, what ends them, callbacks, checkpoints, annealing."""

from entropy_core.training.annealing import linear_annealing
from entropy_core.training.callbacks import Callback, Progress
from entropy_core.training.checkpoints import Checkpoints
from entropy_core.training.interrupts import Interrupted, NotFiniteLoss
from entropy_core.training.stopping import EarlyStopping, Look, Stopped, TheoremStop

__all__ = [
    "Callback",
    "Checkpoints",
    "EarlyStopping",
    "Interrupted",
    "Look",
    "NotFiniteLoss",
    "Progress",
    "Stopped",
    "TheoremStop",
    "linear_annealing",
]
