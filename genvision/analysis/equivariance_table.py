"""What shifts do to trunks, block by block. The table of the study `equivariance`.

Networks here are untrained, every weight moved from its start so that no branch is closed: equivariance is a property
of how they are built. Everything is float64, so that what is exact can be told from what is small.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genvision.analysis.capture import capture
from genvision.analysis.runs import Runs
from genvision.analysis.shifting import CONVOLUTIONS, demonstrated, relative, rolled
from genvision.analysis.study import Rows, Setting
from genvision.config.trunks import TRUNK_CONFIGS
from genvision.networks import Encoder
from genvision.spec import ImageSpec

SIDE, WIDTH, PATCH = 32, 32, 4
# what is shifted -> trunk, its options, pixels per token and side
NETWORKS: dict[str, tuple[str, dict[str, Any], int]] = {
    "convolution, circular": ("conv", {}, 1),
    "convolution, zeros": ("conv", {}, 1),
    "ViT without positions": ("vit", {"position": "none"}, PATCH),
    "ViT with positions": ("vit", {"position": "learned"}, PATCH),
    "Mixer": ("mixer", {}, PATCH),
}
POOLS = {
    "no pooling": lambda x: x,
    "mean pooling": lambda x: F.avg_pool2d(x, 2),
    "max pooling": lambda x: F.max_pool2d(x, 2),
}


class Named(nn.Module):
    """An encoder under the names that `capture` gives."""

    def __init__(self, name: str, depth: int) -> None:
        super().__init__()
        trunk, options, self.patch = NETWORKS[name]
        whole = asdict(TRUNK_CONFIGS[trunk](width=WIDTH, depth=depth, **options))
        self.net = Encoder(ImageSpec(1, SIDE, SIDE)._asdict(), whole, WIDTH, self.patch).double().eval()
        with torch.no_grad():
            for p in self.net.parameters():
                p.add_(0.1 * torch.randn_like(p))
        if name.endswith("circular"):
            for module in self.net.modules():
                if isinstance(module, nn.Conv2d):
                    module.padding_mode = "circular"
                    module._reversed_padding_repeated_twice = [side for side in module.padding for _ in range(2)]

    def activations(self, images: Tensor) -> dict[str, Tensor]:
        """{site: (B,h,w,C)}"""
        return capture(self.net, lambda: self.net(images))


def measure(setting: Setting, runs: Runs) -> Rows:
    return [*demonstrations(setting), *blocks(setting), *pools(setting)]


def demonstrations(setting: Setting) -> Iterator[dict[str, Any]]:
    """The article's picture, convolved and shifted in both orders."""
    for name in CONVOLUTIONS:
        for shift in range(setting["demo_shifts"]):
            row = {"part": "demonstration", "what": name, "block": "", "shift": shift, "seed": 0}
            yield row | {"value": demonstrated(name, shift)}


def blocks(setting: Setting) -> Iterator[dict[str, Any]]:
    """Two errors of every block under circular shifts of the image by (shift, shift) pixels, each a relative norm.

    equivariance  of the shifted activations and those of the shifted image; where a shift is no whole number of tokens,
                  the activations are shifted by the nearest one
    invariance    of the activations' mean over positions
    inside        as equivariance, where neither image is nearer to its border than zeros beyond it can reach
    """
    for seed in setting["seeds"]:
        torch.manual_seed(seed)
        images = torch.randn(setting["images"], 1, SIDE, SIDE, dtype=torch.float64)
        for name in NETWORKS:
            network = Named(name, setting["depth"])
            still = network.activations(images)
            for shift in setting["shifts"]:
                moved = network.activations(images.roll((shift, shift), (2, 3)))
                for site, h in still.items():
                    if site.endswith("mixing"):
                        continue
                    expected = rolled(h, *[round(shift / network.patch)] * 2)
                    row = {"what": name, "block": site, "shift": shift, "seed": seed}
                    yield row | {"part": "equivariance", "value": relative(moved[site], expected)}
                    means = [each.mean((1, 2)) for each in (moved[site], h)]
                    yield row | {"part": "invariance", "value": relative(*means)}
                    near = reach(site, setting["depth"])
                    if name == "convolution, zeros" and 2 * near + shift < SIDE:
                        inner = (slice(None), *[slice(near + shift, SIDE - near)] * 2)
                        yield row | {"part": "inside", "value": relative(moved[site][inner], expected[inner])}


def reach(site: str, depth: int) -> int:
    """Pixels from the border that convolutions carry zeros from beyond it: one each, of which a block has two."""
    if site == "stem":
        return 1
    return 1 + 2 * (depth if site == "trunk" else int(site.split(".")[2]) + 1)


def pools(setting: Setting) -> Iterator[dict[str, Any]]:
    """Smooth random maps before and after pooling by two, under circular shifts."""
    for seed in setting["seeds"]:
        torch.manual_seed(seed)
        noise = torch.randn(setting["images"], 8, SIDE, SIDE, dtype=torch.float64)
        maps = F.avg_pool2d(F.pad(noise, (1, 1, 1, 1), mode="circular"), 3, stride=1)
        for name, pool in POOLS.items():
            scale = SIDE // pool(maps).shape[2]
            for shift in setting["pool_shifts"]:
                moved, still = pool(maps.roll((shift, shift), (2, 3))), pool(maps)
                row = {"what": name, "block": "", "shift": shift, "seed": seed}
                by = [shift // scale] * 2
                yield row | {"part": "pooled", "value": relative(moved, still.roll(by, (2, 3)))}
                yield row | {"part": "change", "value": relative(moved, still)}
