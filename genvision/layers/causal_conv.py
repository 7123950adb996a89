"""Convolutions whose window never reaches below or to the right: whole images at once, or a row or a pixel at a time.

The incremental forms give the numbers of the full one and cost each output once: a row remembers the row above it, a
pixel takes the taps of the row above from a sum that was made for the whole row when that row was complete.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F


class RowConv(nn.Conv2d):
    """(B,C,H,W) -> (B,C',ceil(H/s),ceil(W/s)); output o at (r,c) sees rows r-1 and r at columns c-1 to c+1.

    # # #
    # o #
    """

    def __init__(self, c_in: int, c_out: int, *, stride: int = 1) -> None:
        super().__init__(c_in, c_out, (2, 3), stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (1, 1, 1, 0)))

    def start(self, like: Tensor, columns: int) -> Tensor:
        """The rows (B,C,2,columns+2) that the window covers, before the first one; `like` (B,...) gives B and dtype."""
        return like.new_zeros(len(like), self.in_channels, 2, columns + 2)

    def push(self, x: Tensor, rows: Tensor) -> None:
        """Take the next row x (B,C,W)."""
        rows[:, :, 0] = rows[:, :, 1]
        rows[:, :, 1, 1:-1] = x

    def row(self, rows: Tensor) -> Tensor:
        """The output (B,C',ceil(W/s)) of the row that was taken last, which the stride must not skip."""
        return super().forward(rows)[:, :, 0]


class PixelCache(NamedTuple):
    """What a PixelConv remembers: its input in the row above and in this one, (B,columns+1,C) with an empty column
    before the first, its taps as matrices (2C,C'), and what the row above adds to each output of this row (B,W',C').
    """

    above: Tensor
    here: Tensor
    taps_above: Tensor
    taps_here: Tensor
    from_above: Tensor


class PixelConv(nn.Conv2d):
    """(B,C,H,W) -> (B,C',ceil(H/s),ceil(W/s)); output o at (r,c) sees rows r-1 and r at columns c-1 and c.

    # #
    # o
    """

    def __init__(self, c_in: int, c_out: int, *, stride: int = 1) -> None:
        super().__init__(c_in, c_out, 2, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (1, 0, 1, 0)))

    def start(self, like: Tensor, columns: int) -> PixelCache:
        """Nothing seen yet; `like` (B,...) gives B and dtype."""
        above, here = (like.new_zeros(len(like), columns + 1, self.in_channels) for _ in range(2))
        taps_above, taps_here = rearrange(self.weight, "o i two q -> two (q i) o").contiguous()
        from_above = like.new_zeros(len(like), -(-columns // self.stride[0]), self.out_channels)
        return PixelCache(above, here, taps_above, taps_here, from_above)

    def begin_row(self, cache: PixelCache) -> None:
        """The row before is complete."""
        cache.above.copy_(cache.here)
        pairs = torch.cat([cache.above[:, :-1], cache.above[:, 1:]], -1)[:, :: self.stride[0]]
        cache.from_above.copy_(pairs @ cache.taps_above + self.bias)

    def push(self, x: Tensor, c: int, cache: PixelCache) -> None:
        """Take the pixel x (B,C) at column c of this row."""
        cache.here[:, c + 1] = x

    def pixel(self, c: int, cache: PixelCache) -> Tensor:
        """The output (B,C') at column c, whose pixel was taken last and which the stride must not skip."""
        pair = cache.here[:, c : c + 2].flatten(1)
        return torch.addmm(cache.from_above[:, c // self.stride[0]], pair, cache.taps_here)
