"""Self-attention to a few learned mixtures of the tokens: linear in their number (Linformer)."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn

from genvision.errors import ConfigError
from genvision.layers.attention import Attention, attend


class LinformerAttention(Attention):
    """(B,T,D) -> (B,T,D): softmax(q (E k)^T / sqrt(d)) F v (Wang et al. 2020, equation 7), E and F shared by the heads.

    tokens  T, which E and F fix
    rank    number of mixtures, at most T: E and F are (rank, T)

    Every mixture holds tokens from everywhere, so it cannot be causal.
    """

    can_be_causal = False

    def __init__(self, width: int, head_width: int, *, tokens: int, rank: int, **options) -> None:
        super().__init__(width, head_width, **options)
        if rank > tokens:
            raise ConfigError(
                f"trunk.linformer_rank={rank} is more than the {tokens} tokens of the grid; lower it, "
                "or take trunk.attention=full"
            )
        self.mix_keys = nn.Linear(tokens, rank, bias=False)
        self.mix_values = nn.Linear(tokens, rank, bias=False)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k, v = (rearrange(x, "b n t d -> b n d t") for x in (k, v))
        k, v = (rearrange(x, "b n d r -> b n r d") for x in (self.mix_keys(k), self.mix_values(v)))
        return attend(q, k, v, p_drop=self.p_drop)
