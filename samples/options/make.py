"""The options of each family on each backbone at equal images: trains what is missing, writes docs/OPTIONS.md.

    python samples/options/make.py

About three quarters of an hour on one CPU core. A run that was interrupted goes on where it was. Inside a group only
the option and the backbone change. Options after the command, such as `train.images=512`, go to every run: a quick
check. Names of groups, such as `vae codes`, train these alone, so that two cores can share the work.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from genvision.evaluation.columns import sample_seconds
from genvision.evaluation.numbers import written
from genvision.evaluation.record import FILE_NAME, Record, read_record

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "OPTIONS.md"
RUNS = Path("runs/options")
BACKBONES = ("convnet", "vit", "mixer")
COMMON = [
    "data=fashion_mnist_mini",
    "size=small",
    f"run.dir={RUNS}",
    "run.threads=1",
    "train.learning_rate=2e-3",
    "log.grid_every_steps=0",
    "ema.decay=0.995",
]
SCORED = ["score.num_images=1000", "score.extractor=efficientnet-lite0"]
GROUPS = {  # what is held still while options change
    "vae": ["family=vae", "train.images=16000", "train.batch_size=64"],
    "autoregressive": [
        "family=autoregressive",
        "train.images=2000",
        "train.batch_size=16",
        "ema.decay=0.98",
        "family.likelihood=logistic_mixture",
        "score.num_images=0",  # their bits/dim are exact; 1,000 images would take longer than training
        "sample.num_images=128",
    ],
    "diffusion": ["family=diffusion", "train.images=8000", "train.batch_size=64", "sample.steps=25"],
    "codes": ["train.images=16000", "train.batch_size=64"],
}


class Option(NamedTuple):
    """A row for each of its backbones: what it changes. `unscored`: trained as a codec, without a row of its own."""

    group: str
    name: str
    words: list[str]
    backbones: tuple[str, ...] = BACKBONES
    unscored: bool = False

    def run(self, backbone: str) -> str:
        return f"{self.group}-{self.name.replace(' ', '-').replace('+', 'p')}-{backbone}"


VECTOR = Option("vae", "vector above the grid", [])
FSQ = Option("vae", "fsq", ["family.latent=fsq"], ("convnet",), unscored=True)
EDM = ["family.path=edm", "family.prediction=preconditioned", "family.times=log_normal", "family.weight=edm"]
OPTIONS = (
    VECTOR,
    Option("vae", "grid alone", ["family.top_channels=0"], ("convnet",)),
    FSQ,
    Option("autoregressive", "raster", []),
    Option("autoregressive", "random order", ["family.order=random"]),
    Option("autoregressive", "pixelcnn++", ["predictor.trunk.name=pixelcnnpp"], ("convnet",)),
    Option("autoregressive", "performer", ["trunk.attention=performer"], ("vit",)),
    Option("diffusion", "flow", []),
    Option("diffusion", "edm", [*EDM, "sample.scheduler=edm", "sample.steps=13"]),  # 25 evaluations too
    Option(
        "codes",
        "latent diffusion",
        ["family=diffusion", "denoiser.patch=1", "sample.steps=25", f"codec.run={RUNS / VECTOR.run('convnet')}"],
    ),
    Option("codes", "fsq tokens", ["family=autoregressive", f"codec.run={RUNS / FSQ.run('convnet')}"]),
)
COLUMNS = ("option", "backbone", "parameters", "MACs", "train s", "s per 1,000", "bits/dim", "FD-EffNetLite0")
HEAD = """# Options at equal images

```
python samples/options/make.py
```

trains each row on `fashion_mnist_mini` at `size=small` on one CPU core ({machine}), draws 1,000 images, scores them
against the 2,000 test images and writes this page from the records in
[`samples/options/`](../samples/options). Inside a group everything but the option and the backbone is held still, the
images seen above all. One seed, minutes of training: differences of a few percent mean nothing, and no group is
comparable with another. The machine did other work beside: seconds compare roughly.
"""
NOTES = {
    "vae": "bits/dim are bounds. The codec of the tokens below has no prior to draw from, hence no row.",
    "autoregressive": "bits/dim are exact; 128 images were drawn. `random order` takes locality from every backbone.",
    "diffusion": "25 network evaluations an image in every row.",
    "codes": "Generators of codes; parameters and MACs are the generator's own.",
}


def main() -> None:
    more = [word for word in sys.argv[1:] if "=" in word]
    groups = [word for word in sys.argv[1:] if "=" not in word] or GROUPS
    for option in OPTIONS:
        for backbone in option.backbones if option.group in groups else ():
            train(option, backbone, more)
    if all((HERE / option.run(backbone)).is_dir() for option in OPTIONS for backbone in option.backbones):
        PAGE.write_text(page())
        print(PAGE)


def train(option: Option, backbone: str, more: list[str]) -> None:
    """Train a row unless it is there, and keep its record and grid."""
    name = option.run(backbone)
    words = [*COMMON, *SCORED, *GROUPS[option.group], f"backbone={backbone}", *option.words, f"run.name={name}", *more]
    if option.unscored:
        words.append("score.num_images=0")
    subprocess.run(["genvision", "train", *words, "--resume", "auto"], check=True)
    (HERE / name).mkdir(exist_ok=True)
    shutil.copyfile(RUNS / name / FILE_NAME, HERE / name / FILE_NAME)
    shutil.copyfile(RUNS / name / "samples" / "final.png", HERE / name / "final.png")


def page() -> str:
    """docs/OPTIONS.md from the records that lie here."""
    parts = []
    for group, note in NOTES.items():
        records = [
            (option, read_record(HERE / option.run(backbone) / FILE_NAME))
            for option in OPTIONS
            if option.group == group and not option.unscored
            for backbone in option.backbones
        ]
        images = records[0][1]["images_seen"]
        table = [COLUMNS, ("---",) * 2 + ("---:",) * 6, *(row(*found) for found in records)]
        lines = "\n".join(f"| {' | '.join(cells)} |" for cells in table)
        told = {option.name: record["note"] for option, record in records if group == "codes"}
        notes = "\n".join([note, *(f"\n{name}: {text}." for name, text in told.items())])
        parts.append(f"## {group}: {images:,} images\n\n{lines}\n\n{notes}\n")
    machine = f"torch {records[0][1]['packages']['torch']}, {records[0][1]['precision']}"
    return "\n".join([HEAD.format(machine=machine), *parts])


def row(option: Option, record: Record) -> tuple[str, ...]:
    """The cells of one line."""
    score = ((record["metrics"] or {}).get("frechet") or {}).get("value")
    return (
        option.name,
        record["backbone"],
        written("count", record["parameters"]),
        written("count", record["macs_per_image"]),
        written("seconds", record["train_seconds"]),
        written("seconds", sample_seconds(record)),
        written("bits", (record["bits_per_dim"] or {}).get("value")),
        written("distance", score),
    )


if __name__ == "__main__":
    main()
