"""The images of a split in batches, each with the noise that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from genvision.families.base import Family
from genvision.spec import Batch, Draw

if TYPE_CHECKING:
    from genvision.data.image_set import ImageSet


def batches(
    family: Family, image_set: ImageSet, n: int, size: int, *, seed: int = 0, filled: bool = True
) -> Iterator[tuple[Batch, Draw]]:
    """The first n images on the device of `family`, image k with slot k of `seed`.

    filled  the last batch has `size` images, too: copies of image n - 1, with slots of their own, to be cut off by the
            caller (rows of a batch are bit-equal only at equal batch size)
    """
    device = next(family.parameters()).device
    for start in range(0, n, size):
        slots = torch.arange(start, start + size if filled else min(start + size, n))
        rows = slots.clamp(max=n - 1)
        labels = None
        if family.spec.classes and image_set.labels is not None:
            labels = image_set.labels[rows.to(image_set.labels.device)].to(device)
        images = image_set.images[rows.to(image_set.images.device)].to(device)
        yield Batch(images, labels), Draw(seed, 0, slots.to(device))
