"""What a trunk or a layer costs, counted while it runs on tensors without data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from genvision.activations import Kept
from genvision.analysis.closed_forms import Cost
from genvision.layers.masked import count_parameters

FLOAT_BYTES = 4


def counted(make: Callable[[], nn.Module], inputs: Callable[[int], Sequence[Tensor]]) -> Cost:
    """Weights that can act, multiply-adds and kept numbers (float32) of one image.

    make    the module
    inputs  n -> its arguments for n images
    """
    with torch.device("meta"):
        module = make()
        with FlopCounterMode(display=False) as counter:
            module(*inputs(1))
    with FakeTensorMode(allow_non_fake_inputs=True):
        module, kept = make(), []
        for n in (1, 2):
            arguments = [x.requires_grad_() for x in inputs(n)]
            with Kept() as bytes_kept:
                module(*arguments)
            kept.append(bytes_kept.bytes // FLOAT_BYTES)
    return Cost(count_parameters(module), counter.get_total_flops() // 2, kept[1] - kept[0])


def trunk_inputs(grid: tuple[int, ...], width: int) -> Callable[[int], tuple[Tensor, ...]]:
    """h (n,*grid,D) and cond (n,D)."""
    return lambda n: (torch.zeros(n, *grid, width), torch.zeros(n, width))
