"""The Vision Transformer trunk: attention between tokens, or to those before (Dosovitskiy et al. 2021)."""

from __future__ import annotations

from typing import Any

from genvision.errors import ConfigError
from genvision.layers.attention import Attention
from genvision.layers.block import Block
from genvision.layers.linformer import LinformerAttention
from genvision.layers.performer import PerformerAttention
from genvision.layers.relative_attention import RelativeAttention
from genvision.layers.window_attention import WindowAttention
from genvision.trunks.tokens import TokenTrunk

ATTENTION = {
    "full": Attention,
    "window": WindowAttention,
    "linformer": LinformerAttention,
    "performer": PerformerAttention,
}


class ViTTrunk(TokenTrunk):
    """Options as in `genvision.config.trunks.ViTTrunkConfig`; those of another kind of attention are not looked at.

    Raises ConfigError where the kind cannot be causal but should, or cannot hold a class token.
    """

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
        window_size: int | None = None,
        linformer_rank: int | None = None,
        performer_features: int | None = None,
        dropout: float,
    ) -> None:
        kind, prefix = ATTENTION[attention], int(class_token)
        if causal and not kind.can_be_causal:
            able = ", ".join(name for name, other in ATTENTION.items() if other.can_be_causal)
            raise ConfigError(f"trunk.attention={attention} cannot be causal; kinds that can: {able}")
        if position == "relative":
            if attention != "full":
                raise ConfigError(f"trunk.position=relative: attention={attention} has no table of pairs; use rotary")
            kind = RelativeAttention
        if prefix and attention == "window":
            raise ConfigError(
                "trunk.class_token=true: windows hold tokens of the grid alone; take another trunk.attention"
            )

        def own(layer: int) -> dict[str, Any]:
            return {
                "full": {"grid": grid} if position == "relative" else {},
                "window": {"grid": grid, "window": window_size, "shifted": layer % 2 == 1},
                "linformer": {"tokens": prefix + grid[0] * grid[1], "rank": linformer_rank},
                "performer": {"features": performer_features},
            }[attention]

        def block(layer: int) -> Block:
            rotary = grid if position == "rotary" else None
            mixing = kind(width, head_width, causal=causal, rotary=rotary, prefix=prefix, dropout=dropout, **own(layer))
            return Block(width, mixing, round(mlp_ratio * width), dropout)

        blocks = [block(layer) for layer in range(depth)]
        super().__init__(grid, width, blocks, position=position, causal=causal, class_token=class_token)
