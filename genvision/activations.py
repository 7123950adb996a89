"""How many bytes a training step keeps for its backward pass, counted on fake tensors: shapes without data."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from genvision.build import build
from genvision.config.schema import Config
from genvision.families import Family
from genvision.spec import Batch, Draw, ImageSpec
from genvision.training.precision import Precision


class Kept:
    """Counts, while it is entered, the bytes of all that autograd saves; what shares memory counts once."""

    def __init__(self) -> None:
        self._storages: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used again
        self._hooks = saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self._storages[storage._cdata] = storage
        return tensor

    def __enter__(self) -> Kept:
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)

    @property
    def bytes(self) -> int:
        return sum(storage.nbytes() for storage in self._storages.values())


class Activations(NamedTuple):
    """Bytes that one more image of a batch adds to what a training step on a CPU keeps for backward.

    plain         of all that autograd saves
    checkpointed  with gradient checkpointing: the inputs of blocks, and the largest block on top, since backward holds
                  one of them at a time in full

    Weights and their copies in half precision do not grow with the batch and are not in it. An accelerator keeps
    queries, keys and values of attention in half precision too, where a CPU takes float32.
    """

    plain: int
    checkpointed: int


def count_activations(config: Config, spec: ImageSpec, precision: Precision) -> Activations:
    """The activation memory of a resolved configuration on images of this geometry; nothing is allocated."""
    draws = [Draw(0, 0, torch.arange(n)) for n in (1, 2)]  # real: the noise of a Draw is computed from its numbers
    largest: list[int] = []

    def run_twice(block: nn.Module, *inputs: Any) -> Any:
        with Kept() as inside:
            block(*inputs)
        largest.append(inside.bytes)
        return checkpoint(block, *inputs, use_reentrant=False)

    with FakeTensorMode(allow_non_fake_inputs=True):
        family = build(config, spec)
        one, two = (_kept_bytes(family, draw, precision) for draw in draws)
        for role in family.roles:
            getattr(family, role).enable_gradient_checkpointing(run_twice)
        less = []
        for draw in draws:
            largest.clear()
            less.append(_kept_bytes(family, draw, precision) + max(largest))
    return Activations(two - one, less[1] - less[0])


def _kept_bytes(family: Family, draw: Draw, precision: Precision) -> int:
    n, spec = len(draw.slots), family.spec
    labels = torch.zeros(n, dtype=torch.int64) if spec.classes else None
    with Kept() as kept, torch.autocast("cpu", torch.bfloat16, enabled=precision != "no"):
        family.loss(Batch(torch.zeros(n, *spec.shape, dtype=torch.uint8), labels), draw)
    return kept.bytes
