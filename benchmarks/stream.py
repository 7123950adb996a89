"""Memory and speed of a stream while its set grows tenfold, beside the same images resident in memory.

python benchmarks/stream.py [--images 4000] [--out benchmarks/stream.json]

Each set is written as ten tar shards of PNGs and read for one epoch by a process of its own, which reports images per
second and by how much its resident memory rose above what it was after the first batch.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

from genvision import __version__, data
from genvision.config import load_config
from genvision.spec import Draw
from genvision.storage import write_text

BATCH, SIDE, SHARDS = 64, 64, 10


def write(folder: Path, n: int) -> None:
    """n noisy pictures in tar shards; PNG of noise is about as large as the pixels, the worst case."""
    generator = torch.Generator().manual_seed(0)
    for shard in range(SHARDS):
        with tarfile.open(folder / f"train-{shard:03d}.tar", "w") as archive:
            for k in range(shard, n, SHARDS):
                pixels = torch.randint(0, 256, (SIDE, SIDE, 3), generator=generator, dtype=torch.uint8)
                for suffix, content in (("png", _png(pixels)), ("cls", str(k % 10).encode())):
                    member = tarfile.TarInfo(f"{k:07d}.{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))


def read(folder: str, n: int) -> dict[str, float]:
    """One epoch, in this process."""
    words = (f"data=stream:{folder}", "data.classes=10", "data.shuffle_buffer=256", "data.resident_images=64")
    config = load_config(None, [*words, "family=vae", "backbone=vit", f"train.batch_size={BATCH}"]).data
    batches = data.make_batches(config, data.load(config, "train"), batch_size=BATCH, seed=0, device="cpu")
    batches.at(Draw(0, 0, torch.arange(BATCH)))
    before, began = _peak(), time.perf_counter()
    steps = n // BATCH
    for step in range(1, steps):
        batches.at(Draw(0, step, torch.arange(BATCH)))
    seconds = time.perf_counter() - began
    return {"images_per_second": (steps - 1) * BATCH / seconds, "rise_mib": _peak() - before, "peak_mib": _peak()}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _png(pixels: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000, help="of the smaller set; the larger has ten times as many")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--read", nargs=2, metavar=("FOLDER", "N"), help="what each child process is told")
    given = parser.parse_args()
    if given.read:
        print(json.dumps(read(given.read[0], int(given.read[1]))))
        return
    rows = []
    for n in (given.images, 10 * given.images):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), n)
            command = [sys.executable, __file__, "--read", folder, str(n)]
            told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            bytes_ = sum(file.stat().st_size for file in Path(folder).iterdir())
        rows.append({"images": n, "set_mib": bytes_ / 2**20, **told})
        print(" ".join(f"{key} {value:,.1f}" for key, value in rows[-1].items()))
    about = {"genvision": __version__, "torch": torch.__version__.split("+")[0], "machine": platform.processor()}
    if given.out:
        write_text(given.out, json.dumps({"versions": about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
