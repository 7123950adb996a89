"""How far a network looks: where attention goes, and which pixels an activation hears of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from genvision.analysis.capture import capture
from genvision.layers.attention import Attention


@contextmanager
def recorded(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """While entered, {name of each full, bidirectional attention: its weights (B,heads,T,T)} of the last pass."""
    found: dict[str, Tensor] = {}

    def watch(name: str, attention: Attention) -> Callable[..., Tensor]:
        def mix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            found[name] = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)
            return type(attention).mix(attention, q, k, v)

        return mix

    watched = {name: part for name, part in network.named_modules() if type(part) is Attention and not part.causal}
    for name, attention in watched.items():
        attention.mix = watch(name, attention)  # shadows the method until it is deleted
    try:
        yield found
    finally:
        for attention in watched.values():
            del attention.mix


def distances(grid: tuple[int, int]) -> Tensor:
    """(T,T) Euclidean distances between the tokens of a grid, in tokens."""
    places = torch.cartesian_prod(*(torch.arange(float(side)) for side in grid))
    return torch.cdist(places, places)


def attention_distance(weights: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B,heads,T,T), rows of which sum to 1 -> (heads,) mean distance in tokens of what a token attends to."""
    tokens = grid[0] * grid[1]
    return (weights[..., -tokens:, -tokens:] * distances(grid).to(weights)).sum(-1).mean((0, 2))


def uniform_distance(grid: tuple[int, int]) -> float:
    """The same of attention to all tokens alike."""
    return distances(grid).mean().item()


def heard(network: nn.Module, run: Callable[[], Any], images: Tensor, names: list[str]) -> dict[str, Tensor]:
    """{name: (B,H,W)} the squared gradient of an activation in the middle of the grid to every pixel of its image.

    run     a forward pass on `images` (B,C,H,W), which must require gradients
    Luo et al. 2016, "Understanding the effective receptive field in deep convolutional neural networks"; of every
    activation one random mixture of its channels is taken, so that none cancels another.
    """
    found = {}
    activations = capture(network, run, names, gradients=True)
    for name, h in activations.items():
        middle = h[:, h.shape[1] // 2, h.shape[2] // 2]
        mixture = torch.randn(middle.shape[1], generator=torch.Generator().manual_seed(0)).to(middle)
        (slope,) = torch.autograd.grad((middle @ mixture).sum(), images, retain_graph=True)
        found[name] = slope.square().mean(1)
    return found


def width(field: Tensor) -> float:
    """The standard deviation, in pixels along one axis, of where an activation hears from (H,W)."""
    share = field.double() / field.double().sum()
    variances = []
    for axis in (0, 1):
        marginal = share.sum(1 - axis)
        places = torch.arange(len(marginal), dtype=torch.float64)
        variances.append((marginal * (places - marginal @ places) ** 2).sum())
    return float((sum(variances) / 2) ** 0.5)


def rollout(weights: list[Tensor]) -> Tensor:
    """Attention of layers (B,heads,T,T), first to last -> (B,T,T) how much of every input each output holds.

    The mean over heads, half of it the skip, multiplied from layer to layer; rows sum to 1 (Abnar & Zuidema 2020,
    "Quantifying attention flow in transformers", section 3).
    """
    flow = torch.eye(weights[0].shape[-1]).to(weights[0])
    for each in weights:
        flow = (each.mean(1) + torch.eye(each.shape[-1]).to(each)) / 2 @ flow
    return flow


def adaptivity(weights: Tensor) -> Tensor:
    """(B,heads,T,T) -> (heads,) total variation in [0, 1] between an image's attention and the mean of all images.

    0 where every image is attended to alike, as a fixed kernel does.
    """
    return (weights - weights.mean(0)).abs().sum(-1).mean((0, 2)) / 2
