"""The isotropic trunk of token mixings: position embedding, blocks, norm. `vit` and `mixer` are two fillings of it."""

from __future__ import annotations

import torch
from einops import pack, rearrange
from torch import Tensor, nn

from genvision.layers.block import Block
from genvision.layers.embedding import PositionEmbedding
from genvision.trunks.trunk import Trunk


class TokenTrunk(Trunk):
    """h (B,H,W,D), cond (B,D) -> (B,H,W,D), tokens in raster order.

    causal       shift the tokens by one first (a learned start token enters, the last token leaves), so that with
                 causal mixings output i sees inputs < i, strictly:

                     input    0 1 2 3
                     shifted  s 0 1 2
    class_token  a learned token before the grid that every mixing sees and the head does not (attention only)
    """

    stem = "patch"
    channels_last = True  # h is (B,H,W,D) in memory

    def __init__(
        self,
        grid: tuple[int, int],
        width: int,
        blocks: list[Block],
        *,
        position: str,
        causal: bool = False,
        class_token: bool = False,
    ) -> None:
        super().__init__()
        self.width = width
        self.position = PositionEmbedding(position, grid, width)
        self.start = nn.Parameter(0.02 * torch.randn(width)) if causal else None
        self.class_token = nn.Parameter(0.02 * torch.randn(width)) if class_token else None
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, h: Tensor, cond: Tensor) -> Tensor:
        height = h.shape[1]
        if self.start is not None:
            h = shift(h, self.start)
        h = rearrange(self.position(h), "b h w d -> b (h w) d")
        if self.class_token is not None:
            h, _ = pack([self.class_token.to(h.dtype).expand(len(h), 1, -1), h], "b * d")
        for block in self.blocks:
            h = self.run(block, h, cond)
        if self.class_token is not None:
            h = h[:, 1:]
        return rearrange(self.norm(h), "b (h w) d -> b h w d", h=height)


def shift(h: Tensor, start: Tensor) -> Tensor:
    """Move every token of (B,H,W,D) one place on in raster order; `start` (D,) takes the first place."""
    tokens = rearrange(h, "b h w d -> b (h w) d")
    tokens, _ = pack([start.to(h.dtype).expand(len(h), 1, -1), tokens[:, :-1]], "b * d")
    return rearrange(tokens, "b (h w) d -> b h w d", h=h.shape[1])
