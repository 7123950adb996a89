"""One split of a dataset, decoded: every image in one uint8 tensor."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from genvision.errors import DataError
from genvision.spec import ImageSpec


@dataclass(frozen=True, eq=False)
class ImageSet:
    """The images of one split.

    images       (N,C,H,W) uint8, on the CPU
    labels       (N,) int64 in [0, len(class_names)), or None
    class_names  () where there are no labels
    files        where each image comes from, for messages; () where it has no name but its number
    left_out     files that could not be used, with the reason (data.max_bad_fraction)
    Raises DataError where these do not fit each other.
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor | None
    class_names: tuple[str, ...]
    files: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"{self.name}:{self.split}"
        if self.images.ndim != 4 or self.images.dtype != torch.uint8 or len(self.images) == 0:
            raise DataError(
                f"{where}: expected (N,C,H,W) uint8 images, got {tuple(self.images.shape)} {self.images.dtype}"
            )
        if self.labels is None:
            if self.class_names:
                raise DataError(f"{where}: has class names but no labels")
            return
        if self.labels.shape != (len(self.images),) or self.labels.dtype != torch.int64:
            raise DataError(
                f"{where}: {len(self.images)} images but labels {tuple(self.labels.shape)} {self.labels.dtype}"
            )
        if self.labels.min() < 0 or self.labels.max() >= len(self.class_names):
            raise DataError(f"{where}: a label lies outside the {len(self.class_names)} classes")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def spec(self) -> ImageSpec:
        """Geometry and number of classes (0: unlabelled)."""
        channels, height, width = self.images.shape[1:]
        return ImageSpec(channels, height, width, len(self.class_names))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shape and pixels (not labels or names), in hexadecimal: what a score's reference is known by."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().data)
        return digest.hexdigest()
