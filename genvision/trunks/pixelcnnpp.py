"""The PixelCNN++ trunk: two causal streams through an hourglass with shortcuts (Salimans et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from genvision.errors import ConfigError
from genvision.layers.causal_conv import PixelCache, PixelConv, RowConv
from genvision.layers.gated_residual import BlockCache, PixelResidual, RowResidual
from genvision.trunks.trunk import Trunk


class PairCache(NamedTuple):
    """Caches of both blocks, and what this row of stream v adds to each place of h: (B,D,W), in place."""

    v: BlockCache
    h: BlockCache
    beside: Tensor


class Pair(nn.Module):
    """One block of each stream: v, h (B,D,H,W) -> v, h. The h block also sees the new v, both the skips if given."""

    def __init__(self, width: int, *, skips: bool, dropout: float) -> None:
        super().__init__()
        self.v = RowResidual(width, width, n_beside=int(skips), dropout=dropout)
        self.h = PixelResidual(width, width, n_beside=1 + int(skips), dropout=dropout)

    def forward(self, v: Tensor, h: Tensor, cond: Tensor, *skip: Tensor) -> tuple[Tensor, Tensor]:
        v = self.v(v, cond, *skip[:1])
        return v, self.h(h, cond, v, *skip[1:])

    def start(self, cond: Tensor, columns: int) -> PairCache:
        beside = cond.new_zeros(*cond.shape, columns)
        return PairCache(self.v.start(cond, columns), self.h.start(cond, columns), beside)

    def row(self, v: Tensor, cache: PairCache, *skip: Tensor) -> Tensor:
        """The next row v (B,D,W) of that stream, and its skip -> its output; h is made ready for the row."""
        v = self.v.row(v, [self.v.project(0, s) for s in skip], cache.v)
        cache.beside.copy_(self.h.project(0, v))
        self.h.begin_row(cache.h)
        return v

    def pixel(self, h: Tensor, c: int, cache: PairCache, *skip: Tensor) -> Tensor:
        """h (B,D) at column c of this row, and its skip -> its output."""
        return self.h.pixel(h, c, [cache.beside[:, :, c], *(self.h.project(1, s) for s in skip)], cache.h)


class Expand(nn.Conv2d):
    """(B,D,h,w) -> (B,D,2h,2w): each position becomes a block of 2x2, none of which precedes it in raster order."""

    def __init__(self, width: int) -> None:
        super().__init__(width, 4 * width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return rearrange(super().forward(x), "b (d p q) h w -> b d (h p) (w q)", p=2, q=2)


class ScaleCache(NamedTuple):
    """Caches of the pairs, and of what lies around the coarser scale."""

    down: list[PairCache]
    up: list[PairCache]
    coarser: Any  # CoarserCache, or None at the coarsest


class Scale(nn.Module):
    """Both streams at one resolution, around the same at half of it: `depth` pairs down, one more up, shortcuts.

    `run` is the trunk's, for the pairs.
    """

    def __init__(self, width: int, depth: int, scales: int, dropout: float) -> None:
        super().__init__()
        self.coarser = Coarser(width, depth, scales - 1, dropout) if scales > 1 else None
        self.down = nn.ModuleList(Pair(width, skips=False, dropout=dropout) for _ in range(depth))
        self.up = nn.ModuleList(Pair(width, skips=True, dropout=dropout) for _ in range(depth + (scales > 1)))

    def forward(self, v: Tensor, h: Tensor, cond: Tensor, run: Callable[..., Any]) -> tuple[Tensor, Tensor]:
        skips = [(v, h)]
        for pair in self.down:
            skips.append(run(pair, *skips[-1], cond))
        v, h = skips.pop() if self.coarser is None else self.coarser(*skips[-1], cond, run)
        for pair in self.up:
            v, h = run(pair, v, h, cond, *skips.pop())
        return v, h

    def start(self, cond: Tensor, columns: int) -> ScaleCache:
        down, up = ([pair.start(cond, columns) for pair in way] for way in (self.down, self.up))
        return ScaleCache(down, up, None if self.coarser is None else self.coarser.start(cond, columns))

    def row(self, v: Tensor, r: int, cache: ScaleCache) -> Tensor:
        """Row r (B,D,W) of stream v -> its output; every h block is made ready for the row."""
        skips = [v]
        for pair, own in zip(self.down, cache.down, strict=True):
            skips.append(pair.row(skips[-1], own))
        v = skips.pop() if self.coarser is None else self.coarser.row(skips[-1], r, cache.coarser)
        for pair, own in zip(self.up, cache.up, strict=True):
            v = pair.row(v, own, skips.pop())
        return v

    def pixel(self, h: Tensor, r: int, c: int, cache: ScaleCache) -> Tensor:
        """Stream h (B,D) at (r,c) -> its output there."""
        skips = [h]
        for pair, own in zip(self.down, cache.down, strict=True):
            skips.append(pair.pixel(skips[-1], c, own))
        h = skips.pop() if self.coarser is None else self.coarser.pixel(skips[-1], r, c, cache.coarser)
        for pair, own in zip(self.up, cache.up, strict=True):
            h = pair.pixel(h, c, own, skips.pop())
        return h


class CoarserCache(NamedTuple):
    """Caches on the way to the coarser scale and of itself, and what came back from it: two rows (B,D,2,W) of stream v,
    and of stream h the blocks of two rows (B,D,2,W) as far as they are known.
    """

    shrink_v: Tensor
    shrink_h: PixelCache
    scale: ScaleCache
    rows: Tensor
    blocks: Tensor


class Coarser(nn.Module):
    """v, h (B,D,H,W) -> v, h: down to half the resolution, through a Scale, and back.

    A shrunk position (r,c) sees rows up to 2r and columns up to 2c of its stream, and what is expanded from it stands
    at or after (2r,2c): no position learns of itself through the coarser scale.
    """

    def __init__(self, width: int, depth: int, scales: int, dropout: float) -> None:
        super().__init__()
        self.shrink_v, self.shrink_h = RowConv(width, width, stride=2), PixelConv(width, width, stride=2)
        self.scale = Scale(width, depth, scales, dropout)
        self.expand_v, self.expand_h = Expand(width), Expand(width)

    def forward(self, v: Tensor, h: Tensor, cond: Tensor, run: Callable[..., Any]) -> tuple[Tensor, Tensor]:
        height, width = v.shape[2:]
        v, h = self.scale(self.shrink_v(v), self.shrink_h(h), cond, run)
        return self.expand_v(v)[:, :, :height, :width], self.expand_h(h)[:, :, :height, :width]

    def start(self, cond: Tensor, columns: int) -> CoarserCache:
        half = -(-columns // 2)
        rows, blocks = (cond.new_zeros(*cond.shape, 2, 2 * half) for _ in range(2))
        shrink_v, shrink_h = self.shrink_v.start(cond, columns), self.shrink_h.start(cond, columns)
        return CoarserCache(shrink_v, shrink_h, self.scale.start(cond, half), rows, blocks)

    def row(self, v: Tensor, r: int, cache: CoarserCache) -> Tensor:
        """As `Scale.row`; the coarser scale works at even rows."""
        self.shrink_v.push(v, cache.shrink_v)
        self.shrink_h.begin_row(cache.shrink_h)
        if r % 2 == 0:
            coarse = self.scale.row(self.shrink_v.row(cache.shrink_v), r // 2, cache.scale)
            cache.rows.copy_(self.expand_v(coarse[:, :, None]))
        return cache.rows[:, :, r % 2, : v.shape[2]]

    def pixel(self, h: Tensor, r: int, c: int, cache: CoarserCache) -> Tensor:
        """As `Scale.pixel`; the coarser scale works where both coordinates are even."""
        self.shrink_h.push(h, c, cache.shrink_h)
        if r % 2 == c % 2 == 0:
            coarse = self.scale.pixel(self.shrink_h.pixel(c, cache.shrink_h), r // 2, c // 2, cache.scale)
            cache.blocks[..., c : c + 2] = self.expand_h(coarse[..., None, None])
        return cache.blocks[:, :, r % 2, c]


@dataclass
class PixelCNNPPCache:
    """What `step` remembers: the rows above that the first layer reaches, the last W inputs by column (B,D,W), what the
    row above adds to this row of stream h (B,D,W), the scales, and the next place in raster order.
    """

    above: Tensor
    inputs: Tensor
    from_above: Tensor
    scale: ScaleCache
    place: int = 0


class PixelCNNPPTrunk(Trunk):
    """h (B,H,W,D), cond (B,D) -> (B,H,W,D); output i sees inputs < i in raster order, strictly.

    Stream v sees the rows above at all columns, stream h also its own row to the left, and v of its place. What the
    first layers see of their input at output o (v left, h right), every later layer includes its own place:

        v  # # #        h  . . .
           # # #           # # #
           . o .           # o .

    Options as in `genvision.config.trunks.PixelCNNPPTrunkConfig`. The paper's transposed convolutions are 2x2 here.
    """

    stem = "patch"
    channels_last = True  # convolutions without a norm are fastest so

    def __init__(
        self, grid: tuple[int, int], *, causal: bool = True, width: int, depth: int, scales: int, dropout: float
    ) -> None:
        super().__init__()
        if scales > 1 and 2 ** (scales - 2) >= max(grid):
            raise ConfigError(f"trunk.scales={scales}: {grid[0]}x{grid[1]} pixels are one before the last scale")
        self.width, self.grid = width, grid
        self.above, self.above_h = RowConv(width, width), nn.Conv2d(width, width, (1, 3), padding=(0, 1))
        self.left = nn.Conv2d(width, width, 1)
        self.scale = Scale(width, depth, scales, dropout)

    def forward(self, h: Tensor, cond: Tensor) -> Tensor:
        x = rearrange(h, "b h w d -> b d h w")
        below, beside = F.pad(x, (0, 0, 1, 0))[:, :, :-1], F.pad(x, (1, 0))[..., :-1]  # moved on by a row, by a column
        _, h = self.scale(self.above(below), self.above_h(below) + self.left(beside), cond, self.run)
        return rearrange(F.elu(h), "b d h w -> b h w d")

    def start(self, cond: Tensor) -> PixelCNNPPCache:
        """An empty cache for as many images as cond (B,D) has rows."""
        columns = self.grid[1]
        inputs, from_above = (cond.new_zeros(*cond.shape, columns) for _ in range(2))
        above, scale = self.above.start(cond, columns), self.scale.start(cond, columns)
        return PixelCNNPPCache(above, inputs, from_above, scale)

    def step(self, h: Tensor | None, cache: PixelCNNPPCache) -> Tensor:
        """The input (B,D) at the place before the next one in raster order (None at the first) -> its output (B,D)."""
        r, c = divmod(cache.place, self.grid[1])
        cache.place += 1
        if h is not None:
            cache.inputs[:, :, c - 1] = h  # at the start of a row, the last of the row above
        if c == 0:
            self.above.push(cache.inputs, cache.above)
            self.scale.row(self.above.row(cache.above), r, cache.scale)
            cache.from_above.copy_(self.above_h(cache.inputs[:, :, None])[:, :, 0])
        left = torch.zeros_like(cache.inputs[:, :, 0]) if c == 0 else h
        mixed = cache.from_above[:, :, c] + F.linear(left, self.left.weight[:, :, 0, 0], self.left.bias)
        return F.elu(self.scale.pixel(mixed, r, c, cache.scale))
