"""How many optimizer steps a run takes: given, counted in images, or measured from a budget in minutes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from genvision.config.schema import Config, TrainConfig

UNCOUNTED_STEPS = 5  # the first ones are slow: allocation, kernels chosen and compiled


def total_steps(config: TrainConfig) -> int | None:
    """Optimizer steps of the run: `steps`, or enough of them to see `images`; None while `minutes` is unmeasured."""
    return config.steps if config.images is None else -(-config.images // config.batch_size)


def measured_steps(minutes: float, seconds: Sequence[float], done: int, spent: float) -> int:
    """The steps that fit into `minutes` of training, once `done` of them have been made in `spent` seconds.

    seconds  duration of each step made by this process, the latest last (fewer than `done` after a resume)
    The pace is the mean without the first UNCOUNTED_STEPS; what remains of the budget is filled at that pace.
    """
    steady = seconds[UNCOUNTED_STEPS:] or seconds[-1:]
    pace = sum(steady) / len(steady)
    return done + max(0, int((60 * minutes - spent) / pace))


def frozen(config: Config, steps: int) -> Config:
    """The configuration with its budget given in steps, however it was given before."""
    train = dataclasses.replace(config.train, steps=steps, images=None, minutes=None)
    return dataclasses.replace(config, train=train)
