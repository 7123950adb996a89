"""What a family makes of held-out images: its loss, and whatever else it has to say about them."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from genvision.data import ImageSet
from genvision.evaluation.batches import batches
from genvision.families.base import Family
from genvision.spec import Batch, Draw


@torch.no_grad()
def validate(family: Family, held_out: ImageSet, *, limit: int, batch_size: int) -> dict[str, float]:
    """{"validation_loss": mean over the first `limit` images, ...}: the others are the family's own diagnostics.

    The noise is the same at every step and in every run.
    """
    found = list(batches(family, held_out, min(limit, len(held_out)), batch_size, filled=False))
    return {"validation_loss": mean_loss(family, found), **family.diagnostics(found)}


@torch.no_grad()
def mean_loss(family: Family, found: Iterable[tuple[Batch, Draw]]) -> float:
    """The mean over all images of these batches."""
    return torch.cat([family.loss(batch, draw)["loss"] for batch, draw in found]).mean().item()
