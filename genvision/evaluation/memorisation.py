"""Does a generator copy its training images? Distances to the nearest of them, against those of images it never saw.

Meehan, Chaudhuri and Dasgupta 2020, "A non-parametric test to detect data-copying in generative models", compare the
same two sets of distances. Held-out images are as far from the training images as a new image of the same kind has to
be; generated ones that lie nearer are copies, or flawed in a way that resembles them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genvision.evaluation.intervals import percentile
from genvision.evaluation.neighbours import BLOCK

NEAR_SHARE = 0.01  # of the held-out images lie so near to a training image that a generated one counts as a near copy


def memorisation(generated: Tensor, train: Tensor, held_out: Tensor, seed: int) -> dict[str, dict[str, Any]]:
    """{key: {"name", "value", "interval"}} from features (N,D), (T,D), (M,D); nothing of `held_out` is in `train`.

    nearest_ratio  median distance to the nearest training image, generated over held-out: 1 is unsuspicious, 0 copies
    near_copies    share of generated images nearer to a training image than the nearest hundredth of the held-out ones:
                   0.01 is unsuspicious; sees a few copies among many images that a median does not move for
    """
    nearest = _nearest(generated, train), _nearest(held_out, train)

    def ratio(drawn: Tensor, unseen: Tensor) -> Tensor:
        return drawn.quantile(0.5, dim=-1) / unseen.quantile(0.5, dim=-1).clamp(min=torch.finfo(torch.float32).tiny)

    def copies(drawn: Tensor, unseen: Tensor) -> Tensor:
        return (drawn < unseen.quantile(NEAR_SHARE, dim=-1, keepdim=True)).float().mean(-1)

    return {
        key: {"name": name, "value": measure(*nearest).item(), "interval": percentile(measure, nearest, seed)}
        for key, name, measure in (
            ("nearest_ratio", "nearest training image ratio", ratio),
            ("near_copies", "near copies", copies),
        )
    }


def _nearest(images: Tensor, train: Tensor) -> Tensor:
    """(N,) distance of each image to the nearest training image, on the CPU."""
    return torch.cat([torch.cdist(block, train).amin(1).cpu() for block in images.split(BLOCK)])
