"""The MLP-Mixer trunk: an MLP over tokens, then one over channels (Tolstikhin et al. 2021)."""

from __future__ import annotations

from genvision.errors import ConfigError
from genvision.layers.block import Block
from genvision.layers.token_mlp import TokenMLP
from genvision.trunks.tokens import TokenTrunk


class MixerTrunk(TokenTrunk):
    """Options as in `genvision.config.trunks.MixerTrunkConfig`. Its weights fix the number of tokens."""

    def __init__(
        self,
        grid: tuple[int, int],
        *,
        causal: bool = False,
        width: int,
        depth: int,
        token_ratio: float,
        channel_ratio: float,
        position: str,
        dropout: float,
    ) -> None:
        if position == "rotary":
            raise ConfigError("trunk.position=rotary rotates queries and keys, which a mixer lacks; use learned")
        tokens = grid[0] * grid[1]
        blocks = [
            Block(width, TokenMLP(tokens, token_ratio, causal=causal), round(channel_ratio * width), dropout)
            for _ in range(depth)
        ]
        super().__init__(grid, width, blocks, position=position, causal=causal)
