"""Images made worse by steps, each step worse than the one before."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from genvision.evaluation.anchors import blurred
from genvision.probability.randomness import Stream, generator

PATCH = 7  # pixels per side of the patches that `seams` makes visible


def noisy(images: Tensor, share: float) -> Tensor:
    """Normal noise on every pixel, its standard deviation a share of the pixel range."""
    noise = generator(0, Stream.STUDY, 1).standard_normal(images.shape, dtype="float32")
    return _uint8(images.float() + 255 * share * torch.from_numpy(noise))


def swirled(images: Tensor, radians: float) -> Tensor:
    """Turned about the centre by an angle that falls from `radians` there to 1/e of it half-way to the nearest edge."""
    height, width = images.shape[2:]
    y = torch.linspace(1 / height - 1, 1 - 1 / height, height)[:, None]
    x = torch.linspace(1 / width - 1, 1 - 1 / width, width)[None]
    angle = torch.exp(-2 * torch.hypot(x, y)) * radians
    cos, sin = angle.cos(), angle.sin()
    source = torch.stack([cos * x - sin * y, sin * x + cos * y], -1).expand(len(images), -1, -1, -1)
    return _uint8(F.grid_sample(images.float(), source, padding_mode="border", align_corners=False))


def seamed(images: Tensor, share: float) -> Tensor:
    """Every patch of PATCH x PATCH pixels brighter or darker as a whole, by a normal share of the pixel range."""
    n, _, height, width = images.shape
    cells = n, 1, -(-height // PATCH), -(-width // PATCH)
    offsets = torch.from_numpy(generator(0, Stream.STUDY, 2).standard_normal(cells, dtype="float32"))
    offsets = offsets.repeat_interleave(PATCH, 2)[:, :, :height].repeat_interleave(PATCH, 3)[..., :width]
    return _uint8(images.float() + 255 * share * offsets)


def _uint8(x: Tensor) -> Tensor:
    return x.round().clamp(0, 255).to(torch.uint8)


# name -> (what a level is, how, levels from nearly nothing to ruin)
CORRUPTIONS = {
    "noise": ("standard deviation, share of the pixel range", noisy, (0.05, 0.1, 0.2, 0.4)),
    "blur": ("standard deviation, share of the shorter side", blurred, (1 / 64, 1 / 32, 1 / 16, 1 / 8)),
    "swirl": ("radians at the centre", swirled, (0.5, 1.0, 2.0, 4.0)),
    "seams": ("deviation of whole patches, share of the pixel range", seamed, (0.05, 0.1, 0.2, 0.4)),
}
CLASSES_LEFT = (8, 6, 4, 2)  # of ten: the steps of `modes`


def rows_of_classes(labels: Tensor, classes: int, n: int) -> Tensor:
    """(n,) rows of the images to show when only the first `classes` labels are left: as many of each as n allows."""
    order = [(labels == label).nonzero()[:, 0] for label in range(classes)]
    each = [n // classes + (label < n % classes) for label in range(classes)]
    return torch.cat([rows[:count] for rows, count in zip(order, each, strict=True)])
