"""Study: how far do layers look?"""

from __future__ import annotations

from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genvision.analysis.capture import is_block, sites
from genvision.analysis.curves import curve, point, whole_numbers
from genvision.analysis.estimates import mean_of, over_seeds, seed_ratios, select
from genvision.analysis.figures import panels
from genvision.analysis.passes import forward, noisy, test_batches
from genvision.analysis.reach import attention_distance, heard, recorded, uniform_distance, width
from genvision.analysis.runs import Runs, Trained
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.config.trunks import BACKBONES
from genvision.probability.units import to_unit
from genvision.spec import Batch, Draw

ROLES = {"encoder": "vae", "denoiser": "diffusion"}


def measure(setting: Setting, runs: Runs) -> Rows:
    """Widths of effective receptive fields of every block, and distances of every head, in pixels; groups of images."""
    rows: Rows = []
    for role, family in ROLES.items():
        for one in runs.of(family):
            for group, (batch, draw) in enumerate(test_batches(one, setting["batch"], setting["groups"])):
                rows += fields(one, role, batch, draw, group) + attended(one, role, batch, draw, group)
    return rows


def fields(one: Trained, role: str, batch: Batch, draw: Draw, group: int) -> Rows:
    """The width of what every block hears of the image that its network is given."""
    family: Any = one.family
    network = getattr(family, role)
    if role == "denoiser":
        t = (0 * batch.images[:, 0, 0, 0] + 0.5).to(family.dtype)
        images = noisy(family, batch, draw, t).requires_grad_()
        run = lambda: family.output(images, t, batch.labels)  # noqa: E731
    else:
        images = to_unit(batch.images, family.spec.levels, family.dtype).requires_grad_()
        run = lambda: network(images, batch.labels)  # noqa: E731
    blocks = [name for name in sites(network, run) if is_block(name)]
    found = heard(network, run, images, blocks)
    base = {"part": f"{role} field", "what": one.config.backbone, "seed": group, "head": 0}
    return [base | {"i": i, "value": round(width(found[name].mean(0)), 4)} for i, name in enumerate(blocks)]


def attended(one: Trained, role: str, batch: Batch, draw: Draw, group: int) -> Rows:
    """The distance of every head of full attention, and that of attending to all tokens alike."""
    network = getattr(one.family, role)
    with recorded(network) as weights:
        grids = {site.module: site.grid for site in sites(network, forward(one.family, role, batch, draw)).values()}
    rows: Rows = []
    own = [name for name in weights if name.startswith("trunk.")]  # not of the latents above the grid
    for i, name in enumerate(own):
        each, grid = weights[name], grids[network.get_submodule(name)]
        assert grid is not None, "attention mixes the positions of a block"
        pixels = batch.images.shape[2] / grid[0]
        base: dict[str, Any] = {"part": f"{role} attention", "what": one.config.backbone, "seed": group, "i": i}
        base["uniform"] = round(pixels * uniform_distance(grid), 4)
        found = (pixels * attention_distance(each, grid)).tolist()
        rows += [base | {"head": head, "value": round(value, 4)} for head, value in enumerate(found)]
    return rows


def ends(table: Rows, part: str, backbone: str) -> tuple[Rows, Rows]:
    """The rows of the first and of the last block."""
    rows = select(table, part, backbone)
    last = max((row["i"] for row in rows), default=0)
    return [row for row in rows if row["i"] == 0], [row for row in rows if row["i"] == last]


def growth(table: Rows, backbone: str) -> list[Estimate]:
    """The field of the last block over that of the first, of encoders: their trunks keep one resolution."""
    first, last = ends(table, "encoder field", backbone)
    return seed_ratios(backbone, last, first)


def at_first(table: Rows) -> list[Estimate]:
    """The field of a ViT's first block over that of a ConvNet's."""
    return seed_ratios("encoder", *(ends(table, "encoder field", name)[0] for name in ("vit", "convnet")))


def spread_of_heads(table: Rows) -> list[Estimate]:
    """How far the heads of a ViT's first layer differ in distance, over the distance of attending to all alike."""
    found = []
    for role in ROLES:
        heads: dict[int, list[float]] = {}
        for row in ends(table, f"{role} attention", "vit")[0]:
            heads.setdefault(row["seed"], []).append(row["value"] / row["uniform"])
        found += mean_of(role, [max(each) - min(each) for each in heads.values()])
    return found


def globality(table: Rows) -> list[Estimate]:
    """The mean distance of a ViT's last layer over that of its first."""
    pairs = {role: ends(table, f"{role} attention", "vit") for role in ROLES}
    return [found for role, (first, last) in pairs.items() for found in seed_ratios(role, last, first)]


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 2, 2, width=3.4, height=2.6)
    for ax, role in zip(axes, ROLES, strict=False):
        for k, name in enumerate(BACKBONES):
            curve(ax, select(table, f"{role} field", name), "i", k, name)
        ax.set(title=f"effective receptive field, {role}", xlabel="block", ylabel="standard deviation (pixels)")
    for ax, role in zip(axes[2:], ROLES, strict=True):
        for k, name in enumerate(BACKBONES):
            heads(ax, select(table, f"{role} attention", name), k, name)
        ax.set(title=f"attention, every head of the {role}", xlabel="layer of attention")
        ax.set(ylabel="mean distance / all tokens alike")
        ax.axhline(1, color="0.5", linewidth=0.8)
    for ax in axes:
        whole_numbers(ax)
        ax.legend()


def heads(ax: Axes, rows: Rows, k: int, label: str) -> None:
    """A point for every head of every layer, with its interval; heads of one layer side by side."""
    shown = label
    for i, head in sorted({(row["i"], row["head"]) for row in rows}):
        each = [{**row, "value": row["value"] / row["uniform"]} for row in rows if (row["i"], row["head"]) == (i, head)]
        (one,) = over_seeds(label, each)
        point(ax, i + 0.1 * head + 0.05 * k, one, k, shown)
        shown = "_"  # in the legend once


STUDY = Study(
    name="sight",
    question="How far do layers look?",
    measurement="Width of what a block hears of the image, by gradients, and distance of what heads attend to.",
    claims=(
        Claim(
            ("S2-04", "S4-14"), "the receptive field of a ConvNet grows with depth",
            Rule("the width of the last block's over that of the first", low=1.1, fewest=3),
            partial(growth, backbone="convnet"),
        ),
        Claim(
            ("S2-19", "S1-23", "S4-14"), "a ViT looks further than a ConvNet from its first block on",
            Rule("the width of its first block over the ConvNet's", low=1.1, fewest=3), at_first,
        ),
        Claim(
            ("S4-12",), "the first layer of a ViT holds local and global heads",
            Rule("the spread of its heads over the distance of attending to all alike", low=0.25, fewest=3),
            spread_of_heads,
        ),
        Claim(
            ("S4-12",), "upper layers of a ViT look further than its first",
            Rule("the distance of the last layer over that of the first", low=1.05, fewest=3), globality,
        ),
    ),
    presets={
        "smoke": {"groups": 2, "batch": 4},
        "cpu": {"groups": 5, "batch": 64},
        "gpu": {"groups": 10, "batch": 128},
    },
    measure=measure,
    draw=draw,
    reads=tuple(ROLES.values()),
)  # fmt: skip
