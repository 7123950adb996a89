"""How many optimizer steps a run takes: given, counted in images, or measured from a budget in minutes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from genvision.config.schema import Config, TrainConfig
from genvision.errors import ConfigError

MEASURED_STEPS = 20  # a minutes budget is frozen into steps after so many
UNCOUNTED_STEPS = 5  # the first ones are slow: allocation, kernels chosen and compiled


def total_steps(config: TrainConfig) -> int | None:
    """Optimizer steps of the run: `steps`, or enough of them to see `images`; None while `minutes` is unmeasured.

    Raises ConfigError unless exactly one budget is set, and where a minutes budget would be frozen after the end of
    warm-up (only during warm-up is the learning rate independent of the number of steps).
    """
    budgets = {name: getattr(config, name) for name in ("steps", "images", "minutes")}
    given = [name for name, value in budgets.items() if value is not None]
    if len(given) != 1:
        raise ConfigError(
            f"train: set exactly one of train.steps, train.images and train.minutes ({', '.join(given) or 'none'} set)"
        )
    if budgets[given[0]] <= 0:
        raise ConfigError(f"train.{given[0]}={budgets[given[0]]}: must be greater than 0")
    if config.steps is not None:
        return config.steps
    if config.images is not None:
        return -(-config.images // config.batch_size)
    if config.warmup_steps < MEASURED_STEPS:
        raise ConfigError(
            f"train.warmup_steps={config.warmup_steps}: a budget in minutes measures the first {MEASURED_STEPS} steps, "
            f"so set at least {MEASURED_STEPS}, or give train.steps"
        )
    return None


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
