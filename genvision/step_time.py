"""Seconds of one training step, measured on this machine."""

from __future__ import annotations

import statistics
import time

import torch

from genvision.build import build
from genvision.config.schema import Config
from genvision.probability.units import pixel_dtype
from genvision.spec import Batch, Draw, ImageSpec
from genvision.training.launch import make_accelerator
from genvision.training.optimizer import make_optimizer

ROUNDS = 7


def step_seconds(config: Config, spec: ImageSpec, *, batch_size: int = 32) -> float:
    """The median over some steps of loss, backward and update, per image, as `train.precision` runs them here."""
    accelerator = make_accelerator(config)
    device = accelerator.device
    family = build(config, spec).to(device).train()
    optimizer = make_optimizer(family, config.train)
    images = torch.randint(0, spec.levels, (batch_size, *spec.shape), dtype=pixel_dtype(spec.levels), device=device)
    labels = torch.arange(batch_size, device=device) % spec.classes if spec.classes else None
    slots = torch.arange(batch_size, device=device)

    def step(number: int) -> float:
        began = time.perf_counter()
        with accelerator.autocast():
            loss = family(Batch(images, labels), Draw(0, number, slots))["loss"].mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # an accelerator works on while Python does not wait
        return (time.perf_counter() - began) / batch_size

    step(0)  # chooses kernels and allocates
    return statistics.median(step(number) for number in range(1, 1 + ROUNDS))
