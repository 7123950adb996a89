"""N images over any number of processes: image k is the same bytes for every N and every number of processes."""

from __future__ import annotations

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import Tensor
from tqdm import tqdm

from genvision.families.base import Family, chunks

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def processes() -> PartialState:
    """This process among those that a launcher started; without an accelerator they talk over gloo."""
    return PartialState(cpu=not torch.accelerator.is_available())


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
    bit-equal only at equal batch size. `precision` ("no", "bf16", "fp16") is that of the autocast around the networks;
    it, the chunk size and the options of the family's sampler all belong to the protocol of a score.
    """
    state = processes()
    labels = family.check_labels(labels, n)
    mine = list(enumerate(chunks(n, chunk_size)))[state.process_index :: state.num_processes]
    bar = tqdm(mine, "sampling", unit="chunk", disable=not (progress and state.is_main_process), leave=False)
    device = next(family.parameters()).device
    with torch.autocast(device.type, AUTOCAST.get(precision), enabled=precision in AUTOCAST):
        drawn = [(i, family.sample_chunk(slots, labels, seed, **options)) for i, slots in bar]
    if state.num_processes > 1:
        drawn = sorted(gather_object(drawn), key=lambda pair: pair[0])
    return torch.cat([images for _, images in drawn])[:n]
