"""What a family makes of held-out images: its loss, and whatever else it has to say about them."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from genvision.data import ImageSet
from genvision.families.base import Family
from genvision.spec import Batch, Draw

SEED = 0  # the same noise at every step and in every run


@torch.no_grad()
def validate(family: Family, held_out: ImageSet, *, limit: int, batch_size: int) -> dict[str, float]:
    """{"validation_loss": mean over the first `limit` images, ...}: the others are the family's own diagnostics."""
    losses = [family.loss(batch, draw)["loss"] for batch, draw in _batches(family, held_out, limit, batch_size)]
    own = family.diagnostics(_batches(family, held_out, limit, batch_size))
    return {"validation_loss": torch.cat(losses).mean().item(), **own}


def _batches(family: Family, held_out: ImageSet, limit: int, batch_size: int) -> Iterator[tuple[Batch, Draw]]:
    device = next(family.parameters()).device
    for slots in torch.arange(min(limit, len(held_out))).split(batch_size):
        labels = None if held_out.labels is None else held_out.labels[slots].to(device)
        yield Batch(held_out.images[slots].to(device), labels), Draw(SEED, 0, slots.to(device))
