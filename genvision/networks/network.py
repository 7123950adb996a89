"""What the four roles share: the trunk's grid, its stem and head, and the geometry check."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from genvision.errors import ConfigError
from genvision.layers.embedding import Conditioner
from genvision.layers.resample import HEADS, STEMS
from genvision.spec import ImageSpec
from genvision.trunks import TRUNKS

REPEATED_BLOCKS = (
    "Block",
    "ResidualBlock",
    "SpatialAttention",
    "GatedLayer",
    "RowResidual",
    "PixelResidual",
)  # what is compiled, of any trunk
VECTOR_CHANNELS = 16  # of each cell, between a trunk and the one linear map of its whole grid to or from a vector


def grid_of(spec: ImageSpec, patch: int) -> tuple[int, int]:
    """(h, w) tokens of an image cut into patch x patch pixels; ConfigError naming size and patch if it does not fit."""
    if spec.height % patch or spec.width % patch:
        raise ConfigError(
            f"{spec.height}x{spec.width} pixels or codes cannot be cut into {patch}x{patch} patches; choose another "
            "patch (denoiser.patch, family.downsample) or a size divisible by it (data.height, data.width)"
        )
    return spec.height // patch, spec.width // patch


def cells_of(spec: ImageSpec, grid: tuple[int, int], channels: int, top_patch: int | None) -> ImageSpec:
    """A latent grid as the image of the networks above it; ConfigError where top_patch x top_patch cells do not fit."""
    if top_patch and (grid[0] % top_patch or grid[1] % top_patch):
        raise ConfigError(
            f"family.top_downsample={top_patch} does not divide the latent grid of {grid[0]}x{grid[1]} cells; choose "
            "one that does, or null for one vector above it"
        )
    return spec._replace(channels=channels, height=grid[0], width=grid[1])


def make_stem(trunk: dict, c_in: int, patch: int) -> nn.Module:
    """The way into a trunk that fits it: patches, or overlapping strided convolutions."""
    return STEMS[TRUNKS[trunk["name"]].stem](c_in, trunk["width"], patch)


def make_head(trunk: dict, c_out: int, patch: int) -> nn.Module:
    """The way out of a trunk that fits it: one linear map per token, or resize convolutions."""
    return HEADS[TRUNKS[trunk["name"]].stem](trunk["width"], c_out, patch)


def make_conditioner(trunk: dict, spec: ImageSpec, *, time: bool = False) -> Conditioner:
    """The conditioning vector, as wide as the trunk."""
    return Conditioner(trunk["width"], spec.classes, time=time)


def run_trunk(trunk: nn.Module, h: Tensor, cond: Tensor) -> Tensor:
    """Hand h (B,H,W,D) to the trunk in the memory format it is fastest in."""
    if trunk.channels_last:
        return trunk(h.contiguous(), cond)
    x = rearrange(h, "b h w d -> b d h w").contiguous(memory_format=torch.contiguous_format)
    return trunk(rearrange(x, "b d h w -> b h w d"), cond)
