"""Steps whose loss or gradient is not finite: which images they held, and how many of them may be passed over."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import torch
from accelerate.state import PartialState
from accelerate.utils import gather_object
from torch import Tensor
from torch.amp import GradScaler

from genvision.errors import NonFiniteError
from genvision.training.state import TrainState

NAMED_IMAGES = 10  # that a message names
_log = logging.getLogger(__name__)


def overflown(terms: dict[str, float], scaler: GradScaler | None) -> bool:
    """Whether it is fp16's range alone that a gradient has left: a smaller scale may still help."""
    return scaler is not None and all(map(math.isfinite, terms.values())) and scaler.get_scale() > 1


def bad_slots(losses: Tensor, windows: Sequence[Tensor]) -> Tensor:
    """The slots of this process whose loss is not finite; all of them where every loss is, on every process."""
    slots = torch.cat(tuple(windows))
    wrong = slots[~losses.isfinite()]
    return wrong if any(gather_object([len(wrong)])) else slots


def pass_over(state: TrainState, allowed: int, numbers: dict[str, float], names: list[str]) -> None:
    """Count a step that the optimizer does not make, on all processes alike.

    allowed  such steps in a row (train.max_bad_steps)
    numbers  the loss terms and the gradient's norm, the same on every process
    names    of the images of this process that may be the cause
    Raises NonFiniteError, naming the images of all processes, where it is one too many.
    """
    names = [name for each in gather_object([names]) for name in each]
    problem = _problem(state.step + 1, numbers, names)
    if state.skipped_in_a_row >= allowed:
        before = f"the {allowed} steps before were passed over too; " if allowed else ""
        go_on = f"go on with --resume and train.max_bad_steps={allowed + 1}"
        raise NonFiniteError(
            f"{problem}; {before}stopped before the weights changed: {go_on}, or train again with a lower "
            "train.learning_rate"
        )
    state.skipped_in_a_row += 1
    state.skipped_steps += 1
    if PartialState().is_main_process:
        _log.warning("%s; passed over, %d so far", problem, state.skipped_steps)


def _problem(step: int, numbers: dict[str, float], names: list[str]) -> str:
    wrong = ", ".join(f"{name} is {value}" for name, value in numbers.items() if not math.isfinite(value))
    more = f" and {len(names) - NAMED_IMAGES} more" if len(names) > NAMED_IMAGES else ""
    return f"step {step}: {wrong}; images: {', '.join(names[:NAMED_IMAGES])}{more}"
