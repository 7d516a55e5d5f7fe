"""General compressors, to compare a code with: of all data as one file, and of images."""

import bz2
import gzip
import io
import lzma
from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray

# So many images below each other are one picture: WebP has no higher ones than 16,383 rows.
MOST_ROWS = 16_000


def general_compressors(
    data: Shaped[np.ndarray, "N D"], image_shape: tuple[int, int] | None = None
) -> dict[str, float]:
    """Bits per variable that general compressors take.

    Data are bytes, or bits where there are no other values than 0 and 1: then each compressor is
    given eight variables in a byte as well as one, and its shorter file counts.

    Args:
        data: Whole numbers from 0 to 255, such as the levels of images.
        image_shape: Height and width where a data point is an image. With Pillow, there are PNG
            files of single images and of many below each other, and lossless WebP of many.

    Example:
        >>> sizes = general_compressors(np.zeros((100, 64), np.uint8))
        >>> list(sizes), sizes["gzip"] < 0.1
        (['gzip', 'bz2', 'xz'], True)
    """
    levels = data.astype(np.uint8)
    is_binary = bool(levels.max() <= 1)
    raw = [levels.tobytes()]
    if is_binary:
        raw.append(np.packbits(levels).tobytes())
    sizes = {
        "gzip": min(len(gzip.compress(r, 9)) for r in raw),
        "bz2": min(len(bz2.compress(r, 9)) for r in raw),
        "xz": min(len(lzma.compress(r, preset=9 | lzma.PRESET_EXTREME)) for r in raw),
    }
    if image_shape:
        sizes |= _images(levels.reshape(-1, *image_shape), is_binary)
    return {name: 8 * size / data.size for name, size in sizes.items()}


def _images(pictures: NDArray[np.uint8], is_binary: bool) -> dict[str, int]:
    try:
        from PIL import Image, features
    except ImportError:
        return {}

    def size(picture: NDArray[np.uint8], form: str, **options: Any) -> int:
        file = io.BytesIO()
        image = Image.fromarray(picture * 255 if is_binary else picture)
        # WebP has no images of single bits.
        image = image.convert("1") if is_binary and form == "PNG" else image
        image.save(file, form, **options)
        return len(file.getvalue())

    per_sheet = max(MOST_ROWS // pictures.shape[1], 1)
    sheets = [
        pictures[i : i + per_sheet].reshape(-1, pictures.shape[2])
        for i in range(0, len(pictures), per_sheet)
    ]
    sizes = {
        "PNG, one each": sum(size(picture, "PNG", optimize=True) for picture in pictures),
        "PNG, sheets": sum(size(sheet, "PNG", optimize=True) for sheet in sheets),
    }
    if features.check("webp"):
        webp = {"lossless": True, "quality": 100, "method": 6}
        sizes["WebP, sheets"] = sum(size(sheet, "WEBP", **webp) for sheet in sheets)
    return sizes
