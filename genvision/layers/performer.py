"""Self-attention through positive random features: linear in the number of tokens, causal or not (Performer)."""

from __future__ import annotations

import contextlib

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from genvision.layers.attention import Attention

LIMIT = 40.0  # of key exponents: sums over any number of tokens stay inside float32, and none of them is 0


class PerformerAttention(Attention):
    """(B,T,D) -> (B,T,D): FAVOR+, an estimate of softmax attention (Choromanski et al. 2021, lemma 1 and section 2.3).

        exp(q.k) = E_w[phi(q) phi(k)],  phi(x) = exp(w.x - |x|^2 / 2),  w ~ N(0, 1),  q and k over d^1/4

    features  m directions w, drawn with the weights and saved with them; orthogonal in groups of d. The error falls
              as m^-1/2

    The sums of phi(k) v and phi(k) over tokens are all that a query needs, over the tokens so far where it is causal.
    Computed in float32 at least. No weight of a pair is ever known, so that `dropout` is left to the block.
    """

    def __init__(self, width: int, head_width: int, *, features: int, **options) -> None:
        super().__init__(width, head_width, **options)
        self.register_buffer("directions", orthogonal_directions(features, head_width))

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        dtype = torch.promote_types(v.dtype, torch.float32)
        with contextlib.nullcontext() if v.is_meta else torch.autocast(v.device.type, enabled=False):
            q, k = self.query_features(q.to(dtype)), self.key_features(k.to(dtype))
            values = F.pad(v.to(dtype), (0, 1), value=1.0)  # the last channel sums to the denominator
            sums = prefix_sums(q, k, values) if self.causal else q @ torch.einsum("bntm,bnte->bnme", k, values)
            return (sums[..., :-1] / sums[..., -1:]).to(v.dtype)

    def exponents(self, x: Tensor) -> Tensor:
        """(B,heads,T,d) -> (B,heads,T,m): w.x - |x|^2 / 2, for x over d^1/4."""
        x = x * self.head_width**-0.25
        return x @ self.directions.to(x.dtype).mT - x.square().sum(-1, keepdim=True) / 2

    def query_features(self, q: Tensor) -> Tensor:
        """phi(q) up to a factor per query, which the denominator takes out again: the largest is 1."""
        exponents = self.exponents(q)
        return (exponents - exponents.amax(-1, keepdim=True).detach()).exp()

    def key_features(self, k: Tensor) -> Tensor:
        """phi(k). A common factor taken from the keys, as queries have it, would round by what comes later."""
        return self.exponents(k).clamp(-LIMIT, LIMIT).exp()


def prefix_sums(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """sum_{j <= i} (q_i.k_j) v_j for q and k (B,heads,T,m) and v (B,heads,T,e) -> (B,heads,T,e).

    In chunks of m tokens: pairs inside a chunk one by one, all earlier chunks through their sum (m,e). There are T/m
    such sums, which together are no larger than v; one per token would be m times as large.
    """
    tokens, size = q.shape[2], min(q.shape[2:])
    q, k, v = (rearrange(F.pad(x, (0, 0, 0, -tokens % size)), "b n (c t) m -> b n c t m", t=size) for x in (q, k, v))
    inside = (q @ k.mT).tril() @ v
    sums = torch.einsum("bnctm,bncte->bncme", k, v)
    before = F.pad(sums, (0, 0, 0, 0, 1, -1)).cumsum(2)  # chunk c: those before it
    return rearrange(inside + q @ before, "b n c t e -> b n (c t) e")[:, :, :tokens]


def orthogonal_directions(count: int, width: int) -> Tensor:
    """(count, width): each row as N(0, 1) alone, rows of a group of `width` at right angles (section 2.4)."""
    groups = []
    for _ in range(-(-count // width)):
        q, r = torch.linalg.qr(torch.randn(width, width))
        groups.append((q * r.diagonal().sign()).mT)  # without the signs, no direction would point to every side
    return torch.cat(groups)[:count] * torch.randn(count, width).norm(dim=1, keepdim=True)
