"""Writing images: a folder of lossless PNGs, one NPZ, or a grid to look at."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.io import encode_png
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from genvision.errors import DataError, StorageError


def write_images(images: Tensor, out: Path, *, labels: Tensor | None = None) -> None:
    """images (N,C,H,W) uint8 -> `out` as an NPZ (keys images, labels) if it ends in .npz, else a folder of PNGs.

    The PNGs are 000000.png .. in order. Everything appears at once or not at all. Raises DataError where `out` exists
    already (samples of two sources never mix) and StorageError where it cannot be written.
    """
    refuse_existing(out)
    temporary = out.with_name(f".{out.name}.tmp-{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".npz":
            _write_npz(images, temporary, labels)
        else:
            _write_folder(images, temporary)
            if out.exists():
                out.rmdir()
        os.replace(temporary, out)
    except OSError as error:
        raise StorageError(storage_message(error, out)) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def refuse_existing(out: Path) -> None:
    """DataError where `out` is there already and not an empty folder."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out} exists already; samples are never mixed: name another --out or remove it")


def _write_npz(images: Tensor, path: Path, labels: Tensor | None) -> None:
    arrays = {"images": images.numpy()} | ({} if labels is None else {"labels": labels.numpy()})
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _write_folder(images: Tensor, folder: Path) -> None:
    folder.mkdir()
    for k, image in enumerate(images):
        if image.shape[0] in (1, 3):
            (folder / f"{k:06d}.png").write_bytes(encode_png(image).numpy().tobytes())
        else:  # gray with alpha, or RGB with alpha
            to_pil_image(image).save(folder / f"{k:06d}.png")


def write_grid(images: Tensor, path: Path, *, columns: int = 8, scale: int = 2) -> Path:
    """images (N,C,H,W) uint8 -> one PNG with `columns` images a row, each pixel `scale` times enlarged."""
    shown = images[:, :3] if images.shape[1] >= 3 else images[:, :1]
    shown = shown.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    grid = make_grid(shown, nrow=columns, padding=2, pad_value=255)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(encode_png(grid.to(torch.uint8)).numpy().tobytes())
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(storage_message(error, path)) from error
    return path


def grid_columns(classes: int) -> int:
    """Columns of a sample grid: one per class where that is readable, so that a column is a class; else 8."""
    return classes if 2 <= classes <= 16 else 8


def storage_message(error: OSError, path: Path) -> str:
    """One line for a failed write: what, where, what to do."""
    if error.errno == errno.ENOSPC:
        return f"no space left on the disk of {path}; free some and run the command again"
    return f"cannot write {path}: {error.strerror or error}; check the path and its permissions"
