"""Writing images: a folder of lossless PNGs, one NPZ, or a grid to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from genvision.errors import DataError
from genvision.faults import point
from genvision.storage import replacing


def write_images(images: Tensor, out: Path, **arrays: Tensor | None) -> None:
    """images (N,C,H,W) uint8 -> `out` as an NPZ if it ends in .npz, else a folder of PNGs.

    An NPZ has the key `images`, and those of `arrays` (labels, log_likelihood_nats) that are not None; PNGs are named
    000000.png .. in order. Everything appears at once or not at all. Raises DataError where `out` exists
    already (samples of two sources never mix) and StorageError where it cannot be written.
    """
    refuse_existing(out)
    with replacing(out) as temporary:
        if out.suffix == ".npz":
            _write_npz(temporary, images=images, **arrays)
        else:
            _write_folder(images, temporary)


def refuse_existing(out: Path) -> None:
    """DataError where `out` is there already and not an empty folder."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out} exists already; samples are never mixed: name another --out or remove it")


def _write_npz(path: Path, **arrays: Tensor | None) -> None:
    given: dict[str, Any] = {name: array.numpy() for name, array in arrays.items() if array is not None}
    with path.open("wb") as file:
        np.savez_compressed(file, **given)


def _write_folder(images: Tensor, folder: Path) -> None:
    folder.mkdir()
    for k, image in enumerate(images):
        to_pil_image(image).save(folder / f"{k:06d}.png")  # L, LA, RGB or RGBA
        point("image written")


def write_grid(images: Tensor, path: Path, *, columns: int = 8, scale: int = 2) -> Path:
    """images (N,C,H,W) uint8 -> one PNG with `columns` images a row, each pixel `scale` times enlarged."""
    shown = images[:, :3] if images.shape[1] >= 3 else images[:, :1]
    shown = shown.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    grid = make_grid(shown, nrow=columns, padding=2, pad_value=255)
    with replacing(path) as temporary:
        to_pil_image(grid).save(temporary, "PNG")
    return path


def grid_columns(classes: int) -> int:
    """Columns of a sample grid: one per class where that is readable, so that a column is a class; else 8."""
    return classes if 2 <= classes <= 16 else 8
