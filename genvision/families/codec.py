"""The codec seam: what stands between images and the numbers or tokens that a generator works on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genvision.errors import ConfigError
from genvision.probability.units import to_pixels, to_unit
from genvision.spec import Batch, Draw, ImageSpec


class Codec:
    """Images to a generator's own numbers or tokens, and back.

    spec   geometry of what the generator works on, on which its networks are built; its classes are those of the data
    state  what a generator must find again when it is loaded, as JSON values
    A codec has `values` and `from_values`, or `tokens` and `from_tokens`, or both; ConfigError names what can be used.
    """

    spec: ImageSpec
    state: dict[str, Any]

    def values(self, batch: Batch, draw: Draw, dtype: torch.dtype = torch.float32) -> Tensor:
        """The images as numbers (B,C,h,w) of about unit size."""
        raise ConfigError("this codec makes tokens, not numbers to denoise: name a vae of family.latent=gaussian")

    def from_values(self, values: Tensor, y: Tensor | None, draw: Draw) -> Tensor:
        """Numbers (B,C,h,w) -> images (B,C,H,W) uint8."""
        raise NotImplementedError

    def tokens(self, batch: Batch) -> Tensor:
        """The images as integers (B,C,h,w) below spec.levels."""
        raise ConfigError("this codec makes numbers, not tokens to predict: name a vae of family.latent=fsq or vq")

    def from_tokens(self, tokens: Tensor, y: Tensor | None, draw: Draw) -> Tensor:
        """Integers (B,C,h,w) -> images (B,C,H,W) uint8."""
        raise NotImplementedError


class PixelCodec(Codec):
    """The identity: numbers are pixels on [-1, 1], tokens are pixels."""

    def __init__(self, spec: ImageSpec) -> None:
        self.spec, self.state = spec, {}

    def values(self, batch: Batch, draw: Draw, dtype: torch.dtype = torch.float32) -> Tensor:
        return to_unit(batch.images, self.spec.levels, dtype)

    def from_values(self, values: Tensor, y: Tensor | None, draw: Draw) -> Tensor:
        return to_pixels(values, self.spec.levels)

    def tokens(self, batch: Batch) -> Tensor:
        return batch.images

    def from_tokens(self, tokens: Tensor, y: Tensor | None, draw: Draw) -> Tensor:
        return tokens.to(torch.uint8)
