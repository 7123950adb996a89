"""Self-attention over tokens, full or causal, with optional 2-D rotary positions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers.models.embeddings import apply_rotary_emb, get_2d_rotary_pos_embed
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from genvision.errors import ConfigError


@dataclass
class AttentionCache:
    """What causal attention remembers of the tokens it was given one by one."""

    past: Tensor  # (2,B,heads,T,d): keys and values, allocated for the whole sequence
    position: int = 0  # of the next token


class Attention(nn.Module):
    """Multi-head self-attention (B,T,D) -> (B,T,D) (Vaswani et al. 2017, section 3.2).

    Other kinds of attention are subclasses that mix the heads in another way.

    width       D, a multiple of head_width
    head_width  channels per head
    causal      token i attends to tokens <= i only:    1 . . .
                                                        1 1 . .
                                                        1 1 1 .
                                                        1 1 1 1
    rotary      (h, w) token grid for 2-D rotary positions (Su et al. 2021), or None
    prefix      tokens before the grid (a class token) that stay unrotated
    dropout     of the attention weights, in training only
    """

    can_be_causal = True

    def __init__(
        self,
        width: int,
        head_width: int,
        *,
        causal: bool = False,
        rotary: tuple[int, int] | None = None,
        prefix: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if width % head_width:
            raise ConfigError(f"trunk.width={width} is not a multiple of trunk.head_width={head_width}; change one")
        self.head_width, self.causal, self.dropout = head_width, causal, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        cos, sin = _rotation(head_width, rotary, prefix) if rotary else (None, None)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(h), "b t (three n d) -> three b n t d", three=3, d=self.head_width)
        if self.cos is not None:
            q, k = (apply_rotary_emb(x, (self.cos, self.sin)).to(v.dtype) for x in (q, k))
        return self.out(rearrange(self.mix(q, k, v), "b n t d -> b t (n d)"))

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Queries, keys and values (B,heads,T,d) -> what each token takes from those it attends to, of one shape."""
        return attend(q, k, v, causal=self.causal, p_drop=self.p_drop)

    @property
    def p_drop(self) -> float:
        """The dropout that is in force."""
        return self.dropout if self.training else 0.0

    def start(self, n: int, tokens: int, width: int) -> AttentionCache:
        """An empty cache for n sequences of `tokens` tokens."""
        return AttentionCache(self.out.weight.new_empty(2, n, width // self.head_width, tokens, self.head_width))

    def step(self, h: Tensor, cache: AttentionCache) -> Tensor:
        """The next token (B,D) -> what the causal `forward` gives at its place."""
        i, cache.position = cache.position, cache.position + 1
        qkv = rearrange(self.qkv(h), "b (three n d) -> three b n d", three=3, d=self.head_width)
        if self.cos is not None:
            rotation = self.cos[i : i + 1], self.sin[i : i + 1]
            qkv = torch.cat([apply_rotary_emb(qkv[:2], rotation).to(h.dtype), qkv[2:]])
        cache.past[:, :, :, i] = qkv[1:]
        k, v = cache.past[:, :, :, : i + 1]
        mixed = F.scaled_dot_product_attention(qkv[0, :, :, None], k, v)
        return self.out(rearrange(mixed, "b n 1 d -> b (n d)"))


def attend(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, p_drop: float = 0.0, mask: Tensor | None = None
) -> Tensor:
    """softmax(q k^T / sqrt(d)) v for (B,heads,T,d); where a boolean mask is False, a token may not attend.

    On a CPU in float32 even under bfloat16 autocast: the bfloat16 backward pass of the flash kernel takes 2 to 4 times
    as long there for 49 to 196 tokens, and as long for 784.
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, dropout_p=p_drop)
    dtype = torch.promote_types(q.dtype, torch.float32)
    with torch.autocast("cpu", enabled=False):
        mixed = F.scaled_dot_product_attention(
            q.to(dtype), k.to(dtype), v.to(dtype), mask, is_causal=causal, dropout_p=p_drop
        )
    return mixed.to(v.dtype)


def _rotation(head_width: int, grid: tuple[int, int], prefix: int) -> tuple[Tensor, Tensor]:
    """cos and sin (prefix + h*w, head_width); half of the channels rotate with the row, half with the column."""
    if head_width % 4:
        raise ConfigError(f"trunk.head_width={head_width} must be a multiple of 4 for trunk.position=rotary")
    cos, sin = get_2d_rotary_pos_embed(head_width, ((0, 0), grid), grid, output_type="pt")
    still = torch.ones(prefix, head_width), torch.zeros(prefix, head_width)
    return torch.cat([still[0], cos.float()]), torch.cat([still[1], sin.float()])
