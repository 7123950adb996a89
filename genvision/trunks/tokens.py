"""The isotropic trunk of token mixings: position embedding, blocks, norm. `vit` and `mixer` are two fillings of it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import prod

import torch
from einops import pack, rearrange
from torch import Tensor, nn

from genvision.layers.block import Block, BlockCache
from genvision.layers.positions import make_positions
from genvision.trunks.trunk import Trunk


@dataclass
class TokenTrunkCache:
    """What a causal token trunk remembers between tokens."""

    first: Tensor  # (B,D): the start token
    positions: Tensor | None  # (T,D)
    blocks: list[BlockCache]
    position: int = 0  # of the next token, in raster order


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
        self.width, self.grid = width, grid
        self.position = make_positions(position, grid, width)
        self.start_token = nn.Parameter(0.02 * torch.randn(width)) if causal else None
        self.class_token = nn.Parameter(0.02 * torch.randn(width)) if class_token else None
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, h: Tensor, cond: Tensor) -> Tensor:
        height = h.shape[1]
        if self.start_token is not None:
            h = shift(h, self.start_token)
        h = rearrange(self.position(h), "b h w d -> b (h w) d")
        if self.class_token is not None:
            h, _ = pack([self.class_token.to(h.dtype).expand(len(h), 1, -1), h], "b * d")
        for block in self.blocks:
            h = self.run(block, h, cond)
        if self.class_token is not None:
            h = h[:, 1:]
        return rearrange(self.norm(h), "b (h w) d -> b h w d", h=height)

    def start(self, cond: Tensor) -> TokenTrunkCache:
        """An empty cache for len(cond) sequences; a class token is there from the beginning."""
        assert self.start_token is not None, "only a causal trunk can be stepped"
        n, tokens = len(cond), prod(self.grid)
        prefix = [] if self.class_token is None else [self.class_token.expand(n, -1)]
        blocks = [block.start(cond, len(prefix) + tokens) for block in self.blocks]
        for h in prefix:
            self._step_blocks(h, blocks)
        return TokenTrunkCache(self.start_token.expand(n, -1), self.position.tokens(), blocks)

    def step(self, h: Tensor | None, cache: TokenTrunkCache) -> Tensor:
        """The token (B,D) before the next place, None at the first -> what `forward` gives at that place, (B,D)."""
        i, cache.position = cache.position, cache.position + 1
        h = cache.first if h is None else h
        h = h if cache.positions is None else h + cache.positions[i]
        with native_kernels():
            return self.norm(self._step_blocks(h, cache.blocks))

    def _step_blocks(self, h: Tensor, caches: list[BlockCache]) -> Tensor:
        for block, cache in zip(self.blocks, caches, strict=True):
            h = block.step(h, cache)
        return h


def native_kernels() -> AbstractContextManager[None]:
    """PyTorch's own kernels in place of oneDNN's: on one token a GELU takes 1 us so, and 8 where oneDNN is set up."""
    return torch.backends.mkldnn.flags(enabled=False, deterministic=None, allow_tf32=None, fp32_precision=None)


def shift(h: Tensor, start: Tensor) -> Tensor:
    """Move every token of (B,H,W,D) one place on in raster order; `start` (D,) takes the first place."""
    tokens = rearrange(h, "b h w d -> b (h w) d")
    tokens, _ = pack([start.to(h.dtype).expand(len(h), 1, -1), tokens[:, :-1]], "b * d")
    return rearrange(tokens, "b (h w) d -> b h w d", h=h.shape[1])
