"""Where a token is: what a trunk adds to each token of its grid. Kinds that turn or weigh attention are with it."""

from __future__ import annotations

import math

import torch
from diffusers.models.embeddings import get_1d_sincos_pos_embed_from_grid, get_2d_sincos_pos_embed
from einops import rearrange
from torch import Tensor, nn

from genvision.errors import ConfigError

Grid = tuple[int, int]


class Positions(nn.Module):
    """Adds `at()`, (H,W,D), to tokens (B,H,W,D)."""

    def at(self) -> Tensor | None:
        """What is added to the token at each place, (H,W,D); None for nothing."""
        return None

    def tokens(self) -> Tensor | None:
        """The same in raster order, (H*W,D)."""
        at = self.at()
        return None if at is None else rearrange(at, "h w d -> (h w) d")

    def forward(self, h: Tensor) -> Tensor:
        at = self.at()
        return h if at is None else h + at.to(h.dtype)


class Learned(Positions):
    """A vector for every place (Dosovitskiy et al. 2021, equation 1)."""

    def __init__(self, grid: Grid, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(0.02 * torch.randn(*grid, width))

    def at(self) -> Tensor:
        return self.table


class Axial(Positions):
    """A vector for every row and one for every column, added (Ho et al. 2019, "Axial attention"; appendix D.4 of
    Dosovitskiy et al. 2021 puts halves beside each other instead)."""

    def __init__(self, grid: Grid, width: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(0.02 * torch.randn(grid[0], 1, width))
        self.columns = nn.Parameter(0.02 * torch.randn(1, grid[1], width))

    def at(self) -> Tensor:
        return self.rows + self.columns


class Sinusoids(Positions):
    """Fixed: half of the channels are sinusoids of the column, half of the row (MAE, He et al. 2022, appendix A)."""

    def __init__(self, grid: Grid, width: int) -> None:
        super().__init__()
        table = get_2d_sincos_pos_embed(divisible(width, 4, "sincos"), grid, output_type="pt").float()
        self.register_buffer("table", rearrange(table, "(h w) d -> h w d", h=grid[0]), persistent=False)

    def at(self) -> Tensor:
        return self.table


class RasterSinusoids(Positions):
    """Fixed sinusoids of the place in raster order, as of a word in a sentence (Vaswani et al. 2017, section 3.5)."""

    def __init__(self, grid: Grid, width: int) -> None:
        super().__init__()
        order = torch.arange(grid[0] * grid[1])
        table = get_1d_sincos_pos_embed_from_grid(divisible(width, 2, "sincos1d"), order, output_type="pt").float()
        self.register_buffer("table", rearrange(table, "(h w) d -> h w d", h=grid[0]), persistent=False)

    def at(self) -> Tensor:
        return self.table


class Fourier(Positions):
    """Sinusoids of the place with learned frequencies, then a linear map (Li et al. 2021, "Learnable Fourier
    features", equations 2 and 3 with its MLP left out).

    Places are the middles of tokens on a unit square, so that the weights fit any grid; at first the frequencies are of
    about one radian from token to token.
    """

    def __init__(self, grid: Grid, width: int) -> None:
        super().__init__()
        half = divisible(width, 2, "fourier") // 2
        middles = [(torch.arange(side) + 0.5) / side for side in grid]
        self.register_buffer("places", torch.cartesian_prod(*middles).view(*grid, 2), persistent=False)
        self.frequencies = nn.Parameter(torch.tensor(grid)[:, None] * torch.randn(2, half))
        self.out = nn.Linear(width, width)

    def at(self) -> Tensor:
        angles = self.places @ self.frequencies
        return self.out(torch.cat([angles.cos(), angles.sin()], -1) / math.sqrt(angles.shape[-1]))


ADDED = {
    "learned": Learned,
    "axial": Axial,
    "sincos": Sinusoids,
    "sincos1d": RasterSinusoids,
    "fourier": Fourier,
}


def make_positions(kind: str, grid: Grid, width: int) -> Positions:
    """What is added to tokens: one of ADDED, or nothing. Raises ConfigError for a width that a kind cannot have."""
    return ADDED[kind](grid, width) if kind in ADDED else Positions()


def divisible(width: int, by: int, kind: str) -> int:
    if width % by:
        raise ConfigError(f"trunk.width={width} must be a multiple of {by} for trunk.position={kind}")
    return width
