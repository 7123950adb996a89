"""The gated two-stack PixelCNN trunk: causal by padding alone, without a blind spot (van den Oord et al. 2016)."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from genvision.trunks.trunk import Trunk


class GatedLayer(nn.Module):
    """One layer of both stacks: v, h (B,D,H,W), cond (B,D) -> v, h.

    The vertical stack looks at rows above, at any column, the horizontal one at its own row to the left and at the
    vertical stack of its place. With kernel 5, what output o sees of its input in the first layer (left; the input
    itself is excluded, a mask of type A) and in later layers (right, type B):

        vertical   # # # # #        vertical    # # # # #
                   # # # # #                    # # # # #
                   # # # # #                    # # o # #
                   . . o . .        horizontal  # # o . .
        horizontal # # o . .

    Since v at row r already excludes row r, later layers may use v of their own row. Both windows are got by padding
    and cropping, so that no weight is masked away. The gate is equation 2 of the paper, with cond as its bias.
    """

    def __init__(self, width: int, kernel: int, *, first: bool, dropout: float = 0.0) -> None:
        super().__init__()
        rows, reach = kernel // 2 + 1, kernel // 2
        lag = int(first)
        columns = reach if first else reach + 1
        self.pad_vertical = (reach, reach, rows - 1 + lag, 0)  # left, right, top, bottom
        self.pad_horizontal = (columns - 1 + lag, 0, 0, 0)
        self.vertical = nn.Conv2d(width, 2 * width, (rows, kernel))
        self.horizontal = nn.Conv2d(width, 2 * width, (1, columns))
        self.link = nn.Conv2d(2 * width, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1)
        self.cond = nn.Linear(width, 4 * width)
        self.dropout = nn.Dropout(dropout)
        self.first = first

    def forward(self, v: Tensor, h: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        height, width = h.shape[2:]
        bias_v, bias_h = rearrange(self.cond(F.silu(cond)), "b (two d) -> two b d 1 1", two=2)
        above = self.vertical(F.pad(v, self.pad_vertical))[:, :, :height]
        left = self.horizontal(F.pad(h, self.pad_horizontal))[:, :, :, :width]
        gated = self.out(self.dropout(gate(left + self.link(above) + bias_h)))
        return gate(above + bias_v), gated if self.first else h + gated


def gate(x: Tensor) -> Tensor:
    """(B,2D,H,W) -> (B,D,H,W): tanh of one half times the sigmoid of the other."""
    signal, strength = rearrange(x, "b (two d) h w -> two b d h w", two=2)
    return torch.tanh(signal) * torch.sigmoid(strength)


class PixelCNNTrunk(Trunk):
    """h (B,H,W,D), cond (B,D) -> (B,H,W,D); output i sees inputs < i in raster order, strictly.

    Options as in `genvision.config.trunks.PixelCNNTrunkConfig`: `depth` gated layers. A residual connection joins the
    horizontal stack from the second layer on; the first must not pass its own pixel through.
    """

    stem = "patch"
    channels_last = True  # convolutions without a norm are fastest so, in bfloat16 above all

    def __init__(
        self, grid: tuple[int, int], *, causal: bool = True, width: int, depth: int, kernel: int, dropout: float
    ) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.ModuleList(GatedLayer(width, kernel, first=i == 0, dropout=dropout) for i in range(depth))

    def forward(self, h: Tensor, cond: Tensor) -> Tensor:
        v = h = rearrange(h, "b h w d -> b d h w")
        for layer in self.layers:
            v, h = self.run(layer, v, h, cond)
        return rearrange(F.silu(h), "b d h w -> b h w d")
