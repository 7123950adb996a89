"""Curves of fine-tuning, from scratch and after pretraining on other images, for the study `transfer`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from genvision.analysis.learning import loaded, remembered, trained
from genvision.analysis.runs import Runs
from genvision.analysis.study import Rows, Setting
from genvision.analysis.sweep import words
from genvision.config import load_config
from genvision.config.trunks import BACKBONES
from genvision.data import ImageSet
from genvision.families.base import Family
from genvision.initialise import carry_over

SOURCE, TARGET = (0, 1, 2, 3, 4), (5, 6, 7, 8, 9)  # classes: clothes but the shirt; shoes, bags and the shirt
SCRATCH, SAME = "from scratch", "pretrained"
SMALLER, LABELLED = "pretrained on smaller images", "pretrained with labels"
STARTS = {SCRATCH: None, SAME: "side", SMALLER: "smaller", LABELLED: "side"}  # -> which setting holds the source's side


def measure(setting: Setting, runs: Runs) -> Rows:
    """Held-out loss on the way of training on few images of TARGET, from each start; part is the start.

    From scratch training goes on for as many steps as pretraining and fine-tuning take together.
    """
    before, after = setting["pretraining"], setting["steps"]
    rows: Rows = []
    for backbone in BACKBONES:
        for seed in setting["seeds"]:
            target = cell(setting, backbone, seed, setting["side"])
            for start, side in STARTS.items():
                source = cell(setting, backbone, seed, setting[side], start == LABELLED) if side else None
                steps = after if source else (*after, before + after[-1])
                told = [*(source or []), *target, f"{setting['images']} images", f"steps {before} {steps}"]
                kept = f"{start}-{backbone}-seed{seed}-steps{before}-{after[-1]}.json".replace(" ", "_")
                compute = partial(tuned, source, target, before, steps, setting["images"])
                found = remembered(runs.folder / "transfer" / kept, told, compute)
                rows += [{"part": start, "what": backbone, "seed": seed} | row for row in found]
    return rows


def cell(setting: Setting, backbone: str, seed: int, side: int, labelled: bool = False) -> list[str]:
    """As for `genvision train`: a denoiser on images of side x side pixels."""
    shared = f"data.validation_fraction={setting['validation_fraction']}", f"train.learning_rate={setting['rate']}"
    return [*words(setting, "diffusion", backbone, seed, side=side), f"data.labels={str(labelled).lower()}", *shared]


def tuned(source: list[str] | None, target: list[str], before: int, steps: Sequence[int], images: int) -> Rows:
    """The curve on `images` images of TARGET after `before` steps on SOURCE; no source: without them.

    {"step", "value": held-out loss, "carried": share of the weights that come from pretraining}
    """
    carried: list[float] = [0.0]
    given = trained(source, (before,), images=of_classes(source, SOURCE))[0].state_dict() if source else None

    def begin(family: Family) -> None:
        if given:
            left = carry_over(family, given).left
            weights = {name: tensor.numel() for name, tensor in family.state_dict().items()}
            carried[0] = 1 - sum(weights[name] for name in left) / sum(weights.values())

    points = trained(target, steps, prepare=begin, images=of_classes(target, TARGET, images))[1]
    return [{"step": one["step"], "value": one["loss"], "carried": carried[0]} for one in points]


def of_classes(told: list[str], classes: Sequence[int], most: int | None = None) -> tuple[ImageSet, ImageSet]:
    """Training images of some classes, the first `most`, and all held-out ones; with labels where the words ask."""
    config = load_config(None, told).data
    found = []
    for one, limit in zip(loaded(replace(config, labels=True)), (most, None), strict=True):
        assert one.labels is not None, "the named sets have labels"
        rows = torch.isin(one.labels, torch.tensor(classes)).nonzero()[:limit, 0]
        labels = (one.labels[rows], one.class_names) if config.labels else (None, ())
        found.append(ImageSet(one.name, one.split, one.images[rows], *labels))
    return found[0], found[1]
