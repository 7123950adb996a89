"""The trained generators that studies read: those a user names, or small ones that are trained once and shared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

from genvision.analysis.conditions import differ
from genvision.config import load_config
from genvision.config.schema import Config
from genvision.config.trunks import BACKBONES
from genvision.errors import RunError
from genvision.evaluation.record import read_record
from genvision.experiment import run
from genvision.families.base import Family
from genvision.fingerprint import short_hash
from genvision.pipelines import load
from genvision.run_folder import RunFolder

SHARED = ("data=fashion_mnist_mini", "log.grid_every_steps=0", "score.num_images=0", "sample.num_images=16")
TOY = (
    *("size=tiny", "data.height=8", "data.width=8", "train.steps=2", "train.batch_size=8", "train.warmup_steps=1"),
    *("sample.num_images=2", "sample.chunk_size=2", "train.validation_images=8", "log.every_steps=1"),
)
# preset -> what its runs have in common, and family -> their budget: equal images for every backbone
TRAINED: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "smoke": (
        TOY,
        {"vae": (), "autoregressive": (), "diffusion": ("sample.steps=2",)},
    ),
    "cpu": (
        ("size=small", "ema.decay=0.99"),
        {
            "vae": ("train.images=8000", "train.batch_size=64"),
            "autoregressive": (
                *("train.images=1600", "train.batch_size=16", "ema.decay=0.97"),
                "family.likelihood=logistic_mixture",
            ),
            "diffusion": ("train.images=8000", "train.batch_size=64", "sample.steps=25"),
        },
    ),
    "gpu": (
        ("data=fashion_mnist", "size=base"),
        dict.fromkeys(("vae", "autoregressive", "diffusion"), ("train.images=5000000", "train.batch_size=256")),
    ),
}


class Trained(NamedTuple):
    """A finished run and its averaged weights, in eval mode."""

    folder: RunFolder
    config: Config
    family: Family


class Runs:
    """What a study may read.

    folder  where missing runs are trained, as `genvision train` does it, and found the next time: RunError where they
            are of other versions or another kind of device
    preset  which of TRAINED
    given   runs to be read in place of them; RunError where one of them is none
    """

    def __init__(self, folder: Path, preset: str, given: Sequence[Path] | None = None) -> None:
        self.folder, self.preset = folder, preset
        self.given = None if given is None else [opened(path) for path in given]
        self.read: dict[str, str] = {}  # run -> hash of its weights, of all that a study has asked for

    def of(
        self,
        family: str,
        *,
        backbones: Iterable[str] = tuple(BACKBONES),
        seeds: Iterable[int] = (0,),
        words: Sequence[str] = (),
    ) -> list[Trained]:
        """Of one family, backbones in the order asked for, then seeds.

        words  "key=value" in which they differ from the runs that most studies share
        Of given runs, all of that family and of these backbones. RunError where there is none; the errors of training.
        """
        order = list(backbones)
        if self.given is None:
            found = [opened(self._train(family, *cell, words)) for cell in product(order, seeds)]
        else:
            fitting = [one for one in self.given if one.config.family.name == family and one.config.backbone in order]
            found = sorted(fitting, key=lambda one: order.index(one.config.backbone))
            if not found:
                raise RunError(f"--runs: none is of family={family} and a backbone of {', '.join(order)}; add one")
        self.read |= {one.folder.name: short_hash(one.family) for one in found}
        return found

    def _train(self, family: str, backbone: str, seed: int, own: Sequence[str]) -> Path:
        shared, budgets = TRAINED[self.preset]
        name = "-".join([family, backbone, f"seed{seed}", *(word.replace("=", "-") for word in own)])
        cell = f"family={family}", f"backbone={backbone}", *budgets[family], f"train.seed={seed}"
        words = [*SHARED, *shared, *cell, *own]
        config = load_config(None, [*words, f"run.dir={self.folder}", f"run.name={name}"])
        path = self.folder / name
        if not _is_finished(path):
            run(config, resume="auto", command=f"genvision train {' '.join(words)}")
        elif told := differ(read_record(RunFolder(path).result)):
            raise RunError(
                f"{path} was trained by {told}; remove it, or all of {self.folder}, to train anew, or read it as it is "
                "with --runs"
            )
        return path


@cache
def opened(path: Path) -> Trained:
    """A finished run, read once. Raises RunError where there is none."""
    folder = RunFolder(path)
    if not _is_finished(path):
        raise RunError(f"{path}: no finished run lies there; name the folder of one, run.dir/run.name")
    return Trained(folder, folder.read_config(), load(path).generator)


def _is_finished(path: Path) -> bool:
    return (path / "config.yaml").is_file() and RunFolder(path).state() == "finished"
