"""Training batches without workers or state: what a slot of a step holds is a pure function of (seed, step, slot)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from genvision.data.augment import Augment
from genvision.data.image_set import ImageSet
from genvision.probability.randomness import Stream, generator
from genvision.spec import Batch, Draw


class Batches:
    """An infinite stream of augmented training images over one resident uint8 tensor.

    Slot s of step k is position k * batch_size + s of a stream that holds the permutation of epoch 0, then of epoch 1,
    and so on, each drawn from (seed, epoch) alone. Epochs straddle batches, so every epoch holds each image exactly
    once; a process may ask for any subset of the slots and gets the same rows.

    flip, crop_padding  see `Augment`
    device              where the images live and the batches appear
    left_out            what could not be used of the images
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
        self._augment = Augment(seed, flip, crop_padding, *image_set.images.shape[-2:])
        self.images = image_set.images.to(device)
        self.labels = None if image_set.labels is None else image_set.labels.to(device)
        self.batch_size, self.seed, self._files = batch_size, seed, image_set.files
        self.left_out = image_set.left_out
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
        images = self._augment(self.images.index_select(0, ids), draw)
        return Batch(images, None if self.labels is None else self.labels[ids])

    def named(self, draw: Draw) -> list[str]:
        """What the images of `draw.slots` are called in a message: their files, or their numbers among the images."""
        return [self._files[k] if self._files else str(k) for k in self.indices(draw).tolist()]

    def _order(self, epoch: int) -> np.ndarray:
        if epoch in self._orders:
            return self._orders[epoch]
        return generator(self.seed, Stream.ORDER, step=epoch).permutation(len(self.images))
