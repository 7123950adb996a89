"""What an image set looks like, and what one training batch holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # the configuration layer reads this file and must answer without importing torch
    from torch import Tensor


class ImageSpec(NamedTuple):
    """Geometry of the images a family generates.

    channels, height, width  pixels of one image
    classes                  number of labels; 0 means unconditional
    levels                   values a pixel can take: 256 for 8-bit images, fewer for toys
    ordinal                  whether they are amounts; False: names, such as the codes of a codebook
    """

    channels: int
    height: int
    width: int
    classes: int = 0
    levels: int = 256
    ordinal: bool = True

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width

    @property
    def dims(self) -> int:
        """C*H*W, the divisor of bits per dimension."""
        return self.channels * self.height * self.width


class Batch(NamedTuple):
    """One batch as the data layer hands it out: images (B,C,H,W) uint8, labels (B,) int64 or None."""

    images: Tensor
    labels: Tensor | None = None


class Draw(NamedTuple):
    """Whose noise this is: random numbers are a pure function of (seed, step, slot).

    seed   the run's or the sampler's seed
    step   optimizer step; drives warm-ups too. 0 when sampling
    slots  (B,) int64, global position of each example in the batch (training) or index of each image (sampling)
    """

    seed: int
    step: int
    slots: Tensor
