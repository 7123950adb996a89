"""Training batches of images that do not fit into memory, with the same promise as resident ones: a slot is a function
of (seed, step, slot), for any number of processes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from genvision.data.augment import Augment
from genvision.data.lanes import Block, Blocks, Lane, left_out
from genvision.data.source import Source
from genvision.machine import available_cores
from genvision.spec import Batch, Draw


class StreamBatches:
    """Batches over the lanes of a source; `data.Batches` is the same over a resident tensor.

    A global batch takes an equal, contiguous share of its slots from each lane. A process opens the lanes of its own
    slots alone, so where the number of processes divides `lanes`, no image is read twice.

    lanes   how many; they divide batch_size
    buffer  images that are mixed at a time, over all lanes
    notes   may be set to a folder before the first batch; makes it quick to go on (see `Lane`)
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        seed: int,
        augment: Augment,
        lanes: int,
        buffer: int,
        device: torch.device | str,
    ) -> None:
        self.source, self.seed, self.augment, self.device = source, seed, augment, device
        self.lanes, self.share, self.size = lanes, batch_size // lanes, max(1, buffer // lanes)
        self.notes: Path | None = None

    @cached_property
    def _blocks(self) -> list[Blocks]:
        pool = ThreadPoolExecutor(min(self.lanes, available_cores()), thread_name_prefix="stream")
        files = [self.notes and self.notes / f"lane-{k:03d}.txt" for k in range(self.lanes)]
        lanes = [Lane(self.source, k, self.lanes, self.seed, file) for k, file in enumerate(files)]
        return [Blocks(lane, self.size, pool) for lane in lanes]

    def at(self, draw: Draw) -> Batch:
        """The images and labels of `draw.slots` at `draw.step`, augmented, on the device. Raises DataError."""
        rows = list(self._rows(draw))
        images = np.stack([block.images[row] for block, row in rows])
        batch = self.augment(torch.from_numpy(images).to(self.device), draw)
        labels = [block.labels[row] for block, row in rows if block.labels is not None]
        return Batch(batch, torch.tensor(labels, device=self.device) if self.source.config.labels else None)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Images that could not be used so far, of all processes and attempts, where there are notes."""
        return left_out(self.notes) if self.notes else ()

    def named(self, draw: Draw) -> list[str]:
        """Where the images of `draw.slots` stand, for a message."""
        return [block.places[row] for block, row in self._rows(draw)]

    def _rows(self, draw: Draw) -> Iterator[tuple[Block, int]]:
        for slot in draw.slots.tolist():
            lane, place = divmod(slot, self.share)
            number, row = divmod(draw.step * self.share + place, self.size)
            yield self._blocks[lane][number], row
