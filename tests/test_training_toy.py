"""A family and a batch source small enough to train in milliseconds, for the other training tests."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from torch import Tensor, nn

from genvision.config.schema import Config, EmaConfig, RunConfig, TrainConfig
from genvision.families.base import Family
from genvision.probability.randomness import Stream, normal, uniform
from genvision.spec import Batch, Draw, ImageSpec
from genvision.training.loop import train
from genvision.training.state import TrainState, make_state

SPEC = ImageSpec(1, 4, 4, classes=3)
TRAIN = TrainConfig(
    steps=12,
    batch_size=8,
    learning_rate=1e-2,
    warmup_steps=3,
    schedule="cosine",
    weight_decay=0.1,
    betas=(0.9, 0.99),
    clip_norm=1.0,
    seed=5,
    max_bad_steps=0,
    shard=False,
    precision="no",
)


class ToyFamily(Family):
    """Predicts an image from itself, its noise and its label; counts what it has seen in buffers."""

    def __init__(self, dropout: float = 0.2, poison: int | None = None) -> None:
        super().__init__(SPEC, {}, None)
        self.conv = nn.Conv2d(2, 6, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
        self.norm = nn.LayerNorm(4)
        self.label = nn.Embedding(3, 4)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(6 * 16, 16)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
        self.poison = poison  # the step (from 0) whose loss is not a number

    def loss(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        x = batch.images.to(self.dtype) / 127.5 - 1
        noise = normal(draw, Stream.NOISE, *self.spec.shape).to(self.dtype)
        h = self.norm(self.conv(torch.cat([x, noise], 1))) + self.label(batch.labels)[:, None, None]
        out = self.head(self.dropout(h.relu()).flatten(1))
        if self.training:
            self.mean.lerp_(x.mean(), 0.1)
            self.count += len(x)
        error = (out - x.flatten(1)).square().mean(1)
        if draw.step == self.poison:
            error = error * torch.where(draw.slots == draw.slots[-1], torch.nan, 1.0)
        return {"loss": error + 0.01 * out.square().mean(1), "error": error}

    def _sample(self, draw: Draw, y: Tensor | None) -> Tensor:
        noise = normal(draw, Stream.SAMPLE, *self.spec.shape)
        h = self.norm(self.conv(torch.cat([noise, noise], 1))) + self.label(y)[:, None, None]
        out = self.head(self.dropout(h).flatten(1)).unflatten(1, self.spec.shape)
        return (127.5 * (out + 1)).round().clamp(0, 255).to(torch.uint8)


class ToyBatches:
    """Images and labels made from (seed, step, slot) alone."""

    def at(self, draw: Draw) -> Batch:
        u = uniform(draw, Stream.AUGMENT, 17)
        return Batch((256 * u[:, 1:]).to(torch.uint8).view(-1, 1, 4, 4), (3 * u[:, 0]).long())

    def named(self, draw: Draw) -> list[str]:
        return [f"toy {draw.step}.{slot}" for slot in draw.slots.tolist()]


@pytest.fixture
def accelerator():
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    yield Accelerator(cpu=True, mixed_precision="no")
    AcceleratorState._reset_state(True)
    GradientState._reset_state()


def toy_config(**changes: object) -> Config:
    return Config(train=dataclasses.replace(TRAIN, **changes), ema=EmaConfig(decay=0.9), run=RunConfig(dir="runs"))


def toy_state(config: Config, accelerator: Accelerator, seed: int = 0, **options: object) -> TrainState:
    torch.manual_seed(seed)
    return make_state(ToyFamily(**options), config, accelerator)


def trained(config: Config, accelerator: Accelerator, **options: object) -> TrainState:
    """The state at the end of an undisturbed run."""
    state = toy_state(config, accelerator, **options)
    for _ in train(state, ToyBatches(), config, accelerator):
        pass
    return state


def fingerprint(state: TrainState) -> str:
    """A hash of every bit that training changes."""
    digest = hashlib.sha256(repr((state.step, state.images_seen, state.ema.updates)).encode())
    for module in (state.family, state.ema.module):
        for name, tensor in module.state_dict().items():
            digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    for parameter in state.family.parameters():
        for name, tensor in sorted(state.optimizer.state.get(parameter, {}).items()):
            digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder and what it holds."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_toy_learns(accelerator):
    config = toy_config(steps=60, schedule="constant")
    state = toy_state(config, accelerator, dropout=0.0)
    losses = [report.loss for report in train(state, ToyBatches(), config, accelerator)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
