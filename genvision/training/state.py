"""Everything that training changes, in one object: what a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass

from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import nn
from torch.compiler import config as compiler

from genvision.config.schema import Config, TrainConfig
from genvision.families.base import Family
from genvision.training.budget import total_steps
from genvision.training.ema import Ema
from genvision.training.optimizer import make_optimizer
from genvision.training.sharding import shard, whole


@dataclass
class TrainState:
    """The state of a run between two optimizer steps.

    family       the model itself, on its device
    model        the same, prepared: `model(batch, draw)` runs under mixed precision, and DistributedDataParallel unless
                 the family is sharded
    optimizer    prepared too; carries the gradient scaler of fp16
    ema          averaged weights; `ema.module` is the family to sample from
    step         optimizer steps made
    images_seen  examples seen over all processes
    seconds      spent in optimizer steps so far, earlier attempts included
    total_steps  when to stop; None until a budget in minutes has been measured
    skipped_steps     steps so far that were passed over, because a loss or gradient was not finite
    skipped_in_a_row  how many of these are the last ones
    dataset      SHA-256 of the training images, with which alone a checkpoint can be gone on with
    """

    family: Family
    model: nn.Module
    optimizer: AcceleratedOptimizer
    ema: Ema
    step: int = 0
    images_seen: int = 0
    total_steps: int | None = None
    seconds: float = 0.0
    skipped_steps: int = 0
    skipped_in_a_row: int = 0
    dataset: str = ""


def make_state(family: Family, config: Config, accelerator: Accelerator, dataset: str = "") -> TrainState:
    """A state at step 0 around a built family, moved to the accelerator's device."""
    ema = Ema(family, config.ema.decay)  # copied first: preparing binds the family's own forward to it
    switch(family, config.train)
    sharded = config.train.shard and accelerator.num_processes > 1
    model = accelerator.prepare_model(family, evaluation_mode=sharded)  # which wraps it in nothing
    if sharded:
        shard(family, accelerator)
    optimizer = accelerator.prepare(make_optimizer(family, config.train))
    ema.module.to(accelerator.device)
    first = {name: whole(tensor) for name, tensor in family.state_dict().items()}
    ema.module.load_state_dict(first)  # preparing gave every process the weights of the first
    return TrainState(family, model, optimizer, ema, total_steps=total_steps(config.train), dataset=dataset)


def switch(family: Family, config: TrainConfig) -> None:
    """Turns on what the configuration asks for in every network of the family; names in its state stay as they are."""
    for network in (getattr(family, role) for role in family.roles):
        if config.gradient_checkpointing:
            network.enable_gradient_checkpointing()
        if config.compile:
            compiler.recompile_limit = 64  # a U-Net has blocks of many shapes, each with a kernel of its own
            network.compile_repeated_blocks()
