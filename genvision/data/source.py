"""Where a stream's images come from: Hugging Face datasets, shard by shard, as encoded bytes; nothing is fetched whole.

Hub names, folders of images, and Parquet or WebDataset tar shards, local or remote. Images are decoded by our own
guard; the library runs no scripts of a dataset, and unpickles nothing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from tarfile import TarError
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from genvision.config.addresses import masked
from genvision.config.schema import DataConfig
from genvision.data.archive import guarded
from genvision.data.decode import UnusableImageError, decode
from genvision.data.image_set import ImageSet
from genvision.errors import ConfigError, DataError

BUILDERS = {".tar": "webdataset", ".tar.gz": "webdataset", ".tgz": "webdataset", ".parquet": "parquet"}
IMAGE_NAMES = ("image", "img", "png", "jpg", "jpeg", "webp")
LABEL_NAMES = ("label", "cls", "labels")
_log = logging.getLogger(__name__)
HELD_OUT = ("test", "validation", "valid", "val")


class Example(NamedTuple):
    """An encoded image (bytes, or the path of a file), its label, and where it stands, for messages."""

    image: bytes | str
    label: int | None
    where: str


class Source:
    """One part of a stream: the shards that training reads, or those that test.

    shards  how many there are; without a test or validation split, the last one is the test's
    Raises ConfigError without the package `datasets`, DataError where the source, a split or a column is not there.
    """

    def __init__(self, config: DataConfig, part: Literal["train", "test"]) -> None:
        self.config, self.part, self.name = config, part, f"stream:{config.path}"
        self._folder = Path(str(config.path)).resolve()
        splits = self._opened()
        train = splits.get("train", next(iter(splits.values())))
        test = next((splits[name] for name in HELD_OUT if name in splits), None)
        last_is_test = test is None and train.num_shards > 1
        if part == "test" and test is None and not last_is_test:
            raise DataError(f"{self.name}: one shard and no test split: nothing can be held out; add another shard")
        self._set = test if part == "test" and test is not None else train
        every = range(self._set.num_shards)
        self._shards = every if not last_is_test else every[-1:] if part == "test" else every[:-1]
        self.shards = len(self._shards)
        self._image, self._label = self._columns()

    def read(self, shard: int, stripe: int = 0, stripes: int = 1) -> Iterator[Example]:
        """Every stripes-th example of a shard, from the stripe-th on, in the order of the file."""
        columns = list(dict.fromkeys(name for name in (self._image, self._label) if name))
        index = self._shards[shard]
        encoded = self._set.select_columns(columns).decode(False).shard(self._set.num_shards, index)
        try:
            for k, row in enumerate(encoded):
                if k % stripes == stripe:
                    where = f"{self.name}: shard {index}, example {k}"
                    yield Example(self._encoded(row[self._image], where), self._class(row, where), where)
        except (OSError, ValueError, RuntimeError, TarError) as error:  # a damaged shard, or a network that went away
            raise DataError(f"{self.name}: shard {index} cannot be read: {_line(error)}") from error

    def decoded(self, example: Example) -> np.ndarray:
        """(channels, height, width) uint8 of an example, by the same guard as a file. Raises DataError naming it."""
        config = self.config
        assert config.height and config.width and config.channels, "ranges.py requires them of a stream"
        try:
            return decode(example.image, config.height, config.width, config.channels).transpose(2, 0, 1)
        except UnusableImageError as error:
            raise DataError(f"{example.where}: {error}; repair or remove it") from error

    def usable(self, examples: list[Example]) -> tuple[dict[int, np.ndarray], list[str]]:
        """What `decoded` makes of each, by its number, and the faults of the others.

        Raises DataError naming the first where they are more than data.max_bad_fraction of all.
        """
        decoded, faults = {}, []
        for k, example in enumerate(examples):
            try:
                decoded[k] = self.decoded(example)
            except DataError as error:
                faults.append(error)
        if len(faults) > self.config.max_bad_fraction * len(examples):
            raise faults[0]
        for fault in faults:
            _log.warning("%s; left out", fault)
        return decoded, [str(fault).removesuffix("; repair or remove it") for fault in faults]

    def resident(self) -> ImageSet:
        """The first data.resident_images images, or all where there are fewer, as an image set."""
        limit = self.config.resident_images or 1
        found = [example for shard in range(self.shards) for example in self._first_of(shard, limit)][:limit]
        if not found:
            raise DataError(f"{self.name}: holds no images")
        decoded, faults = self.usable(found)
        kept = [found[k] for k in decoded]
        images = torch.from_numpy(np.stack(list(decoded.values())))
        named = {"files": tuple(example.where for example in kept), "left_out": tuple(faults)}
        if not self.config.labels:
            return ImageSet(self.name, self.part, images, None, (), **named)
        labels = torch.tensor([example.label for example in kept])
        return ImageSet(self.name, self.part, images, labels, self._class_names(), **named)

    def _first_of(self, shard: int, limit: int) -> list[Example]:
        """As many of each shard as make up the limit: shards of a single class are common."""
        share = -(-limit // self.shards)
        return [example for example, _ in zip(self.read(shard), range(share), strict=False)]

    def _opened(self) -> Any:
        try:
            from datasets import load_dataset_builder
        except ImportError as error:
            raise ConfigError("data=stream needs Hugging Face datasets: pip install 'genvision[stream]'") from error
        path = str(self.config.path)
        suffix = next((end for end in BUILDERS if path.endswith(end)), None)
        try:
            if suffix:
                return guarded(load_dataset_builder(BUILDERS[suffix], data_files=expanded(path))).as_streaming_dataset()
            return guarded(load_dataset_builder(path)).as_streaming_dataset()
        except ImportError as error:  # the file system of a URL, such as s3fs, is a package of its own
            raise ConfigError(f"{self.name}: cannot be opened: {_line(error)}") from error
        except (OSError, ValueError, RuntimeError, TarError) as error:
            raise DataError(f"{self.name}: cannot be opened: {_line(error)}; check data.path") from error

    def _columns(self) -> tuple[str, str | None]:
        features = self._set.features or {}
        kinds = {name: type(feature).__name__ for name, feature in features.items()}
        image = self.config.image_column or _first(features, kinds, "Image", IMAGE_NAMES)
        label = self.config.label_column or _first(features, kinds, "ClassLabel", LABEL_NAMES)
        wanted = {"data.image_column": image, **({"data.label_column": label} if self.config.labels else {})}
        for key, name in wanted.items():
            if name not in features:
                given = f"no column {name}" if name else f"no column fits {key}"
                raise DataError(f"{self.name}: {given}; set {key} to one of {', '.join(features)}")
        return str(image), label if self.config.labels else None

    def _encoded(self, value: Any, where: str) -> bytes | str:
        """The bytes of an image file, or its path below data.path: a row of a shard may name no other file."""
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if isinstance(content, bytes):
            return content
        if content is None and isinstance(path, str) and Path(path).resolve().is_relative_to(self._folder):
            return path
        raise DataError(f"{where}: its image is {type(value).__name__}, not the bytes of a file")

    def _class(self, row: dict[str, Any], where: str) -> int | None:
        if not self._label:
            return None
        label, classes = row[self._label], self.config.classes or 0
        if not isinstance(label, int) or not 0 <= label < classes:
            raise DataError(f"{where}: label {label!r} is none of data.classes={classes}; mend it or data.classes")
        return label

    def _class_names(self) -> tuple[str, ...]:
        classes = self.config.classes or 0
        names = getattr(self._set.features[self._label], "names", None) or ()
        return tuple(names) if len(names) == classes else tuple(map(str, range(classes)))


def expanded(path: str) -> list[str]:
    """`shard-{000..127}.tar` -> its 128 paths; any other path alone. Raises ConfigError for a range that is none."""
    found = re.fullmatch(r"(.*)\{(\d+)\.\.(\d+)\}(.*)", path)
    if not found:
        return [path]
    before, low, high, after = found.groups()
    if int(low) > int(high):
        raise ConfigError(f"data.path={path}: {low} is more than {high}")
    return [f"{before}{k:0{len(low)}d}{after}" for k in range(int(low), int(high) + 1)]


def _first(features: Any, kinds: dict[str, str], kind: str, names: tuple[str, ...]) -> str | None:
    typed = [name for name, found in kinds.items() if found == kind]
    return next(iter(typed), None) or next((name for name in names if name in features), None)


def _line(error: Exception) -> str:
    return masked(" ".join(str(error).split()))[:150] or type(error).__name__
