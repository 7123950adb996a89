"""What the middle of an encoder's last layer depends on, patch by patch, and how well a map of it agrees."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from genvision.analysis.capture import capture


def middle(grid: tuple[int, int]) -> int:
    """The token in the middle, in raster order."""
    return grid[0] // 2 * grid[1] + grid[1] // 2


def per_patch(field: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B,H,W) -> (B,h,w) sums over the pixels of each patch."""
    height, width = (side // cells for side, cells in zip(field.shape[1:], grid, strict=True))
    return field.unflatten(1, (-1, height)).unflatten(3, (-1, width)).sum((2, 4))


@torch.no_grad()
def occluded(encoder: Any, labels: Tensor | None, images: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B,h,w) mean squared change of the last layer's middle where one patch of (B,C,H,W) is the mean of all images."""

    def seen(x: Tensor) -> Tensor:
        h = capture(encoder, partial(encoder, x, labels), ["trunk"])["trunk"]
        return h[:, grid[0] // 2, grid[1] // 2]

    whole, blank = seen(images), images.mean(0)
    height, width = images.shape[2] // grid[0], images.shape[3] // grid[1]
    changes = []
    for row in range(grid[0]):
        for column in range(grid[1]):
            place = ..., slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width)
            without = images.clone()
            without[place] = blank[place]
            changes.append((seen(without) - whole).square().mean(1))
    return torch.stack(changes, 1).unflatten(1, grid)


def rank_correlation(told: Tensor, truth: Tensor) -> float:
    """The mean over images of Spearman's correlation between two maps (B,h,w)."""
    pairs = zip(told.detach().flatten(1).numpy(), truth.detach().flatten(1).numpy(), strict=True)
    return float(np.mean([spearmanr(*pair).statistic for pair in pairs]))
