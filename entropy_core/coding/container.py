"""The file of a code: a header, the chains, and a checksum over everything."""

import json
import os
import platform
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from entropy_core.checks import expected
from entropy_core.coding.rate import Rate
from entropy_core.files import write_whole

MAGIC = b"ELBOcode"
FORMAT_VERSION = 1
CHECKSUM = 16
# After the magic: the version of the format, the length of the header.
_START = struct.Struct("<8sHI")
# Of each chain: how many words of its seed are left out, how many bytes it has.
_CHAIN = struct.Struct("<HI")


@dataclass(frozen=True)
class Header:
    """What must be as it was when the code was written.

    Args:
        environment: The backend, the device, versions, and what else changes floats.
        num_points: The number of data points.
        data_shape: The shape of one.
        dtype: The float type of the data.
        num_chains: The number of chains.
        precision: The bits of the number of a latent's bin.
        seed_words: The words of 32 bits of each chain's seed.
        weights: A hash of the weights.
        outputs: A hash of what the prior, the encoder and the decoder return for fixed inputs.
        data: A hash of the data.
    """

    environment: Mapping[str, str]
    num_points: int
    data_shape: tuple[int, ...]
    dtype: str
    num_chains: int
    precision: int
    seed_words: int
    weights: str
    outputs: str
    data: str


@dataclass(frozen=True)
class CompressedData:
    """A code and its rate.

    Args:
        code: The code, as it stands in a file.
        rate: What it takes, part by part.
    """

    code: bytes
    rate: Rate

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the code; a file is whole, or it is as it was.

        Raises:
            OSError: If the file cannot be written.
        """
        write_whole(path, self.code)

    def __len__(self) -> int:
        """The bytes of the code."""
        return len(self.code)


def pack(header: Header, untouched: list[int], words: list[NDArray[np.uint32]]) -> bytes:
    """The bytes of a code.

    Args:
        header: The header.
        untouched: For each chain how many of the lowest words are left out.
        words: The words of each chain.
    """
    text = zlib.compress(json.dumps(asdict(header), separators=(",", ":")).encode(), 9)
    # The coder's words end with one that is not zero, so that zeros at the end say nothing.
    chains = [
        w[skip:].astype("<u4").tobytes().rstrip(b"\0")
        for w, skip in zip(words, untouched, strict=True)
    ]
    lengths = [_CHAIN.pack(skip, len(chain)) for skip, chain in zip(untouched, chains, strict=True)]
    start = _START.pack(MAGIC, FORMAT_VERSION, len(text))
    body = b"".join([start, text, *lengths, *chains])
    return body + _checksum(body)


def unpack(code: bytes) -> tuple[Header, list[tuple[int, NDArray[np.uint32]]]]:
    """The header, and for each chain how many words of its seed are missing, and the others.

    Raises:
        ValueError: If these are not the bytes of a code, not all of them, changed ones, or those of
            another version of the format.
    """
    if code[: len(MAGIC)] != MAGIC:
        raise ValueError(expected("what `compress` has written", "code", f"{code[:8]!r}..."))
    body, checksum = code[:-CHECKSUM], code[-CHECKSUM:]
    if len(body) < _START.size or _checksum(body) != checksum:
        got = f"{len(code)} bytes with another checksum: cut off or changed"
        raise ValueError(expected("a whole code", "code", got))
    _, written, length = _START.unpack_from(body)
    if written != FORMAT_VERSION:
        raise ValueError(expected(f"version {FORMAT_VERSION} of the format", "code", written))
    at = _START.size + length
    fields = json.loads(zlib.decompress(body[_START.size : at]))
    header = Header(**{**fields, "data_shape": tuple(fields["data_shape"])})
    sizes = [_CHAIN.unpack_from(body, at + i * _CHAIN.size) for i in range(header.num_chains)]
    at += header.num_chains * _CHAIN.size
    chains = []
    for skip, size in sizes:
        chain = body[at : at + size]
        chains.append((skip, np.frombuffer(chain + bytes(-size % 4), "<u4").astype(np.uint32)))
        at += size
    return header, chains


def chain_bytes(code: bytes, num_chains: int) -> int:
    """How many bytes of a code are chains, and not header, lengths or checksum."""
    _, _, length = _START.unpack_from(code)
    return len(code) - _START.size - length - num_chains * _CHAIN.size - CHECKSUM


def read_code(code: "bytes | CompressedData | str | os.PathLike[str]") -> bytes:
    """The bytes of a code, from a file where a path is given.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    if isinstance(code, CompressedData):
        return code.code
    if isinstance(code, bytes | bytearray | memoryview):
        return bytes(code)
    if not Path(code).is_file():
        raise FileNotFoundError(expected("a file that `compress` has written", "code", code))
    return Path(code).read_bytes()


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


def _checksum(body: bytes) -> bytes:
    return blake2b(body, digest_size=CHECKSUM).digest()
