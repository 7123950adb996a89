"""Every cell learns: it overfits four images."""

from __future__ import annotations

import pytest
import torch
from cells import CELL_IDS, CELLS, Batch, draw_of, make_cell

from genvision.spec import ImageSpec

SPEC = ImageSpec(1, 8, 8, classes=4)
STEPS = 100
SHARE_LEFT = {"vae": 0.7, "autoregressive": 0.5, "diffusion": 0.6}  # of the loss; chance and noise leave the rest


def four_images() -> Batch:
    """Bars of one grey on another, two upright and two lying, each with a label of its own."""
    x = torch.full((4, 1, 8, 8), 40, dtype=torch.uint8)
    x[0, :, :, 2:4], x[1, :, :, 5:7], x[2, :, 1:3], x[3, :, 4:7] = 220, 160, 190, 250
    return Batch(x, torch.arange(4))


@pytest.mark.parametrize(("family", "trunks"), CELLS, ids=CELL_IDS)
def test_every_cell_overfits_four_images(family, trunks) -> None:
    cell, batch = make_cell(family, trunks, SPEC), four_images()
    batch = Batch(batch.images.repeat(4, 1, 1, 1), batch.labels.repeat(4))  # four noises of each
    optimizer = torch.optim.AdamW(cell.parameters(), lr=5e-3, weight_decay=0.0)

    def loss(step: int) -> torch.Tensor:
        return cell.loss(batch, draw_of(16, step=step))["loss"].mean()

    with torch.no_grad():
        before = torch.stack([loss(10_000 + k) for k in range(8)]).mean()
    for step in range(STEPS):
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()
    with torch.no_grad():
        after = torch.stack([loss(10_000 + k) for k in range(8)]).mean()
    assert after < SHARE_LEFT[family] * before, (before.item(), after.item())
