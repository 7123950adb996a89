"""Training batches without workers or state: what a slot of a step holds is a pure function of (seed, step, slot)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from genvision.data.image_set import ImageSet
from genvision.errors import ConfigError
from genvision.probability.randomness import Stream, generator, uniform
from genvision.spec import Batch, Draw


class Batches:
    """An infinite stream of augmented training images over one resident uint8 tensor.

    Slot s of step k is position k * batch_size + s of a stream that holds the permutation of epoch 0, then of epoch 1,
    and so on, each drawn from (seed, epoch) alone. Epochs straddle batches, so every epoch holds each image exactly
    once; a process may ask for any subset of the slots and gets the same rows.

    flip          mirrors a row left to right with probability 1/2
    crop_padding  shifts a row by up to so many pixels each way; the border is filled by reflection
    device        where the images live and the batches appear
    Raises ConfigError for a padding that an image cannot reflect.
    """

    def __init__(
        self,
        image_set: ImageSet,
        *,
        batch_size: int,
        seed: int,
        flip: bool,
        crop_padding: int,
        device: torch.device | str,
    ) -> None:
        height, width = image_set.images.shape[-2:]
        if not 0 <= crop_padding < min(height, width):
            raise ConfigError(
                f"data.crop_padding={crop_padding}: must be at least 0 and smaller than both sides of {height}x{width}"
            )
        self.images = image_set.images.to(device)
        self.labels = None if image_set.labels is None else image_set.labels.to(device)
        self.batch_size, self.seed, self.flip, self.crop_padding = batch_size, seed, flip, crop_padding
        self._orders: dict[int, np.ndarray] = {}

    def indices(self, draw: Draw) -> Tensor:
        """(B,) int64 on the CPU: which image each slot holds. The stream has its own seed: `draw.seed` is not read."""
        positions = draw.step * self.batch_size + draw.slots.cpu().numpy()
        epochs, places = np.divmod(positions, len(self.images))
        wanted = np.unique(epochs).tolist()
        self._orders = {epoch: self._order(epoch) for epoch in wanted}
        ids = np.empty_like(positions)
        for epoch in wanted:
            ids[epochs == epoch] = self._orders[epoch][places[epochs == epoch]]
        return torch.from_numpy(ids)

    def at(self, draw: Draw) -> Batch:
        """The images and labels of `draw.slots` at `draw.step`, flipped and cropped, on the device."""
        ids = self.indices(draw).to(self.images.device)
        images = self.images.index_select(0, ids)
        if self.flip or self.crop_padding:
            # All three numbers are always drawn, so that switching one augmentation leaves the other as it was.
            u = uniform(Draw(self.seed, draw.step, draw.slots), Stream.AUGMENT, 3).to(images.device)
            images = _augmented(images, u, self.flip, self.crop_padding)
        return Batch(images, None if self.labels is None else self.labels[ids])

    def _order(self, epoch: int) -> np.ndarray:
        if epoch in self._orders:
            return self._orders[epoch]
        return generator(self.seed, Stream.ORDER, step=epoch).permutation(len(self.images))


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
