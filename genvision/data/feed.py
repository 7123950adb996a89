"""Which batches a configuration asks for: of a resident tensor, or of a stream."""

from __future__ import annotations

import torch

from genvision.config.schema import DataConfig
from genvision.data.augment import Augment
from genvision.data.batches import Batches
from genvision.data.image_set import ImageSet
from genvision.data.source import Source
from genvision.data.stream import StreamBatches


def make_batches(
    config: DataConfig,
    train_set: ImageSet,
    *,
    batch_size: int,
    seed: int,
    device: torch.device | str,
) -> Batches | StreamBatches:
    """Training batches of the configured data.

    train_set  the resident images; of a stream, a part that has been read to know it by
    """
    if config.name != "stream":
        flip, padding = config.flip, config.crop_padding
        return Batches(train_set, batch_size=batch_size, seed=seed, flip=flip, crop_padding=padding, device=device)
    assert config.lanes and config.shuffle_buffer and config.height and config.width, "ranges.py requires them"
    return StreamBatches(
        Source(config, "train"),
        batch_size=batch_size,
        seed=seed,
        augment=Augment(seed, config.flip, config.crop_padding, config.height, config.width),
        lanes=config.lanes,
        buffer=config.shuffle_buffer,
        device=device,
    )
