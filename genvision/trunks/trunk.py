"""What every trunk shares: what it states about itself, and blocks that training may run twice to save memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import nn


class Trunk(nn.Module):
    """Maps h (B,H,W,D) and cond (B,D) to (B,H,W,D).

    stem           "patch" or "conv": how images become tokens and tokens images
    channels_last  whether it is fastest on (B,H,W,D) memory
    """

    stem: ClassVar[str]
    channels_last: ClassVar[bool]
    # both are set by diffusers' `enable_gradient_checkpointing`, which looks for modules that have the first
    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable[..., Any]

    def run(self, block: nn.Module, *inputs: Any) -> Any:
        """block(*inputs). With gradient checkpointing only the inputs are kept, and backward runs the block again,
        with the same dropout (Chen et al. 2016, "Training deep nets with sublinear memory cost")."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(block, *inputs)
        return block(*inputs)
