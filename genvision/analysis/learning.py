"""Learning curves of small generators: trained by the loop of `genvision train`, looked at on held-out images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from genvision import data
from genvision.analysis.conditions import conditions
from genvision.analysis.study import Rows
from genvision.build import build, cost
from genvision.config import load_config
from genvision.config.schema import Config, DataConfig
from genvision.evaluation.batches import batches
from genvision.families.base import Family
from genvision.spec import ImageSpec
from genvision.storage import write_text
from genvision.training.launch import make_accelerator
from genvision.training.loop import train
from genvision.training.state import make_state
from genvision.validation import mean_loss

PASSES = 3  # multiply-adds of a training step in units of its forward pass: backward takes two
Prepare = Callable[[Family], None]
_COUNTED: dict[str, int] = {}  # what a network is -> its multiply-adds; counting takes as long as tens of small steps


def trained(
    words: Sequence[str],
    steps: Sequence[int],
    *,
    prepare: Prepare | None = None,
    images: tuple[data.ImageSet, data.ImageSet] | None = None,
) -> tuple[Family, Rows]:
    """A generator after steps[-1] steps, its last weights in eval mode, and its curve.

    words    as for `genvision train`
    prepare  what is done to the family before the first step, such as giving it other weights
    images   training and held-out images; None: those that the words name
    The curve: {"step", "images", "macs" of all training so far, "seconds", "loss" on held-out images} at each of
    `steps`, 0 among them or not. Raises what `genvision train` raises.
    """
    config = load_config(None, [*words, f"train.steps={steps[-1]}"])
    accelerator = make_accelerator(config)
    train_set, held_out = images or loaded(config.data)
    family = build(config, train_set.spec)
    if prepare:
        prepare(family)
    drawn = {"batch_size": config.train.batch_size, "seed": config.train.seed, "device": accelerator.device}
    state = make_state(family, config, accelerator)
    macs = PASSES * macs_per_image(config, train_set.spec)
    rows: Rows = []

    def look() -> None:
        loss = held_out_loss(family, held_out, config.train.validation_images)
        told = {"step": state.step, "images": state.images_seen, "macs": macs * state.images_seen}
        rows.append(told | {"seconds": state.seconds, "loss": loss})

    if 0 in steps:
        look()
    for report in train(state, data.make_batches(config.data, train_set, **drawn), config, accelerator):
        if report.step in steps:
            look()
    return family.eval(), rows


def macs_per_image(config: Config, spec: ImageSpec) -> int:
    """Of a forward pass; counted once for all networks that differ in their training alone."""
    key = repr((config.family, config.encoder, config.decoder, config.denoiser, config.predictor, spec))
    if key not in _COUNTED:
        _COUNTED[key] = cost(config, spec).macs_per_image
    return _COUNTED[key]


@lru_cache(maxsize=2)
def loaded(config: DataConfig) -> tuple[data.ImageSet, data.ImageSet]:
    """Training and held-out images; many curves in a row are of the same ones."""
    return data.load(config, "train"), data.load(config, "validation")


def held_out_loss(family: Family, held_out: data.ImageSet, limit: int, size: int = 64) -> float:
    """The mean loss of the first `limit` images in eval mode, `size` at once, under noise that is always the same."""
    return mean_loss(family.eval(), batches(family, held_out, min(limit, len(held_out)), size, filled=False))


def learning_curve(folder: Path, words: Sequence[str], steps: Sequence[int]) -> Rows:
    """The curve of `trained`, kept below folder/curves/ under its words and read from there the next time."""
    key = hashlib.sha256(json.dumps([list(words), list(steps)]).encode()).hexdigest()[:16]
    return remembered(folder / "curves" / f"{key}.json", list(words), lambda: trained(words, steps)[1])


def remembered(path: Path, words: list[str], compute: Callable[[], Rows]) -> Rows:
    """What `compute` gives; computed once, and then read from a file as long as words and conditions are its own."""
    told = {"words": words, **conditions()}
    if path.is_file() and told.items() <= (kept := json.loads(path.read_text())).items():
        return kept["rows"]
    rows = compute()
    write_text(path, json.dumps(told | {"rows": rows}, indent=1) + "\n")
    return rows
