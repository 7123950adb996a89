"""The named sets: a literal table, where each is looked for, and how it is read."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from genvision.config.schema import DataConfig
from genvision.data.idx import read_idx
from genvision.errors import DataError
from genvision.spec import ImageSpec

GARMENTS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
DIGITS = tuple("0123456789")
BUNDLED = Path(__file__).parent / "bundled"
CACHE = Path("~/.cache/genvision")


@dataclass(frozen=True)
class NamedSet:
    """One row of the table.

    layout       how the files are stored: bundled with the package, IDX files, or torchvision's CIFAR batches
    torchvision  the class in torchvision.datasets that downloads it; "": nothing to download
    folder       below a root, where torchvision leaves the files
    installed    a folder of IDX files that a Debian package makes, and that package's name
    class_names  () where the set brings its own
    """

    spec: ImageSpec
    counts: dict[str, int]
    layout: Literal["bundled", "idx", "cifar"]
    class_names: tuple[str, ...] = ()
    torchvision: str = ""
    folder: str = ""
    installed: tuple[str, str] | None = None


GRAY28, COLOUR32 = ImageSpec(1, 28, 28, 10), ImageSpec(3, 32, 32, 10)
DEBIAN = ("/usr/share/datasets/fashion-mnist", "dataset-fashion-mnist")
LARGE, MINI, CIFAR = {"train": 60000, "test": 10000}, {"train": 10000, "test": 2000}, {"train": 50000, "test": 10000}
NAMED = {
    "fashion_mnist_mini": NamedSet(GRAY28, MINI, "bundled", GARMENTS),
    "fashion_mnist": NamedSet(GRAY28, LARGE, "idx", GARMENTS, "FashionMNIST", "FashionMNIST/raw", DEBIAN),
    "mnist": NamedSet(GRAY28, LARGE, "idx", DIGITS, "MNIST", "MNIST/raw"),
    "cifar10": NamedSet(COLOUR32, CIFAR, "cifar", (), "CIFAR10", "cifar-10-batches-py"),
    "cifar100": NamedSet(COLOUR32._replace(classes=100), CIFAR, "cifar", (), "CIFAR100", "cifar-100-python"),
}


IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def download_root(root: str | None) -> Path:
    """Where torchvision's sets are looked for first and downloaded to: data.root, $GENVISION_DATA or the cache."""
    return Path(root or os.environ.get("GENVISION_DATA") or CACHE).expanduser()


def places(name: str, root: str | None) -> list[Path]:
    """Folders in which the files of a set may lie, in the order they are tried."""
    entry = NAMED[name]
    if entry.layout == "bundled":
        return [BUNDLED / name]
    tried = [download_root(root) / entry.folder]
    if entry.installed:
        tried.append(Path(entry.installed[0]))
    if root is None:
        tried.append(CACHE.expanduser() / entry.folder)
    return list(dict.fromkeys(tried))


def find(name: str, root: str | None) -> Path | None:
    """The first of `places` that holds the set, or None. Looks for files and reads none."""
    layout = NAMED[name].layout
    for place in places(name, root):
        if layout == "idx":
            if all(_idx_file(place, stem).exists() for stems in IDX_FILES.values() for stem in stems):
                return place
        elif any((place / marker).exists() for marker in ("SHA256SUMS", "batches.meta", "meta")):
            return place
    return None


def how_to_get(name: str) -> str:
    """What a user does to have the set."""
    entry = NAMED[name]
    if entry.layout == "bundled":
        return "it comes with genvision: install the package again"
    debian = f"apt install {entry.installed[1]}, or " if entry.installed else ""
    return f"{debian}data.download=true, or put torchvision's files below data.root"


class Row(NamedTuple):
    """One line of `genvision data list`: `where` is None for a set that is not here, `get` says how to have it."""

    name: str
    where: Path | None
    spec: ImageSpec
    splits: dict[str, int]
    get: str


def available() -> list[Row]:
    """Every named set, found or not."""
    return [Row(name, find(name, None), entry.spec, entry.counts, how_to_get(name)) for name, entry in NAMED.items()]


def read_named(config: DataConfig, split: Literal["train", "test"]) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """(N,C,H,W) uint8, (N,) int64 and the class names of a split, as the files hold them; downloads if asked.

    Raises DataError where the set is missing, damaged or of the wrong size.
    """
    name, entry = config.name, NAMED[config.name]
    place = find(name, config.root)
    if place is None and config.download and entry.torchvision:
        place = _download(name, config.root)
    if place is None:
        tried = ", ".join(str(place) for place in places(name, config.root))
        raise DataError(f"data.name={name}: not found in {tried}; {how_to_get(name)}")
    if entry.layout == "cifar":
        images, labels, names = _read_cifar(entry, place, split)
    elif entry.layout == "idx":
        images, labels = (read_idx(_idx_file(place, stem), n) for stem, n in zip(IDX_FILES[split], (3, 1), strict=True))
        names = entry.class_names
    else:
        images, labels, names = *_read_bundled(place, split), entry.class_names
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)  # gray, or channels last
    if images.shape != (entry.counts[split], *entry.spec.shape) or len(labels) != len(images):
        raise DataError(f"{place}: {images.shape} {split} images and {len(labels)} labels are not {name}; get it again")
    return torch.tensor(images), torch.tensor(labels, dtype=torch.int64), tuple(names)


def _idx_file(place: Path, stem: str) -> Path:
    plain = place / stem
    return plain if plain.exists() else place / f"{stem}.gz"


def _read_bundled(place: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    lines = (place / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in map(str.split, lines)}
    pixels, targets = place / f"{split}-images.png", place / f"{split}-labels-idx1-ubyte.gz"
    for file in (pixels, targets):
        if not file.exists() or hashlib.sha256(file.read_bytes()).hexdigest() != sums.get(file.name):
            raise DataError(f"{file}: missing, or not what SHA256SUMS says; install genvision again")
    return np.asarray(Image.open(pixels)).reshape(-1, 28, 28), read_idx(targets, 1)


def _torchvision(entry: NamedSet, root: Path, split: str, *, download: bool) -> Any:
    from torchvision import datasets  # only here: the import costs a second that no other set needs

    try:
        return getattr(datasets, entry.torchvision)(str(root), train=split == "train", download=download)
    except (RuntimeError, OSError) as error:
        raise DataError(f"{root / entry.folder}: {str(error).splitlines()[0]}; {_remedy(download)}") from error


def _remedy(download: bool) -> str:
    return "check the network and the disk" if download else "remove that folder and get the set again"


def _download(name: str, root: str | None) -> Path | None:
    _torchvision(NAMED[name], download_root(root), "train", download=True)
    return find(name, root)


def _read_cifar(entry: NamedSet, place: Path, split: str) -> tuple[np.ndarray, list[int], list[str]]:
    # torchvision unpickles these files, but only after each has matched the MD5 that it has pinned.
    found = _torchvision(entry, place.parent, split, download=False)
    return found.data, found.targets, found.classes
