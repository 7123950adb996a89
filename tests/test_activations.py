"""Activation memory counted on fake tensors is what autograd keeps of a real step."""

from __future__ import annotations

import pytest
import torch
from cells import cell_config, draw_of, serving, some_batch
from torch.autograd.graph import saved_tensors_hooks

from genvision.activations import count_activations
from genvision.build import build
from genvision.config.schema import Config
from genvision.spec import ImageSpec

SPEC = ImageSpec(1, 8, 8, classes=3)


def really_kept(config: Config, n: int, *, bf16: bool) -> int:
    """Bytes of the storages that a real step on n images saves."""
    storages = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    family = build(config, SPEC)
    with saved_tensors_hooks(pack, lambda x: x), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        family.loss(some_batch(n, SPEC), draw_of(n))["loss"].sum()
        return sum(storage.nbytes() for storage in storages.values())


EACH_TRUNK = [*(("diffusion", (name,)) for name in serving("denoiser")), ("autoregressive", ("pixelcnn",))]


@pytest.mark.parametrize(("family", "trunks"), [*EACH_TRUNK, ("vae", ("vit", "conv"))], ids=str)
def test_counted_bytes_are_those_of_a_real_step(family, trunks) -> None:
    config = cell_config(family, trunks)
    expected = really_kept(config, 2, bf16=False) - really_kept(config, 1, bf16=False)
    assert count_activations(config, SPEC, "no").plain == expected


def test_half_precision_is_counted_as_the_hardware_will_have_it() -> None:
    config = cell_config("diffusion", ("conv",))
    expected = really_kept(config, 2, bf16=True) - really_kept(config, 1, bf16=True)
    counted = count_activations(config, SPEC, "bf16").plain
    assert counted == pytest.approx(expected, rel=0.01)  # statistics of norms are float32 on real tensors alone
    assert counted < 0.6 * count_activations(config, SPEC, "no").plain


def test_gradient_checkpointing_keeps_the_inputs_of_blocks_and_one_block_in_full() -> None:
    """A further block of 16 tokens of 16 channels costs its input, and nothing else."""
    counts = [
        count_activations(cell_config("diffusion", ("vit",), trunk={"depth": depth}), SPEC, "no") for depth in (2, 3)
    ]
    block, kept = (more - less for less, more in zip(*counts, strict=True))
    assert kept == 16 * 16 * 4
    assert block > 10 * kept
    cond = 16 * 4  # an input too, of which a block itself keeps SiLU(cond)
    assert counts[0].checkpointed == counts[0].plain - 2 * (block - kept) + block + cond
