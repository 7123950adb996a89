"""Self-attention inside windows of the token grid, which every second layer shifts by half a window (Swin)."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional as F

from genvision.layers.attention import Attention, attend


class WindowAttention(Attention):
    """(B,h*w,D) -> (B,h*w,D): a token attends to its own window alone (Liu et al. 2021, sections 3.1 and 3.2).

    grid     (h, w) tokens, any size: the last windows are filled up with tokens that nobody attends to
    window   tokens per side of a window; a side with fewer is one window
    shifted  windows begin half a window later; the rest of the grid is rolled to its end, so that their number stays,
             and a mask keeps apart what was not together. A side of 8 in windows of 4, as one letter per region:

                 plain    a a a a b b b b
                 shifted  c c a a a a b b  ->  rolled  a a a a|b b c c   b and c share a window, not their contents

    Positions are the trunk's; there is no bias of relative positions. Neighbours on all sides are seen: never causal.
    """

    can_be_causal = False

    def __init__(self, width: int, head_width: int, *, grid: tuple[int, int], window: int, shifted: bool, **options):
        super().__init__(width, head_width, **options)
        self.grid = grid
        self.window = min(window, grid[0]), min(window, grid[1])
        self.fill = -grid[0] % self.window[0], -grid[1] % self.window[1]
        # a side that is one window has nowhere to be shifted
        self.shift = tuple(size // 2 if shifted and size < n else 0 for size, n in zip(self.window, grid, strict=True))
        mask = self._together()
        self.register_buffer("mask", None if mask.all() else torch.tensor(mask), persistent=False)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mask, n = self.mask, q.shape[1]
        if mask is not None:
            mask = repeat(mask, "windows i j -> (windows n) i j", n=n)
        mixed = attend(*(self._cut(x) for x in (q, k, v)), mask=mask, p_drop=self.p_drop)
        return self._join(mixed, n)

    def _cut(self, x: Tensor) -> Tensor:
        """(B,heads,h*w,d) -> (B,windows*heads,tokens of a window,d)."""
        x = rearrange(x, "b n (h w) d -> b n h w d", h=self.grid[0])
        x = F.pad(x, (0, 0, 0, self.fill[1], 0, self.fill[0])).roll((-self.shift[0], -self.shift[1]), (2, 3))
        return rearrange(x, "b n (i s) (j t) d -> b (i j n) (s t) d", s=self.window[0], t=self.window[1])

    def _join(self, x: Tensor, n: int) -> Tensor:
        """The inverse of `_cut`."""
        rows = (self.grid[0] + self.fill[0]) // self.window[0]
        x = rearrange(x, "b (i j n) (s t) d -> b n (i s) (j t) d", i=rows, n=n, s=self.window[0])
        x = x.roll(self.shift, (2, 3))[:, :, : self.grid[0], : self.grid[1]]
        return rearrange(x, "b n h w d -> b n (h w) d")

    def _together(self) -> np.ndarray:
        """(windows, tokens, tokens): whether the first may attend to the second, a real token of its own region."""
        sides = [
            (np.arange(n + fill) + shift) % (n + fill)  # the place from which each was rolled
            for n, fill, shift in zip(self.grid, self.fill, self.shift, strict=True)
        ]
        rolled = [side < shift for side, shift in zip(sides, self.shift, strict=True)]
        real = [side < n for side, n in zip(sides, self.grid, strict=True)]
        region = 2 * rolled[0][:, None] + rolled[1]
        region, real = (
            rearrange(x, "(i s) (j t) -> (i j) (s t)", s=self.window[0], t=self.window[1])
            for x in (region, real[0][:, None] & real[1])
        )
        same = region[:, :, None] == region[:, None]
        return same & real[:, None] | np.eye(region.shape[1], dtype=bool)  # a filled-in token has itself to attend to
