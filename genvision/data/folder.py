"""A user's own images: which files of a folder are which split and class, and decoding them into one tensor."""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genvision.config.schema import DataConfig
from genvision.data.decode import EXTENSIONS, UnusableImageError, decode
from genvision.errors import DataError
from genvision.machine import available_cores

TEST_FRACTION = 0.1  # of a folder without train/ and test/
# what systems put among one's files, beside names that start with a dot
SYSTEM = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "Thumbs.db", "desktop.ini"}
NAMED_FAULTS = 10  # files a message names
log = logging.getLogger(__name__)


class Decoded(NamedTuple):
    """images (N,C,height,width) uint8, labels (N,) int64 or None, the N files, and those left out, with the reason."""

    images: Tensor
    labels: Tensor | None
    files: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """Files below one folder, sorted, as paths relative to it; `skipped` are visible files that are not images."""

    base: Path
    images: tuple[str, ...]
    skipped: tuple[str, ...]


def list_files(config: DataConfig, split: Literal["train", "test", "all"]) -> Found:
    """The files of a split. With train/ below the path the splits are folders; else a hash of each path decides.

    Raises DataError where the folder, the split or any image is missing.
    """
    base = _folder(config)
    if split == "all":
        found = _walk(base)
    elif split == "test" and (base / "test").is_dir():
        found = _walk(_split_folder(base, "test"))
    else:
        found = _walk(_split_folder(base, "train"))
        empty = set(class_names(config)) - {path.partition(os.sep)[0] for path in found.images}
        if empty:
            raise DataError(f"folder:{shown(found.base)}: {shown(min(empty))}/ holds no images; remove or fill it")
        if not (base / "train").is_dir() or not (base / "test").is_dir():
            kept = tuple(path for path in found.images if _is_test(path) == (split == "test"))
            if found.images and not kept:
                raise DataError(
                    f"folder:{shown(found.base)}: too few images: none of {len(found.images)} falls into the {split} "
                    "split, a tenth being test; add images, or divide them into train/ and test/"
                )
            found = Found(found.base, kept, found.skipped)
    if not found.images:
        raise DataError(f"folder:{shown(found.base)}: no images for the {split} split; expected {_wanted()} files")
    return found


def class_names(config: DataConfig) -> tuple[str, ...]:
    """The visible subfolders below the path (below train/ where there is one), sorted; () without labels."""
    if not config.labels:
        return ()
    base = _split_folder(_folder(config), "train")
    return tuple(sorted(entry.name for entry in _entries(base) if entry.is_dir()))


def read_folder(
    found: Found, names: tuple[str, ...], height: int, width: int, channels: int, max_bad_fraction: float = 0.0
) -> Decoded:
    """Decode files to one geometry; labels where there are class names.

    max_bad_fraction  share of the files that may be unusable; these are left out, with a warning
    Says how many files are no images. Raises DataError naming the files that cannot be used, where they are more.
    """
    labels = None if not names else torch.tensor([_label(found, path, names) for path in found.images])
    if found.skipped:
        few = ", ".join(map(shown, found.skipped[:3]))
        log.warning("folder:%s: skipped %d files that are no images: %s", shown(found.base), len(found.skipped), few)
    pixels = np.empty((len(found.images), height, width, channels), np.uint8)

    def read(k: int) -> str | None:
        try:
            pixels[k] = decode(os.path.join(found.base, found.images[k]), height, width, channels)
        except UnusableImageError as error:
            return f"{shown(found.images[k])} ({error})"
        return None

    with warnings.catch_warnings(), ThreadPoolExecutor(available_cores()) as pool:
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # an error that is named, not a line on stderr
        faults = list(pool.map(read, range(len(pixels))))
    left_out = tuple(fault for fault in faults if fault)
    kept = [k for k, fault in enumerate(faults) if not fault]
    if left_out:
        _judge(found, left_out, max_bad_fraction)
        pixels, labels = pixels[kept], None if labels is None else labels[kept]
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    return Decoded(images, labels, tuple(shown(found.images[k]) for k in kept), left_out)


def _judge(found: Found, faults: tuple[str, ...], max_bad_fraction: float) -> None:
    """Warn of unusable files; raise DataError where they are more than may be left out."""
    more = ", ..." if len(faults) > NAMED_FAULTS else ""
    many = f"folder:{shown(found.base)}: {len(faults)} of {len(found.images)} files cannot be used"
    told = f"{many}: {', '.join(faults[:NAMED_FAULTS])}{more}"
    if len(faults) > max_bad_fraction * len(found.images):
        allowed = f"; data.max_bad_fraction={max_bad_fraction} leaves out no more" if max_bad_fraction else ""
        raise DataError(f"{told}; repair or remove them{allowed}")
    log.warning("%s; left out", told)


def shown(path: Path | str) -> str:
    """A path fit for a message: one line, whatever bytes its name is made of."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _folder(config: DataConfig) -> Path:
    assert config.path, "ranges.py requires it of a folder"
    base = Path(config.path).expanduser()
    if not base.is_dir():
        raise DataError(f"folder:{shown(base)}: no such folder; check data.path")
    return base


def _split_folder(base: Path, split: str) -> Path:
    if (base / split).is_dir():
        return base / split
    if (base / "test").is_dir():
        raise DataError(f"folder:{shown(base)}: has test/ but no train/; add it, or rename test/ if it is a class")
    return base


def _entries(folder: Path) -> list[os.DirEntry]:
    """What is visible in a folder, in the order of the names' bytes."""
    try:
        with os.scandir(folder) as entries:
            seen = (entry for entry in entries if not entry.name.startswith(".") and entry.name not in SYSTEM)
            return sorted(seen, key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        raise DataError(f"folder:{shown(folder)}: cannot be listed ({error.strerror})") from error


def _walk(base: Path) -> Found:
    paths = [os.path.relpath(path, base) for path in _files(base, frozenset())]
    is_image = [os.path.splitext(path)[1].lower() in EXTENSIONS for path in paths]
    images = tuple(path for path, kept in zip(paths, is_image, strict=True) if kept)
    return Found(base, images, tuple(path for path, kept in zip(paths, is_image, strict=True) if not kept))


def _files(folder: Path, above: frozenset[str]) -> Iterator[str]:
    """Every visible file below a folder; links to folders are followed, a circle of them is refused."""
    real = os.path.realpath(folder)
    if real in above:
        raise DataError(f"folder:{shown(folder)}: is a link to a folder above it; remove it")
    for entry in _entries(folder):
        if entry.is_dir():
            yield from _files(Path(entry.path), above | {real})
        else:
            yield entry.path


def _is_test(path: str) -> bool:
    """Whether a file's relative path, and nothing else, puts it in the test split."""
    digest = hashlib.sha256(os.fsencode(path)).digest()
    return int.from_bytes(digest[:8], "big") < TEST_FRACTION * 2**64


def _label(found: Found, path: str, names: tuple[str, ...]) -> int:
    folder, separator, _ = path.partition(os.sep)
    if not separator:
        raise DataError(
            f"folder:{shown(found.base)}: {shown(path)} lies beside class folders; move it, or set data.labels=false"
        )
    if folder not in names:
        raise DataError(f"folder:{shown(found.base)}: {shown(folder)}/ is not one of the {len(names)} training classes")
    return names.index(folder)


def _wanted() -> str:
    return " ".join(sorted(EXTENSIONS))
