"""Study: do token mixing and channel mixing blur with depth?"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from genvision.analysis.capture import is_block, sites
from genvision.analysis.curves import curve, whole_numbers
from genvision.analysis.estimates import mean_of, seed_differences, seed_means, select
from genvision.analysis.figures import panels
from genvision.analysis.passes import noisy, test_batches
from genvision.analysis.reach import heard
from genvision.analysis.runs import Runs, Trained
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study

BACKBONES = ("vit", "mixer")
TIME = 0.5  # of the path: half of what the denoiser sees is noise


def measure(setting: Setting, runs: Runs) -> Rows:
    """What a token in the middle holds of its own patch, after the stem (0) and after every block."""
    rows: Rows = []
    for one in runs.of("diffusion", backbones=BACKBONES, seeds=setting["seeds"]):
        base = {"part": "own patch", "what": one.config.backbone, "seed": one.config.train.seed}
        for i, share in enumerate(shares(one, setting["batch"])):
            rows.append(base | {"i": i, "value": round(share, 5)})
    return rows


def shares(one: Trained, batch: int) -> list[float]:
    """After the stem and each block, the share of the squared gradient that leads to the pixels of the token's patch.

    The mean over `batch` test images, half noise.
    """
    family: Any = one.family
    (images, draw), *_ = test_batches(one, batch, 1)
    t = torch.full((len(images.images),), TIME, dtype=family.dtype)
    seen = noisy(family, images, draw, t).requires_grad_()
    run = lambda: family.output(seen, t, images.labels)  # noqa: E731
    names = [name for name in sites(family.denoiser, run) if name == "stem" or is_block(name)]
    grid = family.denoiser.trunk.grid
    return [own_share(field, grid) for field in heard(family.denoiser, run, seen, names).values()]


def own_share(fields: Tensor, grid: tuple[int, int]) -> float:
    """Of fields (B,H,W), how much lies in the patch in the middle of a grid of patches; the mean over images."""
    down, right = fields.shape[1] // grid[0], fields.shape[2] // grid[1]
    top, left = grid[0] // 2 * down, grid[1] // 2 * right
    own = fields[:, top : top + down, left : left + right].double().sum((1, 2))
    return (own / fields.double().sum((1, 2))).mean().item()


def fallen(table: Rows, backbone: str) -> list[Estimate]:
    """The share of a token's own patch after the first block less that after the last."""
    rows = select(table, "own patch", backbone)
    last = max(row["i"] for row in rows)
    return seed_differences(backbone, *(seed_means([row for row in rows if row["i"] == i]) for i in (1, last)))


def left(table: Rows) -> list[Estimate]:
    """The share of a token's own patch after the last block."""
    found = []
    for backbone in BACKBONES:
        rows = select(table, "own patch", backbone)
        last = max(row["i"] for row in rows)
        found += mean_of(backbone, list(seed_means([row for row in rows if row["i"] == last]).values()))
    return found


def draw(table: Rows, figure: Figure) -> None:
    (ax,) = panels(figure, 1, 1, width=4.0, height=2.8)
    for k, name in enumerate(BACKBONES):
        curve(ax, select(table, "own patch", name), "i", k, name)
    ax.set(ylim=(0, 1.1), xlabel="blocks that a token has been through", ylabel="share of its own patch in a token")
    whole_numbers(ax)
    ax.legend(loc="lower left")


STUDY = Study(
    name="blur",
    question="Do token mixing and channel mixing blur with depth?",
    measurement="The share of the squared gradient of a token in the middle of a denoiser that leads to its own patch: "
    "what is left for channel mixing to do to that patch alone.",
    claims=(
        Claim(
            ("S3-18",), "in a ViT the two blur: deeper tokens hold less of their own patch",
            Rule("what its share falls from the first to the last block", low=0.05, fewest=3),
            partial(fallen, backbone="vit"),
        ),
        Claim(
            ("S3-18",), "so they do in a Mixer",
            Rule("what its share falls from the first to the last block", low=0.05, fewest=3),
            partial(fallen, backbone="mixer"),
        ),
        Claim(
            ("S3-18",), "at the end most of a token comes from other patches",
            Rule("the share of its own patch after the last block", high=0.5, fewest=3), left,
        ),
    ),
    presets={
        "smoke": {"seeds": (0, 1), "batch": 4},
        "cpu": {"seeds": (0, 1, 2), "batch": 64},
        "gpu": {"seeds": (0, 1, 2), "batch": 512},
    },
    measure=measure,
    draw=draw,
    reads=("diffusion",),
)  # fmt: skip
