"""Trained networks at work on images of the test split: which forward pass a role is looked at in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genvision import data
from genvision.analysis.runs import Trained
from genvision.families.base import Family
from genvision.probability.randomness import Stream, normal
from genvision.spec import Batch, Draw


def test_batches(one: Trained, size: int, count: int) -> list[tuple[Batch, Draw]]:
    """`count` disjoint batches of test images and what is random about them; all of a size, fewer where images end."""
    images = data.load(one.config.data, "test")
    found = []
    for start in range(0, min(size * count, len(images) - size + 1), size):
        rows = slice(start, start + size)
        labels = None if images.labels is None or not one.family.spec.classes else images.labels[rows]
        found.append((Batch(images.images[rows], labels), Draw(0, 0, torch.arange(start, start + size))))
    return found


def forward(family: Family, role: str, batch: Batch, draw: Draw, *, time: float = 0.5) -> Callable[[], Any]:
    """A pass that runs the network of a role on a batch; a denoiser on images at a time of its path (0: clean)."""
    if role != "denoiser":
        return lambda: family.loss(batch, draw)
    t = torch.full((len(batch.images),), time, dtype=family.dtype)
    return lambda: family.output(noisy(family, batch, draw, t), t, batch.labels)


def noisy(family: Any, batch: Batch, draw: Draw, t: Tensor) -> Tensor:
    """The images of a batch at times t (B,) of a diffusion family's path."""
    x0 = family.codec.values(batch, draw, family.dtype)
    eps = normal(draw, Stream.NOISE, *family.codec.spec.shape).to(family.dtype)
    return family.path.at(x0, eps, t, family.options.prediction).xt
