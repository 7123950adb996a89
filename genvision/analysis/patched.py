"""Small denoisers that differ in how they cut images into patches and put them together again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from genvision.build import build
from genvision.config import load_config
from genvision.data import ImageSet
from genvision.families.base import Family
from genvision.probability.randomness import Stream, generator
from genvision.spec import Batch, Draw, ImageSpec

SMOOTHING = 16  # channels of a final convolution
RATE = 2e-3


class Cell(NamedTuple):
    """A denoiser: its backbone, pixels per patch and side, how patches are read and written, kind of positions."""

    backbone: str
    patch: int
    ends: str = "patches"
    position: str | None = None  # None: the backbone's own

    def __str__(self) -> str:
        words = [] if self.ends == "patches" else [self.ends]
        words += [] if self.position is None else [f"positions {self.position}"]
        return ", ".join([self.backbone, *words])


class FinalConvolution(nn.Module):
    """What a head (B,h,w,D) -> (B,C,H,W) gives, plus two 3x3 convolutions of it that start as nothing."""

    def __init__(self, head: nn.Module, channels: int) -> None:
        super().__init__()
        self.head = head
        last = nn.Conv2d(SMOOTHING, channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        self.smooth = nn.Sequential(nn.Conv2d(channels, SMOOTHING, 3, padding=1), nn.SiLU(), last)

    def forward(self, h: Tensor) -> Tensor:
        x = self.head(h)
        return x + self.smooth(x)


class OverlapStem(nn.Module):
    """(B,C,H,W) -> (B,H/p,W/p,D), each token from its patch and half a patch around it."""

    def __init__(self, c_in: int, width: int, patch: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, width, patch + 2 * (patch // 2), stride=patch, padding=patch // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).permute(0, 2, 3, 1)


class OverlapHead(nn.Module):
    """(B,h,w,D) -> (B,C,h*p,w*p), each token added to its patch and to half a patch around it."""

    def __init__(self, width: int, c_out: int, patch: int) -> None:
        super().__init__()
        kernel = patch + 2 * (patch // 2)
        self.conv = nn.ConvTranspose2d(width, c_out, kernel, stride=patch, padding=patch // 2)
        nn.init.zeros_(self.conv.weight)

    def forward(self, h: Tensor) -> Tensor:
        return self.conv(h.permute(0, 3, 1, 2))


def make(cell: Cell, spec: ImageSpec, seed: int, words: Sequence[str]) -> Family:
    """A diffusion family of a cell, fresh; `words` configure what all cells share."""
    patch = [] if cell.backbone == "convnet" else [f"denoiser.patch={cell.patch}"]
    position = [] if cell.position is None else [f"trunk.position={cell.position}"]
    own = f"backbone={cell.backbone}", f"train.seed={seed}", *patch, *position
    family = build(load_config(None, ["family=diffusion", *words, *own]), spec)
    network = family.get_submodule("denoiser")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if cell.ends == "final convolution":
            network.head = FinalConvolution(network.head, spec.channels)
        elif cell.ends == "overlapping patches":
            width = network.trunk.width
            network.stem = OverlapStem(spec.channels, width, cell.patch)
            network.head = OverlapHead(width, spec.channels, cell.patch)
    return family


def fit(family: Family, images: ImageSet, steps: int, batch: int, seed: int) -> Family:
    """The same family after `steps` steps of AdamW under a one-cycle schedule, in eval mode."""
    rng, slots = generator(seed, Stream.STUDY), torch.arange(batch)
    optimizer = torch.optim.AdamW(family.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for step in range(steps):
        rows = torch.from_numpy(rng.integers(len(images), size=batch))
        labels = None if images.labels is None else images.labels[rows]
        loss = family.loss(Batch(images.images[rows], labels), Draw(seed, step, slots))["loss"].mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(family.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return family.eval()
