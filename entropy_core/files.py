"""Files that are never half written."""

import os
from pathlib import Path
from secrets import token_hex

from entropy_core.checks import expected


def write_whole(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Writes a file that takes the place of an old one only once it is whole.

    A link goes on to point to the same place, an old file's mode is kept, and several writers do
    not see each other's files.

    Raises:
        IsADirectoryError: If there is a folder of this name.
        OSError: If the file cannot be written, as on a full disk; then an old one is as it was, and
            nothing is left over.

    Example:
        >>> write_whole(getfixture("tmp_path") / "note.txt", b"whole")
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(expected("the name of a file", "path", f"the folder {path}"))
    temporary = target.with_name(f".{target.name}.{token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o7777)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
