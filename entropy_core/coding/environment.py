"""What floats depend on beside a model: versions and the processor."""

import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path


def core_environment() -> dict[str, str]:
    """The versions of the libraries that a code goes through, and the processor.

    Raises:
        ImportError: If `constriction` is missing.
    """
    packages = ("constriction", "numpy", "scipy")
    return {**{name: version(name) for name in packages}, "processor": _processor()}


@cache
def _processor() -> str:
    # Elsewhere than on Linux the machine's type is all that Python knows in one word.
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
