"""What `genvision data list|show|check` say: which sets are here, what they look like, whether they are sound."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

from PIL import Image
from torchvision.utils import make_grid

from genvision.config.schema import DataConfig
from genvision.data.image_set import ImageSet
from genvision.data.load import Split, load
from genvision.data.named import available
from genvision.storage import replacing

GRID = 8  # images per side


def list_text() -> str:
    """A table of the named sets: where each was found, or how to get it."""
    lines = []
    for row in available():
        splits = " + ".join(f"{count:,} {split}" for split, count in row.splits.items())
        channels, height, width = row.spec.shape
        size = f"{channels}x{height}x{width}"
        state = f"found in {row.where}" if row.where else f"not here: {row.get}"
        lines.append(f"{row.name:<20}{size:<9}{row.spec.classes:>4} classes  {splits:<27}{state}")
    lines.append("folder              your own images: data=folder:PATH data.height=H data.width=W")
    lines.append("stream              more than memory holds: data=stream:SOURCE data.classes=N (docs/DATA.md)")
    return "\n".join(lines)


def class_counts(image_set: ImageSet) -> dict[str, int]:
    """Images of each class by name; empty where there are no labels."""
    if image_set.labels is None:
        return {}
    counts = image_set.labels.bincount(minlength=len(image_set.class_names)).tolist()
    return dict(zip(image_set.class_names, counts, strict=True))


def show(config: DataConfig, split: Split, out_png: str | os.PathLike) -> Path:
    """Write a grid of 8x8 images, evenly spread over the split, as PNG; returns its path. Raises StorageError."""
    image_set = load(config, split)
    count = min(GRID * GRID, len(image_set))
    spread = [k * len(image_set) // count for k in range(count)]
    grid = make_grid(image_set.images[spread], nrow=GRID, padding=2, pad_value=255)
    out = Path(out_png)
    with replacing(out) as temporary:
        Image.fromarray(grid.permute(1, 2, 0).numpy()).save(temporary, "PNG")
    return out


def check(config: DataConfig) -> str:
    """Decode the training (held-out images included) and the test split and say what they hold, in several lines.

    Names the files that data.max_bad_fraction leaves out. Raises DataError naming what cannot be decoded beyond that.
    """
    splits = {split: load(replace(config, validation_fraction=0.0), split) for split in ("train", "test")}
    lines = []
    for split, found in splits.items():
        lines.append(f"{found.name}:{split}  {len(found):,} images {'x'.join(map(str, found.spec.shape))}")
        lines.append(f"  fingerprint {found.fingerprint}")
        lines += [f"  left out: {fault}" for fault in found.left_out]
        lines += [f"  {count:>8,} {name}" for name, count in class_counts(found).items()]
    train, test = (Counter(_digests(found)) for found in splits.values())
    shared = sum(count for digest, count in test.items() if digest in train)
    lines.append(f"test images whose pixels are also a training image's: {shared:,}")
    lines += [
        f"repeated within {split}: {sum(n - 1 for n in c.values()):,}"
        for split, c in (("train", train), ("test", test))
    ]
    return "\n".join(lines)


def _digests(image_set: ImageSet) -> list[bytes]:
    rows = image_set.images.flatten(1).numpy()
    return [hashlib.blake2b(row, digest_size=16).digest() for row in rows]
