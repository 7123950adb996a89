"""The MLP-Mixer trunk: an MLP over tokens, then one over channels (Tolstikhin et al. 2021)."""

from __future__ import annotations

import torch

from genvision.errors import ConfigError
from genvision.layers.block import Block
from genvision.layers.masked import count_parameters
from genvision.layers.token_mlp import TokenMLP
from genvision.trunks.tokens import TokenTrunk

MOST_TOKEN_WEIGHTS = 4_000_000  # a layer: 1,414 tokens, or 1,999 where half of the weights are masked away


class MixerTrunk(TokenTrunk):
    """Options as in `genvision.config.trunks.MixerTrunkConfig`. Its weights fix the number of tokens.

    Raises ConfigError where those between tokens, which no width makes fewer, are more than MOST_TOKEN_WEIGHTS a layer.
    """

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
        if position in ("rotary", "relative"):
            raise ConfigError(f"trunk.position={position} is about queries and keys, which a mixer lacks; use learned")
        tokens = grid[0] * grid[1]
        with torch.device("meta"):
            floor = count_parameters(TokenMLP(tokens, token_ratio, causal=causal))
        if floor > MOST_TOKEN_WEIGHTS:
            fewer = "smaller images, or codes of a codec.run" if causal else "a larger patch"
            raise ConfigError(
                f"a mixer of {grid[0]}x{grid[1]} tokens has {floor:,} weights a layer between tokens alone, where "
                f"{MOST_TOKEN_WEIGHTS:,} are the most; take {fewer}, or another backbone"
            )
        blocks = [
            Block(width, TokenMLP(tokens, token_ratio, causal=causal), round(channel_ratio * width), dropout)
            for _ in range(depth)
        ]
        super().__init__(grid, width, blocks, position=position, causal=causal)
