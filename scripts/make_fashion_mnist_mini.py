"""Make the bundled `fashion_mnist_mini` from the original Fashion-MNIST: a class-balanced 10,000 + 2,000 images.

    python scripts/make_fashion_mnist_mini.py [--source DIR] [--out DIR]

The first 1,000 training and the first 200 test images of each class, in the original order. The images of a split
stand below each other in one gray PNG of width 28: smaller than gzip, and a fifth of the decoding time of xz. The
labels stay IDX. `SHA256SUMS` is what loading checks. The source is the four .gz IDX files (Debian package
dataset-fashion-mnist); the licence text beside the output folder is Fashion-MNIST's own and stays as it is.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from genvision.data.idx import read_idx

PER_CLASS = {"train": 1000, "test": 200}
PREFIX = {"train": "train", "test": "t10k"}


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices, ascending, of the first `count` examples of each of the ten classes."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(10)]))


def write_split(source: Path, out: Path, split: str) -> list[Path]:
    """Write the images and labels of one split; returns the two files."""
    images = read_idx(source / f"{PREFIX[split]}-images-idx3-ubyte.gz", 3)
    labels = read_idx(source / f"{PREFIX[split]}-labels-idx1-ubyte.gz", 1)
    kept = first_of_each_class(labels, PER_CLASS[split])
    pixels, targets = out / f"{split}-images.png", out / f"{split}-labels-idx1-ubyte.gz"
    Image.fromarray(images[kept].reshape(-1, 28)).save(pixels, optimize=True)
    header = bytes((0, 0, 8, 1)) + struct.pack(">I", len(kept))
    targets.write_bytes(gzip.compress(header + labels[kept].tobytes(), mtime=0))  # no time: the same bytes every run
    return [pixels, targets]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    bundled = Path(__file__).resolve().parents[1] / "genvision/data/bundled/fashion_mnist_mini"
    parser.add_argument(
        "--source", type=Path, default=Path("/usr/share/datasets/fashion-mnist"), help="Debian's folder"
    )
    parser.add_argument("--out", type=Path, default=bundled)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    files = [file for split in PER_CLASS for file in write_split(options.source, options.out, split)]
    sums = (f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(files))
    (options.out / "SHA256SUMS").write_text("".join(sums))
    print(f"{options.out}: {sum(file.stat().st_size for file in files):,} bytes in {len(files)} files")


if __name__ == "__main__":
    main()
