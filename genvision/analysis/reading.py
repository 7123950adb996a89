"""Classifiers of tokens that differ in which of them the head reads."""

from __future__ import annotations

from dataclasses import asdict
from math import prod

import torch
from torch import Tensor, nn

from genvision.analysis.classifiers import CLASSIFIERS, DEPTH, PATCH
from genvision.config.trunks import TRUNK_CONFIGS
from genvision.layers.attention import Attention
from genvision.layers.block import Block
from genvision.layers.positions import Learned
from genvision.layers.resample import PatchStem
from genvision.layers.token_mlp import TokenMLP
from genvision.spec import ImageSpec

MEAN, ONE, TOKEN, MLP = "mean of all", "one token", "class token", "class token, MLP"
HEADS = (MEAN, ONE, TOKEN, MLP)


class Reader(nn.Module):
    """(B,C,H,W) uint8 -> (B,K) logits: patches, learned positions, blocks of a ViT or a Mixer, a head of HEADS.

    A class token goes before the others through every block; the token-MLPs of a Mixer have a place more for it.
    """

    def __init__(self, backbone: str, head: str, spec: ImageSpec) -> None:
        super().__init__()
        trunk, own = CLASSIFIERS[backbone]
        options = asdict(TRUNK_CONFIGS[trunk](depth=DEPTH, **own))
        width, grid = options["width"], (spec.height // PATCH, spec.width // PATCH)
        self.head, tokens = head, prod(grid)
        self.class_token = nn.Parameter(0.02 * torch.randn(width)) if head in (TOKEN, MLP) else None
        self.stem, self.position = PatchStem(spec.channels, width, PATCH), Learned(grid, width)
        places = tokens + (self.class_token is not None)

        def block() -> Block:
            if backbone == "vit":
                return Block(width, Attention(width, options["head_width"]), round(options["mlp_ratio"] * width))
            hidden = round(options["channel_ratio"] * width)
            return Block(width, TokenMLP(places, options["token_ratio"]), hidden)

        self.blocks = nn.ModuleList(block() for _ in range(DEPTH))
        self.norm = nn.LayerNorm(width)
        before = [nn.Linear(width, width), nn.GELU()] if head == MLP else []
        self.out = nn.Sequential(*before, nn.Linear(width, spec.classes))

    def forward(self, images: Tensor) -> Tensor:
        h = self.position(self.stem(images.float() / 127.5 - 1)).flatten(1, 2)
        if self.class_token is not None:
            h = torch.cat([self.class_token.expand(len(h), 1, -1), h], 1)
        cond = torch.zeros(len(h), h.shape[2])  # the blocks' biases alone steer them
        for block in self.blocks:
            h = block(h, cond)
        return self.out(self.read(self.norm(h)))

    def read(self, h: Tensor) -> Tensor:
        """(B,T,D) -> (B,D); the one token is that in the middle of the raster."""
        if self.class_token is not None:
            return h[:, 0]
        return h.mean(1) if self.head == MEAN else h[:, h.shape[1] // 2]
