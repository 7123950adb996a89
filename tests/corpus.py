"""Twenty-four odd images, and what becomes of each in a folder that is read as RGB of SIDE x SIDE pixels."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

SIDE = 8
RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
GRAY = RNG.integers(0, 256, (SIDE, SIDE), np.uint8)
WIDE = RNG.integers(0, 65536, (SIDE, SIDE, 3), np.uint16)
CLEAR = np.tile(np.array([0, 255, 128, 64], np.uint8).repeat(2), (SIDE, 1))  # alpha, in columns
RED, BLUE, WHITE = (np.full((SIDE, SIDE, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255), 255))


class Odd(NamedTuple):
    """What writes the file; its pixels (SIDE,SIDE,3) to within `error` levels, or else a pattern of its refusal."""

    write: Callable[[Path], object]
    pixels: np.ndarray | None = None
    error: float = 0.0
    refused: str = ""


def png(path: Path, array: np.ndarray, **options) -> Path:
    Image.fromarray(array).save(path, "PNG", **options)
    return path


def sixteen_bit_rgb(path: Path, array: np.ndarray) -> None:
    """(H,W,3) uint16 as PNG, which Pillow reads but does not write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def truncated(image_format: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        buffer = io.BytesIO()
        Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)).save(buffer, image_format)
        path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])

    return write


def header_only(side: int) -> Callable[[Path], None]:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") * 2)


def moving(path: Path) -> None:
    frames = [Image.fromarray(colour) for colour in (RED, BLUE)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter clockwise
    png(path, np.ascontiguousarray(np.rot90(NOISE, 1)), exif=exif)


def palette(path: Path) -> None:
    image = Image.fromarray(np.indices((SIDE, SIDE)).sum(0).astype(np.uint8) % 2)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.save(path, transparency=0)


def link_out(path: Path) -> None:
    outside = path.parent.with_name(path.parent.name + "-outside")
    outside.mkdir(exist_ok=True)
    path.symlink_to(png(outside / "elsewhere.png", NOISE))


def folder(path: Path) -> None:
    path.mkdir()
    png(path / "inside.png", NOISE)


def unreadable(path: Path) -> None:
    png(path, NOISE)
    path.chmod(0)


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return colours * share + 255 * (1 - share)


def gray(array: np.ndarray) -> np.ndarray:
    return np.repeat(array[..., None], 3, 2)


CHECKS = np.where((np.indices((SIDE, SIDE)).sum(0) % 2)[..., None] == 0, WHITE, BLUE)  # the palette's red is clear
ODD: dict[str | bytes, Odd] = {
    "empty.png": Odd(Path.touch, refused="zero bytes"),
    "text.png": Odd(lambda p: p.write_text("not pixels"), refused="not an image"),
    "short.jpg": Odd(truncated("JPEG"), refused="truncated"),
    "short.png": Odd(truncated("PNG"), refused="damaged|truncated"),
    "gray16.png": Odd(lambda p: Image.fromarray(WIDE[..., 0]).save(p), gray(WIDE[..., 0] / 257), 0.5),
    "rgb16.png": Odd(lambda p: sixteen_bit_rgb(p, WIDE), WIDE / 257, 1),
    "cmyk.jpg": Odd(lambda p: Image.new("CMYK", (SIDE, SIDE), (0, 255, 255, 0)).save(p), RED, 3),
    "la.png": Odd(lambda p: Image.fromarray(np.dstack([GRAY, CLEAR]), "LA").save(p), on_white(gray(GRAY), CLEAR), 1),
    "rgba.png": Odd(lambda p: png(p, np.dstack([NOISE, CLEAR])), on_white(NOISE, CLEAR), 1),
    "palette.png": Odd(palette, CHECKS),
    "moving.gif": Odd(moving, RED),
    "moving.png": Odd(moving, RED),
    "moving.webp": Odd(moving, RED, 2),
    "turned.png": Odd(turned, NOISE),
    "point.png": Odd(lambda p: png(p, np.full((1, 1), 77, np.uint8)), np.full((SIDE, SIDE, 3), 77)),
    "thread.png": Odd(lambda p: png(p, np.full((20000, 1), 77, np.uint8)), np.full((SIDE, SIDE, 3), 77)),
    "wrong.jpg": Odd(lambda p: png(p, NOISE), NOISE),
    "link.png": Odd(link_out, NOISE),
    "folder.png": Odd(folder, NOISE),
    b"\xff\xfe.png": Odd(lambda p: png(p, NOISE), NOISE),
    "pipe.png": Odd(os.mkfifo, refused="not a regular file"),
    "closed.png": Odd(unreadable, refused="permission denied"),
    "huge.png": Odd(header_only(9000), refused="9000x9000, more than 64 megapixels"),
    "lost.png": Odd(lambda p: p.symlink_to("nowhere"), refused="no such file"),
}


def write_corpus(root: Path) -> None:
    """Every odd file below `root`; one that a link points to lies in a folder beside it."""
    root.mkdir(parents=True)
    for name, odd in ODD.items():
        odd.write(root / os.fsdecode(name))
