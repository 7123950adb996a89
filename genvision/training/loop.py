"""The training loop: one generator for every family, trunk and dataset. Whoever consumes it draws, scores and saves."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, broadcast_object_list
from torch import Tensor

from genvision.config.ranges import MEASURED_STEPS
from genvision.config.schema import Config, TrainConfig
from genvision.errors import ConfigError
from genvision.spec import Draw
from genvision.training.bad_steps import bad_slots, overflown, pass_over
from genvision.training.budget import measured_steps
from genvision.training.optimizer import learning_rate
from genvision.training.report import StepReport
from genvision.training.sharding import whole
from genvision.training.state import TrainState

if TYPE_CHECKING:
    from genvision import data

    Batches = data.Batches | data.StreamBatches


def train(state: TrainState, batches: Batches, config: Config, accelerator: Accelerator) -> Iterator[StepReport]:
    """Trains until `state.total_steps` and yields after every optimizer step, with `state` at rest.

    batches  `at(draw) -> Batch`, a pure function of the draw, for a process's own slots; `named(draw)`, for messages
    Everything random hangs on (train.seed, step), so what the consumer does between steps changes nothing.
    With fp16, a gradient that overflows halves the loss scale and the same step is made again: step, learning rate,
    data, weights and EMA do not advance. Every other non-finite loss or gradient on any process raises NonFiniteError
    before the optimizer's step, or, up to `train.max_bad_steps` times in a row, passes this step over on all processes:
    step, data and learning rate advance; weights, moments, buffers and EMA do not. Raises ConfigError for an odd batch.
    """
    windows = local_windows(config.train, accelerator)
    seconds: list[float] = []
    while state.total_steps is None or state.step < state.total_steps:
        began = time.perf_counter()
        lr = learning_rate(state.step, state.total_steps, config.train)
        buffers = {name: state.family.get_buffer(name).clone() for name in state.ema.buffers}
        terms, grad_norm, losses = accumulate_gradients(state, batches, windows, config.train, accelerator)
        if all(map(math.isfinite, (*terms.values(), grad_norm))):
            _apply(state, lr, accelerator)
        else:
            state.family.load_state_dict(buffers, strict=False)  # the forward pass has moved them
            scaler = accelerator.scaler
            if not (again := overflown(terms, scaler)):
                named = batches.named(Draw(config.train.seed, state.step, bad_slots(losses, windows)))
                pass_over(state, config.train.max_bad_steps, terms | {"grad_norm": grad_norm}, named)
            if scaler is not None:
                scaler.update()
            if again:
                continue
        state.step += 1
        state.images_seen += config.train.batch_size
        seconds.append(time.perf_counter() - began)
        state.seconds += seconds[-1]
        if state.total_steps is None and state.step >= MEASURED_STEPS:
            measured = measured_steps(config.train.minutes or 0.0, seconds, state.step, state.seconds)
            state.total_steps = broadcast_object_list([measured])[0]
        rate = config.train.batch_size / seconds[-1]
        yield StepReport(state.step, state.images_seen, lr, terms, grad_norm, rate, seconds[-1], state.skipped_steps)


def local_windows(config: TrainConfig, accelerator: Accelerator) -> tuple[Tensor, ...]:
    """This process's slots of the global batch, contiguous, in micro-batches of which the last may be smaller."""
    share, rest = divmod(config.batch_size, accelerator.num_processes)
    if rest or share == 0:
        processes = f"{accelerator.num_processes} processes"
        raise ConfigError(f"train.batch_size={config.batch_size}: not divisible by {processes}")
    slots = torch.arange(config.batch_size, device=accelerator.device).split(share)[accelerator.process_index]
    return slots.split(min(config.micro_batch_size or share, share))


def accumulate_gradients(
    state: TrainState, batches: Batches, windows: tuple[Tensor, ...], config: TrainConfig, accelerator: Accelerator
) -> tuple[dict[str, float], float, Tensor]:
    """Leaves the clipped gradient of the mean loss over the global batch in the parameters.

    Returns the loss terms, the gradient's norm, and the loss of each example of this process, on its device.
    Each example weighs 1 / batch_size however the batch is cut; the number of processes undoes the mean over them.
    """
    key = np.random.SeedSequence([config.seed, state.step, accelerator.process_index]).generate_state(1, np.uint64)
    torch.manual_seed(int(key[0]))  # dropout, the only ambient randomness
    state.model.train()
    state.optimizer.zero_grad()
    totals: dict[str, Tensor] = {}
    losses = []
    for window in windows:
        draw = Draw(config.seed, state.step, window)
        with contextlib.nullcontext() if window is windows[-1] else accelerator.no_sync(state.model):
            terms = state.model(batches.at(draw), draw)
            accelerator.backward(terms["loss"].sum() * (accelerator.num_processes / config.batch_size))
        losses.append(terms["loss"].detach())
        totals = {name: totals.get(name, 0) + value.detach().float().sum() for name, value in terms.items()}
    clipped = accelerator.clip_grad_norm_(state.family.parameters(), config.clip_norm or math.inf)
    grad_norm = whole(torch.as_tensor(clipped)).detach().float().reshape(1)
    means = accelerator.reduce(torch.stack(list(totals.values())), "sum") / config.batch_size
    *values, norm = torch.cat([means, grad_norm.to(means.device)]).tolist()  # copied to the host once
    return dict(zip(totals, values, strict=True)), norm, torch.cat(losses)


def _apply(state: TrainState, lr: float, accelerator: Accelerator) -> None:
    """The optimizer's step, and what follows it."""
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    state.optimizer.step()
    state.family.after_step(lambda tensor: accelerator.gather(tensor[None]))
    broadcast([state.family.get_buffer(name) for name in state.ema.buffers])  # moved by each process's own share
    state.ema.update(state.family)
    state.skipped_in_a_row = 0
