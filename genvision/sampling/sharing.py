"""Work on N images in fixed global chunks, shared by the processes that a launcher started."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from datetime import timedelta
from functools import cache

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import Tensor
from tqdm import tqdm

from genvision.errors import ConfigError
from genvision.families.base import chunks

ON_CPUS = "torchrun --nproc_per_node N train_gen.py"


def processes(timeout: timedelta | None = None) -> PartialState:
    """This process among those that a launcher started; without an accelerator they talk over gloo.

    timeout  how long one may wait for another; None, or where they are connected already: torch's own
    Raises ConfigError where each of several processes would be alone, and do all of the work.
    """
    _leave_at_exit()
    state = PartialState(cpu=not torch.accelerator.is_available(), **({"timeout": timeout} if timeout else {}))
    asked = int(os.environ.get("WORLD_SIZE", "1"))
    if asked != state.num_processes:
        raise ConfigError(
            f"launched as {asked} processes, but each is alone: on CPUs use {ON_CPUS}, "
            "on GPUs accelerate launch --multi_gpu"
        )
    return state


def own_device() -> torch.device:
    """Where this process works; that there might be none is only what accelerate's types say."""
    return processes().device or torch.device("cpu")


@cache
def _leave_at_exit() -> None:
    """A process that ends inside a group of gloo may abort the others as they end."""
    atexit.register(lambda: torch.distributed.is_initialized() and torch.distributed.destroy_process_group())


def shared(
    work: Callable[[Tensor], Tensor], n: int, chunk_size: int, *, title: str, unit: str, progress: bool
) -> Tensor:
    """`work` (slots -> a row each) on all chunks of n slots; every process does its share and gets all rows.

    Process r of w does the chunks r, r + w, r + 2w, ..; a chunk is always done whole, because rows of a batch are
    bit-equal only at equal batch size. Slots from n on fill the last chunk; their rows are cut.
    """
    state = processes()
    mine = list(enumerate(chunks(n, chunk_size)))[state.process_index :: state.num_processes]
    with tqdm(mine, title, unit=unit, disable=not (progress and state.is_main_process), leave=False) as bar:
        done = [(i, work(slots)) for i, slots in bar]  # a bar that is closed leaves the line to an error
    if state.num_processes > 1:
        done = sorted(gather_object(done), key=lambda pair: pair[0])
    return torch.cat([rows for _, rows in done])[:n]
