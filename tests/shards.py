"""Small shards of images that know their own number, in the formats that large sets come in."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CLASSES = 3


def png(k: int, size: int = 8) -> bytes:
    """A gray image of the constant k."""
    return written(np.full((size, size), k, np.uint8))


def written(pixels: np.ndarray) -> bytes:
    """The PNG of these pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_tars(root: Path, sizes: list[int], image: Callable[[int], bytes] = png) -> Path:
    """WebDataset shards train-000.tar ..; image k has the label k mod CLASSES."""
    for number, keys in enumerate(numbered(sizes)):
        root.mkdir(parents=True, exist_ok=True)
        with tarfile.open(root / f"train-{number:03d}.tar", "w") as archive:
            for k in keys:
                for suffix, content in (("png", image(k)), ("cls", str(k % CLASSES).encode())):
                    member = tarfile.TarInfo(f"{k:06d}.{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    return root


def write_parquet(root: Path, sizes: list[int], image: Callable[[int], bytes] = png) -> Path:
    """The same as train-000.parquet .., with the columns image and label."""
    root.mkdir(parents=True, exist_ok=True)
    for number, keys in enumerate(numbered(sizes)):
        images = [{"bytes": image(k), "path": None} for k in keys]
        table = pa.table({"image": images, "label": [k % CLASSES for k in keys]})
        pq.write_table(table, root / f"train-{number:03d}.parquet")
    return root


def numbered(sizes: list[int]) -> list[range]:
    """The numbers of the images in each shard."""
    ends = np.cumsum(sizes).tolist()
    return [range(end - size, end) for size, end in zip(sizes, ends, strict=True)]
