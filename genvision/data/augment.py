"""Random flips and crops of uint8 images, each a pure function of (seed, step, slot)."""

from __future__ import annotations

import torch
from torch import Tensor

from genvision.errors import ConfigError
from genvision.probability.randomness import Stream, uniform
from genvision.spec import Draw


class Augment:
    """(B,C,H,W) uint8 -> the same, augmented.

    flip          mirrors a row left to right with probability 1/2
    crop_padding  shifts a row by up to so many pixels each way; the border is filled by reflection
    Raises ConfigError for a padding that an image cannot reflect.
    """

    def __init__(self, seed: int, flip: bool, crop_padding: int, height: int, width: int) -> None:
        if not 0 <= crop_padding < min(height, width):
            raise ConfigError(
                f"data.crop_padding={crop_padding}: must be at least 0 and smaller than both sides of {height}x{width}"
            )
        self.seed, self.flip, self.crop_padding = seed, flip, crop_padding

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        """Augment the images of `draw.slots` at `draw.step`; `draw.seed` is not read."""
        if not (self.flip or self.crop_padding):
            return images
        # All three numbers are always drawn, so that switching one augmentation leaves the other as it was.
        u = uniform(Draw(self.seed, draw.step, draw.slots), Stream.AUGMENT, 3).to(images.device)
        return _augmented(images, u, self.flip, self.crop_padding)


def _augmented(images: Tensor, u: Tensor, flip: bool, padding: int) -> Tensor:
    """Random crops of the reflection-padded images, then random flips, as one gather. u  (B,3) in [0,1)."""
    height, width = images.shape[-2:]
    rows, columns = _window(u[:, 1], height, padding), _window(u[:, 2], width, padding)
    if flip:
        columns = torch.where(u[:, :1] < 0.5, columns.flip(1), columns)
    source = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)[:, None]  # (B,1,H*W)
    pixels = images.flatten(2)
    return pixels.gather(2, source.expand_as(pixels)).unflatten(2, (height, width))


def _window(u: Tensor, size: int, padding: int) -> Tensor:
    """(B,) in [0,1) -> (B, size) source coordinates: a window moved by -padding..padding, mirrored at both ends."""
    moved = (u * (2 * padding + 1)).long().clamp(max=2 * padding) - padding  # the product may round up to the end
    place = (torch.arange(size, device=u.device) + moved[:, None]).abs()
    return torch.minimum(place, 2 * (size - 1) - place)
