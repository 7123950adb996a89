"""Make the golden runs of the present format: python tests/golden/make.py, from the root of the repository.

tests/golden/format-N/FAMILY holds a tiny run as a kill between its two checkpoints leaves it (config.yaml, checkpoint
of step 3), and what it came to: the exported model and images of step 6, and the loss of every step. A format that has
been released is never made again: whoever changes FORMAT makes the runs of the new one beside those of the old ones.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from runs import TINY, genvision, write_pictures  # noqa: E402

from genvision.training.folders import FORMAT  # noqa: E402

SMALL = ("trunk.width=16", "trunk.depth=1", "train.keep_checkpoints=2", "log.every_steps=1", "train.learning_rate=0.02")
RUNS = {
    "vae": ("backbone=mixer", "family.top_channels=0"),
    "autoregressive": ("backbone=convnet",),
    "diffusion": ("backbone=vit",),
}
KEPT = ("config.yaml", "checkpoints/step-000000003", "model", "samples/final.npz", "metrics.jsonl")


def make(family: str, root: Path) -> None:
    """One run, in a folder of its own with the pictures beside it: no path of this machine is written down."""
    words = (f"family={family}", *RUNS[family], *SMALL, "data=folder:pictures", "run.dir=runs", f"run.name={family}")
    said = genvision("train", *TINY, *words)
    assert said.code == 0, said.err
    for name in KEPT:
        source, target = Path("runs") / family / name, root / family / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)


if __name__ == "__main__":
    root = HERE / f"format-{FORMAT}"
    shutil.rmtree(root, ignore_errors=True)
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        write_pictures(Path("pictures"))
        for family in RUNS:
            make(family, root)
