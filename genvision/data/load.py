"""From a data config to an image set: sources, splits, labels and geometry."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from omegaconf import MISSING

from genvision.config.schema import DataConfig
from genvision.data.folder import class_names, list_files, read_folder
from genvision.data.geometry import with_channels, with_size
from genvision.data.image_set import ImageSet
from genvision.data.named import NAMED, read_named
from genvision.data.source import Source
from genvision.errors import ConfigError, DataError
from genvision.probability.randomness import Stream, generator
from genvision.spec import ImageSpec

Split = Literal["train", "validation", "test", "all"]
SPLITS = ("train", "validation", "test")
HELD_OUT_SEED = 2**62 + 28  # the validation images are the same in every run, whatever its train.seed
PLACES = ("folder", "stream")  # sources that are found by data.path and have no geometry of their own


def load(config: DataConfig, split: Split) -> ImageSet:
    """Decode one split of the configured set, resized to data.{channels,height,width} where they are given.

    train       `fraction` of the images that are not held out, always the same ones
    validation  `validation_fraction` of the training images, the held-out ones
    test        the set's own; of a folder without train/ and test/, a tenth chosen by hashing each file's path
    all         of a folder only: every image below it, unlabelled; what `folder:PATH` refers to
    Of a stream, the first data.resident_images of train and test; nothing of it is held out for validation.
    Which file is of which split does not hang on what can be decoded: `data.max_bad_fraction` only leaves files out.
    Raises DataError where images are missing, damaged or held by no split.
    """
    spec = spec_of(config)
    if config.name == "stream":
        return _of_stream(config, split)
    part: Literal["train", "test"] = "test" if split == "test" else "train"
    if config.name == "folder":
        found = list_files(config, "all" if split == "all" else part)
        kept = members(config, split, len(found.images))
        found = replace(found, images=tuple(found.images[k] for k in kept))
        names = () if split == "all" else class_names(config)
        read = read_folder(found, names, spec.height, spec.width, spec.channels, config.max_bad_fraction)
        return ImageSet(f"folder:{config.path}", split, read.images, read.labels, names, read.files, read.left_out)
    if split == "all":
        raise DataError(f"{config.name}: has no split 'all', which is for folders; name train, validation or test")
    images, labels, names = read_named(config, part)
    kept = torch.from_numpy(members(config, split, len(images)))
    images = with_size(with_channels(images[kept], spec.channels), spec.height, spec.width)
    return ImageSet(config.name, split, images, *((labels[kept], names) if config.labels else (None, ())))


def spec_of(config: DataConfig) -> ImageSpec:
    """The geometry and classes that `load` will give, without decoding or downloading anything.

    Raises DataError for a folder that is not there.
    """
    if config.name in PLACES:
        assert config.height and config.width and config.channels, "ranges.py requires them"
        classes = config.classes or 0 if config.name == "stream" else len(class_names(config))
        spec = ImageSpec(config.channels, config.height, config.width, classes)
    else:
        spec = NAMED[config.name].spec
    return ImageSpec(
        config.channels or spec.channels,
        config.height or spec.height,
        config.width or spec.width,
        spec.classes if config.labels else 0,
    )


def parse_reference(text: str, default: DataConfig) -> tuple[DataConfig, Split]:
    """`NAME[:split]` or `folder:PATH[:split]` -> config and split, at the geometry of `default`.

    A name alone means its test split; a folder alone all images below it. Root, download and the held-out fraction are
    those of `default`, but all other training images count and none may be left out; a default without a name lends no
    geometry. Folders are unlabelled.
    Raises ConfigError.
    """
    kind, separator, rest = text.partition(":")
    config = default = replace(default, fraction=1.0, max_bad_fraction=0.0)
    if default.name != MISSING and (kind == "folder" or kind != default.name):
        spec = spec_of(default)
        config = replace(default, channels=spec.channels, height=spec.height, width=spec.width)
    if kind == "folder":
        if not rest:
            raise ConfigError(f"reference {text!r}: no path; write folder:PATH")
        path, _, split = rest.rpartition(":")
        if not (path and split in SPLITS) or Path(rest).is_dir():
            path, split = rest, "all"
        return replace(config, name="folder", path=path, labels=False), cast(Split, split)
    split = rest if separator else "test"
    if kind not in NAMED or split not in SPLITS:
        raise ConfigError(
            f"reference {text!r}: write folder:PATH[:{'|'.join(SPLITS)}] or NAME[:{'|'.join(SPLITS)}] of "
            f"{', '.join(NAMED)}"
        )
    return replace(config, name=kind, path=None), cast(Split, split)


def _of_stream(config: DataConfig, split: Split) -> ImageSet:
    if split not in ("train", "test"):
        raise DataError(f"stream:{config.path}: has no split {split!r}; name train or test")
    return Source(config, split).resident()


def members(config: DataConfig, split: Split, total: int) -> np.ndarray:
    """Ascending indices of a split's images among the `total` of the files it is taken from."""
    if split in ("test", "all"):
        return np.arange(total)
    held_out = round(config.validation_fraction * total)
    order = generator(HELD_OUT_SEED, Stream.ORDER).permutation(total)
    trained_on = held_out + round(config.fraction * (total - held_out))
    kept = order[:held_out] if split == "validation" else order[held_out:trained_on]
    if len(kept) == 0:
        fractions = f"data.validation_fraction={config.validation_fraction} and data.fraction={config.fraction}"
        raise DataError(f"{fractions} leave no {split} images of {total}; {_remedy(split, total, held_out)}")
    return np.sort(kept)


def _remedy(split: Split, total: int, held_out: int) -> str:
    """What leaves one image at least: the share in hundredths."""
    if total < 2:
        return "add images"
    if split == "validation":
        return f"set data.validation_fraction={math.ceil(100 / total) / 100}, or 0 to hold none out"
    if held_out == total:
        return f"set data.validation_fraction={math.floor(100 / total) / 100}"
    return f"set data.fraction={math.ceil(100 / (total - held_out)) / 100}"
