"""Starting from another run's weights: copy what fits, resize position embeddings, leave the rest, and say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from genvision.families.base import Family
from genvision.layers.token_mlp import TokenMLP
from genvision.pipelines import load_named

# (h,w,D), (h,1,D), (1,w,D), and (2h-1,2w-1,heads): what the kinds of position embedding number places by
POSITIONS = ("position.table", "position.rows", "position.columns", "mixing.relative")
NUMBERED = "of token-MLPs, which number the places of an image and so fit images of one size alone: they start afresh"


class Initialised(NamedTuple):
    """Names of the parameters and kept buffers, such as codebooks, that were copied, resized, and left as they were.

    numbered  of those that were left, the ones of another size in a token-MLP, whose weights belong to places
    """

    loaded: list[str]
    resized: list[str]
    left: list[str]
    numbered: list[str]

    def __str__(self) -> str:
        left = f": {', '.join(self.left[:5])}{' ..' if len(self.left) > 5 else ''}" if self.left else ""
        numbered = f"; {len(self.numbered)} of these are {NUMBERED}" if self.numbered else ""
        return f"loaded {len(self.loaded)}, resized {len(self.resized)}, left {len(self.left)}{left}{numbered}"


def initialise(family: Family, source: str) -> Initialised:
    """Copy the weights of a run, checkpoint, exported model or Hub id into `family`, by name. Raises RunError."""
    return carry_over(family, load_named("train.init_from", source).generator.state_dict())


@torch.no_grad()
def carry_over(family: Family, given: Mapping[str, Tensor]) -> Initialised:
    """Copy weights, as a state dict has them, into `family`, by name."""
    outcome = Initialised([], [], [], [])
    places = tuple(f"{name}." for name, part in family.named_modules() if isinstance(part, TokenMLP))
    for name, tensor in family.state_dict().items():
        value = given.get(name)
        if value is not None and value.shape == tensor.shape:
            tensor.copy_(value)
            outcome.loaded.append(name)
        elif value is not None and name.endswith(POSITIONS) and value.shape[-1] == tensor.shape[-1]:
            tensor.copy_(resize_positions(value, tensor.shape[:2]))
            outcome.resized.append(name)
        else:
            outcome.left.append(name)
            if value is not None and name.startswith(places):
                outcome.numbered.append(name)
    return outcome


def resize_positions(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """Position embeddings (h,w,D) -> (*grid,D), bicubic (Dosovitskiy et al. 2021, section 3.2)."""
    planes = table.movedim(-1, 0)[None].float()
    return F.interpolate(planes, size=tuple(grid), mode="bicubic", align_corners=False)[0].movedim(0, -1)
