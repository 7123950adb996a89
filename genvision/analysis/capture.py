"""Activations by name, the same names for every backbone.

    stem                    what enters the trunk
    trunk.blocks.3          what the fourth block gives, in the order in which blocks run
    trunk.blocks.3.mixing   what that block adds to its skip by letting positions exchange information
    trunk                   what leaves the trunk

A U-Net's blocks are counted on its way down, through its middle and up again, its attention as blocks of its own; the
two streams of a PixelCNN++ as well, and of a gated PixelCNN's two streams the horizontal one is meant, which the head
reads. In convolution blocks one operation mixes positions and channels alike: their `mixing` is the residual branch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genvision.networks.network import REPEATED_BLOCKS

# class of a block -> its part whose output joins the skip; all of REPEATED_BLOCKS
MIXING = {
    "Block": "mixing",
    "ResidualBlock": "conv2",
    "SpatialAttention": "attention",
    "GatedLayer": "out",
    "RowResidual": "second",
    "PixelResidual": "second",
}


class Site(NamedTuple):
    """A part of a network, and the (h, w) on which it works where that cannot be read off its output."""

    module: nn.Module
    grid: tuple[int, int] | None = None


def is_block(name: str) -> bool:
    """Whether a name is that of a block of the trunk: not of its mixing, nor of a network inside the network."""
    return name.startswith("trunk.blocks.") and not name.endswith("mixing")


def sites(network: nn.Module, run: Callable[[], Any]) -> dict[str, Site]:
    """Every place of a network that has a name, in the order in which `run`, a forward pass, comes through it.

    Networks inside networks (the latents above a grid) have names with a prefix, such as "top.trunk.blocks.0".
    """
    found: dict[str, Site] = {}
    counts: Counter[str] = Counter()

    def visit(prefix: str) -> Callable[[nn.Module, Any], None]:
        def hook(block: nn.Module, inputs: Any) -> None:
            name, h = f"{prefix}.blocks.{counts[prefix]}", inputs[0]
            grid = tuple(h.shape[2:]) if h.ndim == 4 else network.get_submodule(prefix).grid
            found[f"{name}.mixing"] = Site(getattr(block, MIXING[type(block).__name__]), grid)
            found[name] = Site(block, grid)
            counts[prefix] += 1

        return hook

    handles = [
        module.register_forward_pre_hook(visit(name[: name.index("trunk") + len("trunk")]))
        for name, module in network.named_modules()
        if type(module).__name__ in REPEATED_BLOCKS
    ]
    _run(run, handles, gradients=False)
    ends = {name: Site(part) for name, part in network.named_modules() if name.rpartition(".")[2] in ("stem", "trunk")}
    stems = {name: site for name, site in ends.items() if name.endswith("stem")}
    return stems | found | ends


def capture(
    network: nn.Module,
    run: Callable[[], Any],
    names: Collection[str] | None = None,
    *,
    gradients: bool = False,
    known: dict[str, Site] | None = None,
) -> dict[str, Tensor]:
    """{name: (B,h,w,C)} of one forward pass; all sites, or those of `names`.

    gradients  keep what autograd needs to go back from an activation to the inputs of `run`
    known      its `sites`, where many passes are made; None: a pass goes before to find them
    Raises KeyError for a name that the network does not have.
    """
    known = sites(network, run) if known is None else known
    wanted = known if names is None else {name: known[name] for name in names}
    kept: dict[str, Tensor] = {}

    def keep(name: str, site: Site) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            kept[name] = as_grid(output, site)

        return hook

    _run(run, [site.module.register_forward_hook(keep(name, site)) for name, site in wanted.items()], gradients)
    return {name: kept[name] for name in wanted}


def as_grid(output: Any, site: Site) -> Tensor:
    """What a site gives -> (B,h,w,C): tokens without a class token, feature maps, or a grid already."""
    h = output[-1] if isinstance(output, tuple) else output  # of a gated layer's two streams the one that is read
    if site.grid is None:
        return h
    if h.ndim == 4:
        return h.permute(0, 2, 3, 1)
    return h[:, -site.grid[0] * site.grid[1] :].unflatten(1, site.grid)


def _run(run: Callable[[], Any], handles: list[Any], gradients: bool) -> None:
    try:
        with torch.set_grad_enabled(gradients):
            run()
    finally:
        for handle in handles:
            handle.remove()
