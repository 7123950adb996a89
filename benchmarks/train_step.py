"""Images per second of one training step: our denoisers against diffusers' of the same kind, interleaved.

    pip install -e ".[bench]" && python benchmarks/train_step.py --json rows.json

A step is forward, backward and a fused AdamW update on a batch of 1x28x28 images in the precision named. Both sides run
in turn in one process, so that what else the machine does falls on both; a row gives the medians and the ratio of
medians. The transformers have one and the same architecture (depth, width, heads, patch, adaLN-Zero). The U-Nets have
the same levels, but diffusers puts one block more on each level of the way up, so their widths are chosen for multiply-
adds within ten per cent, which are printed.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import DiTTransformer2DModel, UNet2DModel, __version__
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from genvision.networks import Denoiser
from genvision.spec import ImageSpec

SPEC = ImageSpec(1, 28, 28, classes=10)
Call = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]


def our_denoiser(trunk: dict, patch: int) -> nn.Module:
    return Denoiser(SPEC._asdict(), trunk, patch)


def our_call(model: nn.Module, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
    return model(x, t, y)


def unets() -> tuple[nn.Module, nn.Module, Call]:
    """Our U-Net, diffusers' UNet2DModel, and how to call the latter."""
    ours = our_denoiser(
        {"name": "unet", "width": 32, "multipliers": [1, 2, 4], "depth": 1, "attention": True, "head_width": 32,
         "dropout": 0.0}, 1)  # fmt: skip
    theirs = UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(24, 48, 96),
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        attention_head_dim=24,
        norm_num_groups=8,
        num_class_embeds=10,
    )
    return ours, theirs, lambda model, x, t, y: model(x, t, class_labels=y).sample


def transformers() -> tuple[nn.Module, nn.Module, Call]:
    """Our ViT denoiser, diffusers' DiTTransformer2DModel, and how to call the latter."""
    ours = our_denoiser(
        {"name": "vit", "width": 112, "depth": 5, "head_width": 28, "mlp_ratio": 4.0, "position": "sincos",
         "class_token": False, "attention": "full", "dropout": 0.0}, 2)  # fmt: skip
    theirs = DiTTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=28,
        in_channels=1,
        out_channels=1,
        num_layers=5,
        patch_size=2,
        sample_size=28,
        num_embeds_ada_norm=10,
    )
    return ours, theirs, lambda model, x, t, y: model(x, t, class_labels=y).sample


def macs(model: nn.Module, call: Call) -> int:
    """Multiply-adds of one forward pass for one image."""
    inputs = torch.zeros(1, *SPEC.shape), torch.zeros(1), torch.zeros(1, dtype=torch.int64)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call(model, *inputs)
    return counter.get_total_flops() // 2


def stepper(model: nn.Module, call: Call, batch: int, bf16: bool) -> Callable[[], float]:
    """A function that makes one training step and returns its seconds."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    x, t = torch.randn(batch, *SPEC.shape), 1000 * torch.rand(batch)
    y = torch.randint(0, SPEC.classes, (batch,))

    def step() -> float:
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = (call(model, x, t, y).float() - x).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - began

    return step


def compare(name: str, pair: tuple[nn.Module, nn.Module, Call], batch: int, rounds: int, bf16: bool) -> dict:
    ours, theirs, call = pair
    print(f"{name}: ours {macs(ours, our_call):,} MACs, peer {macs(theirs, call):,} MACs per image", flush=True)
    steps = stepper(ours, our_call, batch, bf16), stepper(theirs, call, batch, bf16)
    for step in steps:
        step()  # the first one chooses kernels and allocates
    seconds = [[step() for step in steps] for _ in range(rounds)]
    mine, peer = (batch / statistics.median(column) for column in zip(*seconds, strict=True))
    return {"name": name, "ours": mine, "peer": peer, "ratio": mine / peer, "unit": "images/s", "rounds": rounds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.manual_seed(0)
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, diffusers {__version__}"
    )
    rows = []
    for bf16 in (False, True):
        precision = "bf16" if bf16 else "fp32"
        rows.append(compare(f"unet vs UNet2DModel {precision}", unets(), args.batch, args.rounds, bf16))
        rows.append(compare(f"vit vs DiTTransformer2DModel {precision}", transformers(), args.batch, args.rounds, bf16))
    print(f"{'name':<36}{'ours':>9}{'peer':>9}{'ratio':>7}  images/s, median of {args.rounds} rounds")
    for row in rows:
        print(f"{row['name']:<36}{row['ours']:>9.1f}{row['peer']:>9.1f}{row['ratio']:>7.2f}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
