"""What lies between the images and a generator: the pixels themselves, or the codes of a trained autoencoder.

A family is built on a codec's own geometry, `codec.spec`, and meets images through it alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from genvision.probability.units import to_pixels, to_unit
from genvision.spec import Batch, Draw, ImageSpec


class Codec(nn.Module):
    """Images (B,C,H,W) uint8 to and from what a generator works on. Frozen: it never trains and never drops out.

    spec      geometry of the codes, which a family's networks are built on
    kinds     what it gives: "values" (floats), "tokens" (integers), or both
    lossless  whether the likelihood of a code is the likelihood of its image
    limit     absolute value that no value of a code passes
    """

    spec: ImageSpec
    kinds: tuple[str, ...] = ()
    lossless = False
    limit = math.inf

    def values(self, batch: Batch, draw: Draw, dtype: torch.dtype) -> Tensor:
        """(B,*spec.shape) floats of about unit size."""
        raise NotImplementedError

    def from_values(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Values (B,*spec.shape) -> images (B,C,H,W) uint8; y (B,) labels."""
        raise NotImplementedError

    def tokens(self, batch: Batch) -> Tensor:
        """(B,*spec.shape) integers 0..levels-1."""
        raise NotImplementedError

    def from_tokens(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Integers (B,*spec.shape) -> images (B,C,H,W) uint8; y (B,) labels."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Codec:
        return super().train(False)


class PixelCodec(Codec):
    """The identity: values are pixels in [-1, 1], tokens are the pixels."""

    kinds = ("values", "tokens")
    lossless = True
    limit = 1.0

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self.spec = spec

    def values(self, batch: Batch, draw: Draw, dtype: torch.dtype) -> Tensor:
        return to_unit(batch.images, self.spec.levels, dtype)

    def from_values(self, x: Tensor, y: Tensor | None) -> Tensor:
        return to_pixels(x, self.spec.levels)

    def tokens(self, batch: Batch) -> Tensor:
        return batch.images

    def from_tokens(self, x: Tensor, y: Tensor | None) -> Tensor:
        return x
