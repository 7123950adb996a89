"""Generated images from a folder of PNG files or an NPZ file, for scoring what was drawn elsewhere."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genvision.data.archive import is_bomb, is_crowded
from genvision.data.decode import MAX_PIXELS
from genvision.errors import DataError

LOSSY_OR_OTHER = {".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
MODES = ("L", "RGB")


def read_images(path: Path) -> Tensor:
    """Images (N,C,H,W) uint8, C = 1 or 3, in the order of their file names.

    path  a folder of PNG files of one size and mode, or an .npz whose array "images" is uint8 (N,C,H,W) or (N,H,W,C)
    Raises DataError (naming the file) for anything else, damaged files, and two images with the same pixels.
    """
    if path.is_dir():
        images, names = _read_folder(path)
    elif path.suffix == ".npz" and path.is_file():
        images = _read_npz(path)
        names = [f"{path.name}[{k}]" for k in range(len(images))]
    else:
        raise DataError(f"{path}: neither a folder of PNG files nor an .npz file; draw images with `genvision sample`")
    _refuse_duplicates(images, names)
    return images


def require_count(found: int, asked: int) -> None:
    """Raise DataError unless exactly as many images were found as the score was asked for."""
    if found != asked:
        raise DataError(f"found {found} images where {asked} were asked for; draw as many or pass --num-images {found}")


def _read_folder(folder: Path) -> tuple[Tensor, list[str]]:
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for path in files:
        if path.suffix.lower() in LOSSY_OR_OTHER:
            raise DataError(f"{path}: scores need lossless images and {path.suffix} changes pixels; save them as PNG")
    files = [path for path in files if path.suffix.lower() == ".png"]
    if not files:
        raise DataError(f"{folder}: no PNG files directly in this folder; draw images with `genvision sample`")
    first = _read_png(files[0])
    images = torch.empty(len(files), *first.shape, dtype=torch.uint8)
    for k, path in enumerate(files):
        image = _read_png(path)
        if image.shape != first.shape:
            here, there = ("x".join(map(str, x.shape)) for x in (image, first))
            raise DataError(f"{path}: {here} (channels, height, width) where {files[0].name} is {there}; move it away")
        images[k] = image
    return images, [path.name for path in files]


def _read_png(path: Path) -> Tensor:
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.width * image.height > MAX_PIXELS:  # read in the header, before anything is decoded
                size = f"{image.width}x{image.height}"
                raise DataError(f"{path}: {size} pixels are more than {MAX_PIXELS:,}; make it smaller")
            if image.mode not in MODES:
                raise DataError(f"{path}: mode {image.mode}; save 8-bit gray (L) or RGB without alpha or palette")
            pixels = np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow's names for damage
        raise DataError(f"{path}: not a readable PNG ({error}); draw it again") from error
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)


def _read_npz(path: Path) -> Tensor:
    try:
        if is_crowded(path):
            raise DataError(f"{path}: lists thousands of arrays; not a set of images")
        with zipfile.ZipFile(path) as members, np.load(path, allow_pickle=False) as archive:
            if any(map(is_bomb, members.infolist())):
                raise DataError(f"{path}: claims a size a hundred times its own; not a set of images")
            if "images" not in archive:
                raise DataError(f'{path}: no array "images" (it has {", ".join(archive) or "none"}); name it so')
            array = archive["images"]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable .npz of plain arrays ({error}); write it again") from error
    shape = "x".join(map(str, array.shape))
    if array.dtype != np.uint8 or array.ndim != 4 or array.size == 0:
        raise DataError(f'{path}: "images" is {shape} {array.dtype}; it must be uint8 (N,C,H,W) or (N,H,W,C), N >= 1')
    if array.shape[1] not in (1, 3):
        if array.shape[3] not in (1, 3):
            raise DataError(f'{path}: "images" is {shape}; one or three channels are needed, second or last')
        array = array.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(array))


def _refuse_duplicates(images: Tensor, names: list[str]) -> None:
    seen: dict[bytes, str] = {}
    for image, name in zip(images.numpy(), names, strict=True):
        key = hashlib.sha256(image.tobytes()).digest()
        if key in seen:
            raise DataError(f"{name} and {seen[key]} have the same pixels; copies cannot be scored, draw again")
        seen[key] = name
