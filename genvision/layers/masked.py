"""A linear layer some of whose weights a fixed mask removes, and the count of the weights that remain."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MaskedLinear(nn.Linear):
    """y = (W * mask) x + b with a fixed binary mask (out, in).

    Rows start at the scale of their own fan-in, so that a token with a short past is not drowned by its bias.
    `removed` is the number of weights the mask takes away; they are not counted as parameters.
    """

    def __init__(self, mask: np.ndarray) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.removed = int(mask.size - mask.sum())
        self.register_buffer("mask", torch.tensor(mask, dtype=torch.float32), persistent=False)
        fan_in = torch.tensor(mask.sum(1, keepdims=True).clip(1), dtype=torch.float32)
        with torch.no_grad():
            self.weight.mul_((mask.shape[1] / fan_in).sqrt())

    def masked_weight(self) -> Tensor:
        """W * mask (out, in)."""
        return self.weight * self.mask.to(self.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.masked_weight(), self.bias)


def count_parameters(module: nn.Module) -> int:
    """Trainable weights that can act: those under a causal mask are left out. Works on the meta device."""
    total = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return total - sum(m.removed for m in module.modules() if isinstance(m, MaskedLinear))
