"""Study: what is lost when one skip connection of a trained network is taken away?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from genvision.analysis.capture import capture, sites
from genvision.analysis.curves import curve, few_decades, whole_numbers
from genvision.analysis.estimates import mean_of, over_seeds, seed_means, select
from genvision.analysis.figures import panels
from genvision.analysis.kernels import alignment, hsic, linear_kernel
from genvision.analysis.passes import test_batches
from genvision.analysis.runs import Runs, Trained
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.config.trunks import BACKBONES
from genvision.layers.block import Block
from genvision.layers.residual import ResidualBlock

NOTHING = 1e-6  # of added loss


def measure(setting: Setting, runs: Runs) -> Rows:
    """Of denoisers, block by block: the loss on test images and the alignment across the block, over those intact."""
    rows: Rows = []
    for one in runs.of("diffusion"):
        family: Any = one.family
        for group, (batch, draw) in enumerate(test_batches(one, setting["batch"], setting["groups"])):
            run = partial(family.loss, batch, draw)
            blocks = skipping(family.denoiser, run)
            intact, aligned = loss(run), across(one, run, list(blocks))
            for i, block in enumerate(blocks.values()):
                base = {"what": one.config.backbone, "i": i, "seed": group}
                with without_skip(block):
                    rows.append(base | {"part": "skip", "value": round(loss(run) / intact, 4)})
                    after = across(one, run, list(blocks))[i]
                with without_branch(block):
                    rows.append(base | {"part": "branch", "value": round(loss(run) / intact, 4)})
                rows.append(base | {"part": "alignment", "value": round(aligned[i], 4)})
                rows.append(base | {"part": "alignment without skip", "value": round(after, 4)})
    return rows


def loss(run: Callable[[], dict[str, Tensor]]) -> float:
    """The mean over images."""
    with torch.no_grad():
        return run()["loss"].mean().item()


def skipping(network: nn.Module, run: Callable[[], Any]) -> dict[str, nn.Module]:
    """The blocks of a network that stand beside a skip of their whole input."""
    found = {name: site.module for name, site in sites(network, run).items()}
    return {name: module for name, module in found.items() if isinstance(module, (Block, ResidualBlock))}


def shortcut(block: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    """What the skip of a block carries past its branches."""
    if isinstance(block, ResidualBlock):
        x = torch.cat([inputs[0], inputs[2]], 1) if len(inputs) > 2 else inputs[0]
        return block.skip(x)
    return inputs[0]


@contextmanager
def without_skip(block: nn.Module) -> Iterator[None]:
    """While entered, the block gives what its branches add, and nothing of its input."""
    handle = block.register_forward_hook(lambda module, inputs, output: output - shortcut(module, inputs))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def without_branch(block: nn.Module) -> Iterator[None]:
    """While entered, the block gives its skip alone."""
    handle = block.register_forward_hook(lambda module, inputs, output: shortcut(module, inputs))
    try:
        yield
    finally:
        handle.remove()


def across(one: Trained, run: Callable[[], Any], blocks: list[str]) -> list[float]:
    """The alignment of every block's output with what the trunk gives."""
    found = capture(one.family.get_submodule("denoiser"), run, [*blocks, "trunk"])
    kernels = torch.stack([linear_kernel(found[name].flatten(1).double()) for name in (*blocks, "trunk")])
    return alignment(hsic(kernels))[-1, :-1].tolist()


def ratio(table: Rows, part: str) -> list[Estimate]:
    """The mean over blocks of a loss over the intact one."""
    return [found for name in BACKBONES for found in over_seeds(name, select(table, part, name))]


def skip_over_branch(table: Rows) -> list[Estimate]:
    """How many times as much loss the lack of a skip causes as the lack of the branches beside it."""
    found = []
    for name in BACKBONES:
        skip, branch = (seed_means(select(table, part, name)) for part in ("skip", "branch"))
        found += mean_of(name, [(skip[g] - 1) / max(branch[g] - 1, NOTHING) for g in skip if g in branch])
    return found


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 1, 3, width=3.0, height=2.6)
    for ax, part in zip(axes, ("skip", "branch", "alignment without skip"), strict=True):
        for k, name in enumerate(BACKBONES):
            curve(ax, select(table, part, name), "i", k, name)
        ax.set_xlabel("block that is changed")
        whole_numbers(ax)
    for ax, title in zip(axes, ("without its skip", "without its branches"), strict=False):
        ax.set(title=title, ylabel="loss / intact loss")
        few_decades(ax)
    axes[2].set(title="without its skip", ylabel="CKA of its output and the trunk's")
    axes[0].legend()


STUDY = Study(
    name="skips",
    question="What is lost when one skip connection of a trained network is taken away?",
    measurement="Loss of trained denoisers on test images with one block's skip, or its branches, removed.",
    claims=(
        Claim(
            ("S4-16",), "without one skip connection a network breaks",
            Rule("the mean over blocks of the loss over that intact", low=1.5, fewest=3), partial(ratio, part="skip"),
        ),
        Claim(
            ("S4-16",), "the skip of a block matters more than its branches",
            Rule("the loss that its lack adds over what the lack of the branches adds", low=1, fewest=3),
            skip_over_branch,
        ),
    ),
    presets={
        "smoke": {"groups": 2, "batch": 4},
        "cpu": {"groups": 5, "batch": 64},
        "gpu": {"groups": 10, "batch": 128},
    },
    measure=measure,
    draw=draw,
    reads=("diffusion",),
)  # fmt: skip
