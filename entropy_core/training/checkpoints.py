"""Files to go on from: which ones there are, when they are written, how many are kept."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entropy_core.checks import check_positive_int, expected
from entropy_core.files import write_whole

FORMAT, VERSION = "elbo-entropy training", 1
SUFFIX = ".checkpoint"
_NAME = re.compile(r"step-(\d{12})" + re.escape(SUFFIX))


@dataclass(frozen=True)
class Checkpoints:
    """A folder of files that a training goes on from after it was stopped, at any moment.

    A file holds weights, the optimiser's state, the random state, the place in the order of the
    data, losses and history: on a CPU the numbers after a restart are those of a training that was
    never stopped, bit for bit. Files are written whole or not at all, and reading them runs no
    code. A file of another training, or a damaged one, is refused before anything has changed.

    Args:
        folder: The folder, which is made where it is missing; one for each training.
        every: The number of epochs between files.
        every_steps: The number of steps between files within epochs too; `None` for none.
        keep: How many of the newest files are kept.
        resume: Whether to go on from the newest file, if there is one. Otherwise a folder with
            files is refused.

    Raises:
        ValueError: If a number is no positive integer.

    Example:
        >>> from entropy_core.training import Checkpoints
        >>> Checkpoints("run", every_steps=1000, resume=True).keep
        3
    """

    folder: str | os.PathLike[str]
    every: int = 1
    every_steps: int | None = None
    keep: int = 3
    resume: bool = False

    def __post_init__(self) -> None:
        """Checks the numbers."""
        check_positive_int(self.every, "every")
        check_positive_int(self.keep, "keep")
        if self.every_steps is not None:
            check_positive_int(self.every_steps, "every_steps")

    def start(self) -> bytes | None:
        """Makes the folder; the content of the newest file where the training goes on from one.

        Raises:
            ValueError: If there are files, and the training is not to go on from them.
        """
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        # What a writer that was killed has left of a file.
        for path in folder.glob(f".step-*{SUFFIX}.*.tmp"):
            path.unlink(missing_ok=True)
        files = self.files()
        if files and not self.resume:
            what = "a folder without checkpoints, or resume=True"
            raise ValueError(expected(what, "checkpoints", f"{folder} with {files[-1].name}"))
        return files[-1].read_bytes() if files else None

    def files(self) -> list[Path]:
        """The files, the newest last."""
        found = sorted(Path(self.folder).glob(f"step-*{SUFFIX}"))
        return [path for path in found if _NAME.fullmatch(path.name)]

    def due_at_step(self, step: int) -> bool:
        """Whether a file is due after so many steps."""
        return self.every_steps is not None and step % self.every_steps == 0

    def due_at_epoch(self, epoch: int, num_epochs: int) -> bool:
        """Whether a file is due after so many epochs."""
        return epoch % self.every == 0 or epoch == num_epochs

    def write(self, step: int, content: bytes) -> None:
        """Writes a file, and takes away the oldest ones.

        Raises:
            OSError: If it cannot be written; then all others are as they were.
        """
        write_whole(Path(self.folder) / f"step-{step:012d}{SUFFIX}", content)
        for path in self.files()[: -self.keep]:
            path.unlink(missing_ok=True)


def checkpoints_of(given: Any) -> Checkpoints | None:
    """The checkpoints that a user has asked for: a folder stands for the defaults.

    Raises:
        TypeError: If it is neither a folder nor `Checkpoints`.
    """
    if given is None or isinstance(given, Checkpoints):
        return given
    if not isinstance(given, str | os.PathLike):
        raise TypeError(expected("a folder or Checkpoints", "checkpoints", type(given).__name__))
    return Checkpoints(given)


def refused(why: str) -> ValueError:
    """The error for a file that holds no checkpoint of this training."""
    return ValueError(expected("a checkpoint of this training", "checkpoints", why))


def check_same(wanted: dict[str, Any], found: dict[str, Any]) -> None:
    """Refuses what another training has written.

    Args:
        wanted: What this one says of itself.
        found: What the file says.

    Raises:
        ValueError: If they differ; the first difference is named.
    """
    for name, value in wanted.items():
        if name not in found or found[name] != value:
            raise refused(f"one with {name} {found.get(name)!r} for {value!r}")


def reading(read: Callable[[], Any]) -> Any:
    """What a function reads from a file; any failure is that of a damaged or foreign file.

    Raises:
        ValueError: If it fails.
    """
    try:
        return read()
    # What a damaged file raises depends on where it is damaged.
    except Exception as error:
        raise refused("a damaged file, or one of another kind") from error
