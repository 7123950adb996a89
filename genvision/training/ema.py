"""The averaged weights that samples are drawn from."""

from __future__ import annotations

import copy

import torch

from genvision.families.base import Family
from genvision.training.sharding import whole


def ema_decay(updates: int, decay: float) -> float:
    """min(decay, (1 + n) / (10 + n)) after n updates, so that a short run forgets its random start."""
    return min(decay, (1 + updates) / (10 + updates))


class Ema:
    """Exponential moving average of a family's parameters and buffers, kept in a second family.

    module   the averaged family, in eval mode and without gradients: sample from it directly
    updates  number of updates so far; update n sets e <- d_n e + (1 - d_n) p with d_n = `ema_decay(n, decay)`
    buffers  names of the buffers that are part of the state: those that training may move

    Parameters and floating-point buffers that are part of the state are averaged. Other buffers (counters) are
    copied, as is every entry that equals the live one: a constant never drifts, and an infinite one stays.
    Buffers outside the state are constants of the construction and stay as they are.
    """

    def __init__(self, family: Family, decay: float) -> None:
        self.module = copy.deepcopy(family).requires_grad_(False).eval()
        self.decay, self.updates = decay, 0
        kept = family.state_dict().keys()
        self.buffers = [name for name, _ in family.named_buffers() if name in kept]

    @torch.no_grad()
    def update(self, family: Family) -> None:
        """Moves the average towards `family`, which must live on the same device."""
        weight = 1 - ema_decay(self.updates, self.decay)
        torch._foreach_lerp_(list(self.module.parameters()), [whole(p.detach()) for p in family.parameters()], weight)
        for name in self.buffers:
            ours, live = self.module.get_buffer(name), family.get_buffer(name)
            if live.is_floating_point():
                ours.copy_(torch.where(ours == live, live, torch.lerp(ours, live, weight)))
            else:
                ours.copy_(live)
        self.updates += 1
