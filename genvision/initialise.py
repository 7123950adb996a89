"""Starting from another run's weights: copy what fits, resize position embeddings, leave the rest, and say so."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from genvision.families.base import Family
from genvision.loading import load

POSITION = "position.table"


class Initialised(NamedTuple):
    """Names of the parameters and kept buffers, such as codebooks, that were copied, resized, and left as they were."""

    loaded: list[str]
    resized: list[str]
    left: list[str]

    def __str__(self) -> str:
        left = f": {', '.join(self.left[:5])}{' ..' if len(self.left) > 5 else ''}" if self.left else ""
        return f"loaded {len(self.loaded)}, resized {len(self.resized)}, left {len(self.left)}{left}"


@torch.no_grad()
def initialise(family: Family, source: str) -> Initialised:
    """Copy the weights of a run, checkpoint, exported model or Hub id into `family`, by name. Raises RunError."""
    given = load(source).generator.state_dict()
    outcome = Initialised([], [], [])
    for name, tensor in family.state_dict().items():
        value = given.get(name)
        if value is not None and value.shape == tensor.shape:
            tensor.copy_(value)
            outcome.loaded.append(name)
        elif value is not None and name.endswith(POSITION) and value.shape[-1] == tensor.shape[-1]:
            tensor.copy_(resize_positions(value, tensor.shape[:2]))
            outcome.resized.append(name)
        else:
            outcome.left.append(name)
    return outcome


def resize_positions(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """Position embeddings (h,w,D) -> (*grid,D), bicubic (Dosovitskiy et al. 2021, section 3.2)."""
    planes = table.movedim(-1, 0)[None].float()
    return F.interpolate(planes, size=tuple(grid), mode="bicubic", align_corners=False)[0].movedim(0, -1)
