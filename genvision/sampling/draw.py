"""N images over any number of processes: image k is the same bytes for every N and every number of processes."""

from __future__ import annotations

import torch
from torch import Tensor

from genvision.errors import ConfigError
from genvision.families.base import Family
from genvision.sampling.sharing import shared
from genvision.spec import Batch, Draw

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def draw_images(
    family: Family,
    n: int,
    *,
    labels: Tensor | None = None,
    seed: int = 0,
    chunk_size: int = 64,
    precision: str = "no",
    progress: bool = False,
    **options,
) -> Tensor:
    """n images (n,C,H,W) uint8 on the CPU of every process, whose share of the chunks `sharing.shared` decides.

    `precision` ("no", "bf16", "fp16") is that of the autocast around the networks (`family.sampling_precision` says
    what a family makes of it); it, the chunk size and the options of the family's sampler all belong to the protocol of
    a score. Raises ConfigError for labels and options that cannot be, before anything is drawn or a bar is shown.
    """
    labels = family.check_labels(labels, n)
    family.check_options(options)
    family.network_evaluations(**options)
    device = next(family.parameters()).device
    with torch.autocast(device.type, AUTOCAST.get(precision), enabled=precision in AUTOCAST):
        return shared(
            lambda slots: family.sample_chunk(slots, labels, seed, **options),
            n,
            chunk_size,
            title="sampling",
            unit="chunk",
            progress=progress,
        )


@torch.no_grad()
def log_likelihoods(
    family: Family, images: Tensor, *, labels: Tensor | None = None, chunk_size: int = 64, progress: bool = False
) -> Tensor:
    """(n,) float64 nats: log p of each of `images` (n,C,H,W) under the model itself, on the CPU of every process.

    However an image was drawn, this is the distribution that was trained: no temperature, top-k, top-p, guidance or
    autocast, and all of the image, pixels that were given included. One forward pass an image. Raises ConfigError for a
    family whose likelihood is not exact.
    """
    require_exact(family)
    labels = family.check_labels(labels, len(images))
    device = next(family.parameters()).device

    def measure(slots: Tensor) -> Tensor:
        rows = slots.clamp(max=len(images) - 1)
        y = None if labels is None else labels[rows].to(device)
        return family.log_prob(Batch(images[rows].to(device), y), Draw(0, 0, slots.to(device))).double().cpu()

    was_training = family.training
    family.eval()
    try:
        return shared(measure, len(images), chunk_size, title="likelihood", unit="chunk", progress=progress)
    finally:
        family.train(was_training)


def require_exact(family: Family) -> None:
    """ConfigError where the family cannot say how likely an image is."""
    if family.likelihood != "exact":
        raise ConfigError(f"the log-likelihood of an image is not known to family={family.options.name}; leave it out")
