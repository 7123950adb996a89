"""One transformer block with its parts exchanged or left out, for denoisers that are otherwise the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genvision.families.base import Family
from genvision.layers.attention import Attention
from genvision.layers.block import MLP, Block, modulate
from genvision.layers.masked import count_parameters
from genvision.layers.token_mlp import TokenMLP
from genvision.trunks.tokens import TokenTrunk

HEAD, KERNEL = 16, 3  # channels of a head; tokens per side that local mixings see
Grid = tuple[int, int]


class Depthwise(nn.Module):
    """(B,T,D) -> (B,T,D): each channel through its own KERNEL x KERNEL filter over the token grid."""

    def __init__(self, width: int, grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        self.conv = nn.Conv2d(width, width, KERNEL, padding=KERNEL // 2, groups=width)

    def forward(self, h: Tensor) -> Tensor:
        return self.conv(h.mT.unflatten(2, self.grid)).flatten(2).mT


class Pooling(nn.Module):
    """(B,T,D) -> (B,T,D): the mean of the neighbourhood less the token (Yu et al. 2022, equation 4)."""

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, h: Tensor) -> Tensor:
        x = h.mT.unflatten(2, self.grid)
        return (F.avg_pool2d(x, KERNEL, 1, KERNEL // 2, count_include_pad=False) - x).flatten(2).mT


class Nothing(nn.Module):
    """Adds nothing to its skip."""

    def forward(self, h: Tensor) -> Tensor:
        return torch.zeros_like(h)


class NoSkip(Block):
    """A block without its skips; the gates, which start at zero, count from one, so that something passes."""

    def forward(self, h: Tensor, cond: Tensor) -> Tensor:
        steer = self.modulation(F.silu(cond)).unflatten(-1, (6, -1)).movedim(1, 0)[:, :, None]
        shift1, scale1, gate1, shift2, scale2, gate2 = steer
        h = (1 + gate1) * self.mixing(modulate(self.norm1(h), shift1, scale1))
        return (1 + gate2) * self.mlp(modulate(self.norm2(h), shift2, scale2))


MIXINGS: dict[str, Callable[[int, Grid], nn.Module]] = {
    "attention": lambda width, grid: Attention(width, HEAD),
    "token MLP": lambda width, grid: TokenMLP(grid[0] * grid[1], 1.0),
    "depthwise": Depthwise,
    "pooling": lambda width, grid: Pooling(grid),
    "identity": lambda width, grid: nn.Identity(),
}
LEFT_OUT = ("no residual", "no norm", "no token mixing", "no channel mixing")
VARIANTS = (*MIXINGS, *LEFT_OUT, "ReLU")


def block(variant: str, width: int, grid: Grid, hidden: int) -> Block:
    """A block of a variant: a token mixing of MIXINGS with as many weights as attention has beside `hidden` units, its
    channel-MLP taking up the difference; or attention with one part left out or another nonlinearity."""
    if variant in MIXINGS:
        spare = count_parameters(Attention(width, HEAD)) - count_parameters(mixing := MIXINGS[variant](width, grid))
        return Block(width, mixing, hidden + round(spare / (2 * width + 1)))
    made = (NoSkip if variant == "no residual" else Block)(width, MIXINGS["attention"](width, grid), hidden)
    if variant == "no norm":
        made.norm1, made.norm2 = nn.Identity(), nn.Identity()
    elif variant == "no token mixing":
        made.mixing = Nothing()
    elif variant == "no channel mixing":
        made.mlp = Nothing()
    elif variant == "ReLU":
        up, _, dropout, down = made.mlp
        made.mlp = nn.Sequential(up, nn.ReLU(), dropout, down)
    return made


def exchanged(variant: str, seed: int, family: Family) -> None:
    """Puts a trunk of a variant in place of the ViT of a diffusion family that has not been trained yet."""
    old = family.denoiser.trunk
    assert isinstance(old, TokenTrunk) and isinstance(old.blocks[0].mlp, MLP), "a ViT or a Mixer"
    hidden = old.blocks[0].mlp[0].out_features
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        blocks = [block(variant, old.width, old.grid, hidden) for _ in old.blocks]
        family.denoiser.trunk = TokenTrunk(old.grid, old.width, blocks, position="learned")


def prepare(variant: str, seed: int) -> Callable[[Family], None]:
    return partial(exchanged, variant, seed)
