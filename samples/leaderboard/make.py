"""The nine cells at one budget: train what is missing, gather the records and grids here, rebuild the leaderboard.

    python samples/leaderboard/make.py

Inside a family every backbone sees the same images, as many as its slowest one manages in about four minutes on two CPU
cores, and has the same parameters within 10 % (`configs/size/small.yaml`). Nothing was tuned for a single cell:
one learning rate for all nine. A run that was interrupted goes on where it was. Options after the command, such as
`train.images=512`, go to every cell: a quick check of the whole.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from genvision.evaluation.leaderboard import build

HERE = Path(__file__).parent
RUNS = Path("runs/leaderboard")
COMMON = [
    "data=fashion_mnist_mini",
    "size=small",
    f"run.dir={RUNS}",
    "train.learning_rate=2e-3",
    "log.grid_every_steps=0",
    "ema.decay=0.995",
]
SCORED = ["score.num_images=2000", "score.extractor=efficientnet-lite0"]
FAMILIES = {
    "vae": ["train.images=96000", "train.batch_size=64", *SCORED],
    "autoregressive": [
        "train.images=6000",
        "train.batch_size=16",
        "ema.decay=0.98",
        "family.likelihood=logistic_mixture",
        *SCORED,
    ],
    "diffusion": ["train.images=48000", "train.batch_size=64", "sample.steps=25", *SCORED],
}
BACKBONES = ("convnet", "vit", "mixer")


def main() -> None:
    for family, options in FAMILIES.items():
        for backbone in BACKBONES:
            name = f"{family}-{backbone}"
            cell = [f"family={family}", f"backbone={backbone}", f"run.name={name}"]
            launch = ["accelerate", "launch", "train_gen.py", *COMMON, *options, *cell, "--resume", "auto"]
            subprocess.run([*launch, *sys.argv[1:]], check=True)
            gather(RUNS / name, HERE / name)
    print(build(HERE, HERE))


def gather(run: Path, into: Path) -> None:
    """Copy a run's record and final grid, at the place the record names."""
    (into / "samples").mkdir(parents=True, exist_ok=True)
    for file in ("result.json", "samples/final.png"):
        shutil.copyfile(run / file, into / file)


if __name__ == "__main__":
    main()
