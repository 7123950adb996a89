"""The Vision Transformer trunk: attention over all tokens, or over those before (Dosovitskiy et al. 2021)."""

from __future__ import annotations

from genvision.layers.attention import Attention
from genvision.layers.block import Block
from genvision.trunks.tokens import TokenTrunk


class ViTTrunk(TokenTrunk):
    """Options as in `genvision.config.trunks.ViTTrunkConfig`."""

    def __init__(
        self,
        grid: tuple[int, int],
        *,
        causal: bool = False,
        width: int,
        depth: int,
        head_width: int,
        mlp_ratio: float,
        position: str,
        class_token: bool,
        attention: str,
        dropout: float,
    ) -> None:
        def block() -> Block:
            mixing = Attention(
                width,
                head_width,
                causal=causal,
                rotary=grid if position == "rotary" else None,
                prefix=int(class_token),
                dropout=dropout,
            )
            return Block(width, mixing, round(mlp_ratio * width), dropout)

        blocks = [block() for _ in range(depth)]
        super().__init__(grid, width, blocks, position=position, causal=causal, class_token=class_token)
