"""Trunks by name. Every one maps h (B,H,W,D) and cond (B,D) to (B,H,W,D).

A causal one, whose output i sees inputs < i in raster order, can also be walked place by place, in eval mode:

    start(cond) -> cache       for as many images as cond (B,D) has rows; computes what depends on cond alone
    step(h, cache) -> (B,D)    the output at the next place, from the input h (B,D) just before it, None at the first

The cache holds the position and all that is remembered, allocated once. The outputs are those of `forward` up to
rounding, and all steps together cost about one forward pass: nothing is computed twice.
"""

from __future__ import annotations

from typing import Any

from genvision.errors import ConfigError
from genvision.trunks.conv import ConvTrunk
from genvision.trunks.mixer import MixerTrunk
from genvision.trunks.pixelcnn import PixelCNNTrunk
from genvision.trunks.pixelcnnpp import PixelCNNPPTrunk
from genvision.trunks.unet import UNetTrunk
from genvision.trunks.vit import ViTTrunk

TRUNKS = {
    "conv": ConvTrunk,
    "unet": UNetTrunk,
    "pixelcnn": PixelCNNTrunk,
    "pixelcnnpp": PixelCNNPPTrunk,
    "vit": ViTTrunk,
    "mixer": MixerTrunk,
}


def make_trunk(options: dict[str, Any], grid: tuple[int, int], *, causal: bool = False):
    """The trunk {"name": ..., options} on a token grid (h, w), in its causal form where asked."""
    options = dict(options)
    name = options.pop("name")
    if name not in TRUNKS:
        raise ConfigError(f"trunk.name={name} is unknown; trunks are {', '.join(TRUNKS)}")
    if causal:
        options["causal"] = True
    return TRUNKS[name](grid, **options)
