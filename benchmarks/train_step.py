"""Images per second of one training step: each of our cells against a public implementation of its kind.

    pip install -e ".[bench]" && python benchmarks/train_step.py --json benchmarks/train_step.json

A step is loss, backward and a fused AdamW update on a batch of 1x28x28 images. Ours runs as `train.precision=auto` sets
it up on this machine (printed); a peer runs in float32, as it ships. Depth, width, heads and tokens are the peer's; the
U-Nets and the convolutional VAEs differ in plan and are matched in multiply-adds, which are printed for every row.
No public Mixer is causal and no public PixelCNN is maintained: the one stands beside a dense Mixer of equal cost, the
other beside itself in the usual number format and memory layout.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import peers
import torch
from interleaved import Row, Side, arguments, compare, heading, write_rows
from peers import SPEC
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from genvision.build import build
from genvision.config import load_config
from genvision.families import Family
from genvision.spec import Batch, Draw
from genvision.training.launch import header, make_accelerator
from genvision.training.optimizer import make_optimizer

PIXELCNN = ["family=autoregressive", "backbone=convnet", "trunk.width=128", "trunk.depth=15"]
VAE = ["family=vae", "family.top_channels=0"]  # the peers have one grid of latents and nothing above it
ROWS: dict[str, tuple[list[str], Callable[[], nn.Module]]] = {
    "diffusion convnet vs diffusers UNet2DModel": (
        ["family=diffusion", "backbone=convnet", "denoiser.trunk.multipliers=[1,2,4]"],
        peers.diffusers_unet,
    ),
    "diffusion convnet vs denoising-diffusion-pytorch Unet": (
        ["family=diffusion", "backbone=convnet", "denoiser.trunk.multipliers=[1,2,4]"],
        peers.ddpm_unet,
    ),
    "diffusion vit vs diffusers DiTTransformer2DModel": (
        ["family=diffusion", "backbone=vit", "trunk.width=192", "trunk.depth=6", "trunk.head_width=64"],
        lambda: peers.dit(192, 6, 3),
    ),
    "diffusion mixer vs timm MixerBlock": (
        ["family=diffusion", "backbone=mixer", "trunk.width=96", "trunk.depth=6"],
        lambda: peers.mixer_denoiser(96, 6),
    ),
    "autoregressive convnet vs itself in float32 NCHW": (
        PIXELCNN,
        lambda: contiguous(Ours(PIXELCNN)),
    ),
    "autoregressive vit vs transformers GPT2LMHeadModel": (
        ["family=autoregressive", "backbone=vit", "trunk.width=192", "trunk.depth=6", "trunk.head_width=64"],
        lambda: peers.NextToken(192, 6, 3),
    ),
    "autoregressive mixer vs timm MixerBlock": (
        ["family=autoregressive", "backbone=mixer", "trunk.width=48", "trunk.depth=2"],
        lambda: peers.mixer_predictor(48, 2),
    ),
    "vae convnet vs pythae VAE": (
        [*VAE, "backbone=convnet", "trunk.width=96", "trunk.depth=4"],
        peers.PythaeVAE,
    ),
    "vae vit vs timm vision_transformer.Block": (
        [
            *VAE,
            "backbone=vit",
            "family.likelihood=categorical",
            "trunk.width=96",
            "trunk.depth=4",
            "trunk.head_width=48",
        ],
        lambda: peers.vit_vae(96, 4, 2),
    ),
    "vae mixer vs timm MixerBlock": (
        [*VAE, "backbone=mixer", "family.likelihood=categorical", "trunk.width=96", "trunk.depth=5"],
        lambda: peers.mixer_vae(96, 5),
    ),
}


class Ours(nn.Module):
    """A cell's mean loss, as the training loop takes it."""

    def __init__(self, words: list[str]) -> None:
        super().__init__()
        self.config = load_config(None, ["size=small", "data=fashion_mnist_mini", *words])
        self.family: Family = build(self.config, SPEC)

    def forward(self, images: Tensor, y: Tensor) -> Tensor:
        return self.family(Batch(images, y), Draw(0, 0, torch.arange(len(images))))["loss"].mean()


def contiguous(cell: Ours) -> Ours:
    """The PixelCNN cell with its trunk in (B,D,H,W) memory instead of channels_last."""
    cell.family.predictor.trunk.channels_last = False
    return cell


def macs(model: nn.Module) -> int:
    """Multiply-adds of the forward pass for one image."""
    model.eval()  # a batch norm cannot train on one image
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *SPEC.shape, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
    return counter.get_total_flops() // 2


def stepper(model: nn.Module, batch: int, precision: str) -> Side:
    """A function that makes one training step and returns its images per second."""
    model.train()
    optimizer = make_optimizer(model, load_config(None, ["data=fashion_mnist_mini"]).train)
    images = torch.randint(0, 256, (batch, *SPEC.shape), dtype=torch.uint8)
    y = torch.randint(0, SPEC.classes, (batch,))

    def step() -> float:
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = model(images, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return batch / (time.perf_counter() - began)

    return step


def main() -> None:
    parser = arguments(__doc__, rounds=9)
    parser.add_argument("--batch", type=int, default=32)
    args = parser.parse_args()
    torch.manual_seed(0)
    accelerator = make_accelerator(load_config(None, ["data=fashion_mnist_mini"]))
    precision = accelerator.mixed_precision
    print(header(accelerator))
    heading(["diffusers", "denoising-diffusion-pytorch", "transformers", "timm", "pythae"])
    rows: list[Row] = []
    for name, (words, make_peer) in ROWS.items():
        if args.only in name:
            ours, peer = Ours(words), make_peer()
            print(f"    {macs(ours):,} MACs an image beside {macs(peer):,}")
            sides = stepper(ours, args.batch, precision), stepper(peer, args.batch, "no")
            rows.append(compare(name, *sides, rounds=args.rounds, unit="images/s"))
    write_rows(rows, args.json)


if __name__ == "__main__":
    main()
