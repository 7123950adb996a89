"""Causal layers one token at a time: the contract, and the weights as a step reads them.

A causal mixing offers, beside `forward`,

    start(n, tokens, width) -> cache    for n sequences of `tokens` tokens (B,D), allocated once
    step(h, cache) -> (B,D)             the next token (B,D) -> what `forward` gives at its place; it sees the tokens up
                                        to itself

in eval mode. The position lives in the cache, which holds all that a step reads, so that a step is a few products on
tensors at hand: einops and module calls, free beside a batch of images, would take longer than the arithmetic of one
token, and steps do without them.
"""

from __future__ import annotations

from torch import Tensor, nn

Affine = tuple[Tensor, Tensor]


def affine(layer: nn.Linear) -> Affine:
    """(weight (out,in), bias (out,)) of a layer, the longer axis of the weight contiguous in memory.

    On a CPU the product with a single row is up to twice as fast so.
    """
    wide = layer.out_features > layer.in_features
    return layer.weight.t().contiguous().t() if wide else layer.weight, layer.bias
