"""Generated images beside the training images nearest to them, for the eye to judge what `memorisation` counts."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from genvision.evaluation.neighbours import BLOCK
from genvision.evaluation.pictures import NEAREST_ROWS, NEIGHBOURS
from genvision.sampling import write_grid


def nearest_grid(images: Tensor, generated: Tensor, training: Tensor, train: Tensor) -> Tensor:
    """Two panels side by side: (rows,columns,C,H+2,W+2) uint8.

    images    (N,C,H,W) uint8 and generated (N,D), their features; training (T,C,H,W) and train (T,D)
    A row of a panel is a generated image in a black frame and its nearest training images, the nearest first. The left
    panel has the NEAREST_ROWS images nearest to any training image, the right one the first drawn.
    """
    listed = min(NEIGHBOURS, len(train))
    found = [torch.cdist(block, train).topk(listed, largest=False) for block in generated.split(BLOCK)]
    distances, near = (torch.cat(part).cpu() for part in zip(*found, strict=True))
    closest = distances[:, 0].argsort(stable=True)[:NEAREST_ROWS]
    gap = torch.full_like(F.pad(images[:1], (1, 1, 1, 1)), 255)

    def row(k: int) -> Tensor:
        framed = F.pad(images[k : k + 1], (1, 1, 1, 1), value=0)
        return torch.cat([framed, F.pad(training[near[k]], (1, 1, 1, 1), value=255)])

    return torch.stack([torch.cat([row(left), gap, row(right)]) for right, left in enumerate(closest.tolist())])


def write_nearest(grid: Tensor, path: Path) -> Path:
    """A grid of `nearest_grid` as a PNG."""
    return write_grid(grid.flatten(0, 1), path, columns=grid.shape[1])
