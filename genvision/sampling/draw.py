"""N images over any number of processes: image k is the same bytes for every N and every number of processes."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from functools import cache

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import Tensor
from tqdm import tqdm

from genvision.errors import ConfigError
from genvision.families.base import Family, chunks
from genvision.spec import Batch, Draw

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def processes() -> PartialState:
    """This process among those that a launcher started; without an accelerator they talk over gloo."""
    _leave_at_exit()
    return PartialState(cpu=not torch.accelerator.is_available())


@cache
def _leave_at_exit() -> None:
    """A process that ends inside a group of gloo may abort the others as they end."""
    atexit.register(lambda: torch.distributed.is_initialized() and torch.distributed.destroy_process_group())


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
    """n images (n,C,H,W) uint8 on the CPU of every process.

    Process r of w draws the chunks r, r + w, r + 2w, ..; a chunk is always drawn whole, because rows of a batch are
    bit-equal only at equal batch size. `precision` ("no", "bf16", "fp16") is that of the autocast around the networks
    (`family.sampling_precision` says what a family makes of it); it, the chunk size and the options of the family's
    sampler all belong to the protocol of a score.
    """
    labels = family.check_labels(labels, n)
    device = next(family.parameters()).device
    with torch.autocast(device.type, AUTOCAST.get(precision), enabled=precision in AUTOCAST):
        return _shared(lambda slots: family.sample_chunk(slots, labels, seed, **options), n, chunk_size, progress)


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
        return _shared(measure, len(images), chunk_size, progress)
    finally:
        family.train(was_training)


def require_exact(family: Family) -> None:
    """ConfigError where the family cannot say how likely an image is."""
    if family.likelihood != "exact":
        raise ConfigError(f"the log-likelihood of an image is not known to family={family.options.name}; leave it out")


def _shared(work: Callable[[Tensor], Tensor], n: int, chunk_size: int, progress: bool) -> Tensor:
    """`work` (slots -> a row each) on all chunks of n slots; every process does its share and gets all rows."""
    state = processes()
    mine = list(enumerate(chunks(n, chunk_size)))[state.process_index :: state.num_processes]
    bar = tqdm(mine, "sampling", unit="chunk", disable=not (progress and state.is_main_process), leave=False)
    done = [(i, work(slots)) for i, slots in bar]
    if state.num_processes > 1:
        done = sorted(gather_object(done), key=lambda pair: pair[0])
    return torch.cat([rows for _, rows in done])[:n]
