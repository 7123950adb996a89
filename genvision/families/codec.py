"""What stands between the images and a generator: the pixels themselves, or the codes of a trained autoencoder.

A family is built on a codec's own geometry, `codec.spec`, and meets images through it alone.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from genvision.probability.units import to_pixels, to_unit
from genvision.spec import Batch, Draw, ImageSpec


class Codec:
    """Images (B,C,H,W) uint8 to what a generator works on, and back. It is no part of the generator's own weights.

    spec      geometry of the codes, which a family's networks are built on; its classes are those of the data
    kinds     what it offers: "values" (numbers), "tokens" (integers below spec.levels), or both
    lossless  whether the likelihood of a code is the likelihood of its image
    limit     absolute value that no value of a code passes
    state     what a generator must find again when it is loaded, as JSON values
    """

    spec: ImageSpec
    kinds: tuple[str, ...] = ()
    lossless = False
    limit = math.inf
    state: dict[str, Any]

    def values(self, batch: Batch, draw: Draw, dtype: torch.dtype) -> Tensor:
        """The images as numbers (B,*spec.shape) of about unit size."""
        raise NotImplementedError

    def from_values(self, x: Tensor, y: Tensor | None, draw: Draw) -> Tensor:
        """Numbers (B,*spec.shape) -> images (B,C,H,W) uint8; y (B,) labels."""
        raise NotImplementedError

    def tokens(self, batch: Batch) -> Tensor:
        """The images as integers (B,*spec.shape)."""
        raise NotImplementedError

    def from_tokens(self, x: Tensor, y: Tensor | None, draw: Draw) -> Tensor:
        """Integers (B,*spec.shape) -> images (B,C,H,W) uint8; y (B,) labels."""
        raise NotImplementedError

    def reconstruct(self, batch: Batch, draw: Draw) -> Tensor:
        """What comes back (B,C,H,W) uint8 of the images of a batch."""
        raise NotImplementedError


class PixelCodec(Codec):
    """The identity: values are pixels in [-1, 1], tokens are the pixels."""

    kinds = ("values", "tokens")
    lossless = True
    limit = 1.0

    def __init__(self, spec: ImageSpec) -> None:
        self.spec, self.state = spec, {}

    def values(self, batch: Batch, draw: Draw, dtype: torch.dtype) -> Tensor:
        return to_unit(batch.images, self.spec.levels, dtype)

    def from_values(self, x: Tensor, y: Tensor | None, draw: Draw) -> Tensor:
        return to_pixels(x, self.spec.levels)

    def tokens(self, batch: Batch) -> Tensor:
        return batch.images

    def from_tokens(self, x: Tensor, y: Tensor | None, draw: Draw) -> Tensor:
        return x
