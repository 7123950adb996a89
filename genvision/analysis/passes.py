"""Trained networks at work on images of the test split: which forward pass a role is looked at in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from genvision import data
from genvision.analysis.runs import Trained
from genvision.families.base import Family
from genvision.probability.randomness import Stream, normal
from genvision.spec import Batch, Draw


def test_batches(
    one: Trained, size: int, count: int, *, split: data.Split = "test", labelled: bool = False
) -> list[tuple[Batch, Draw]]:
    """`count` disjoint batches of test images and what is random about them; all of a size, fewer where images end.

    split     another one to take them from
    labelled  with the labels that the images have, whether the family knows labels or not
    """
    images = data.load(replace(one.config.data, labels=True) if labelled else one.config.data, split)
    found = []
    for start in range(0, min(size * count, len(images) - size + 1), size):
        rows = slice(start, start + size)
        told = labelled or one.family.spec.classes
        labels = images.labels[rows] if told and images.labels is not None else None
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
