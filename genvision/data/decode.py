"""The decoding guard: one image file, of whatever size and mode, to one uint8 array of the asked geometry."""

from __future__ import annotations

import io
import os
import stat
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from genvision.errors import DataError

EXTENSIONS = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"))
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # nothing that starts another program, as EPS would
MAX_PIXELS = 64_000_000  # Pillow's own limits warn at 89 and refuse at 179 megapixels: half a gigabyte of RGB
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
# What Pillow raises for damaged files of these formats; OSError covers the unidentified and most of the truncated.
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, OverflowError, struct.error)


class UnusableImageError(DataError):
    """Why one file cannot be used; the folder source names the file."""


def decode(source: Path | str | bytes, height: int, width: int, channels: int) -> np.ndarray:
    """(height, width, channels) uint8 from an image file or its bytes; of an animation, the first frame.

    The EXIF orientation is applied, 16-bit samples are scaled to 8, palettes and CMYK converted. One or three channels
    have transparency composited on white; two or four keep it as the last channel. The image is resized (bicubic,
    antialiased) until it covers the asked size, then centre-cropped. Raises UnusableImageError.
    """
    try:
        with Image.open(_readable(source), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnusableImageError(f"{image.width}x{image.height}, more than {MAX_PIXELS // 10**6} megapixels")
            return _fit(_eight_bits(image), height, width, channels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnusableImageError(f"more than {MAX_PIXELS // 10**6} megapixels") from error
    except DAMAGED as error:
        raise UnusableImageError(_reason(error)) from error


def _readable(source: Path | str | bytes) -> Path | str | io.BytesIO:
    """What Pillow may open: opening a pipe would wait for ever."""
    if isinstance(source, bytes):
        size = len(source)
    else:
        status = os.stat(source)
        size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            raise UnusableImageError("not a regular file")
    if size == 0:
        raise UnusableImageError("zero bytes")
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(f"damaged: {error}".split())[:100]


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image upright, in L, LA, RGB or RGBA."""
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    ImageOps.exif_transpose(image, in_place=True)
    if sixteen:
        samples = np.asarray(image).astype(np.int64)
        return Image.fromarray(((samples + 128) // 257).clip(0, 255).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UnusableImageError(
            f"{'32-bit integer' if image.mode == 'I' else 'floating-point'} samples have no fixed range"
        )
    if image.has_transparency_data:
        return image.convert("LA" if image.mode in ("LA", "L", "1") else "RGBA")
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")


def _fit(image: Image.Image, height: int, width: int, channels: int) -> np.ndarray:
    """Composite, resize and crop: `box` makes Pillow resample just the part that survives the centre crop."""
    if channels in (1, 3) and image.mode in ("LA", "RGBA"):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
        image = image.convert("RGB")
    if image.mode != MODES[channels]:
        image = image.convert(MODES[channels])
    if image.size != (width, height):
        scale = max(height / image.height, width / image.width)
        across, down = width / scale, height / scale
        left, top = (image.width - across) / 2, (image.height - down) / 2
        box = (max(left, 0), max(top, 0), min(left + across, image.width), min(top + down, image.height))
        image = image.resize((width, height), Image.Resampling.BICUBIC, box=box)
    return np.asarray(image).reshape(height, width, channels)
