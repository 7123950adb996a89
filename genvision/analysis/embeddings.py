"""Study: do learned position embeddings know which places are neighbours?"""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from genvision.analysis.curves import as_map, curve
from genvision.analysis.estimates import over_seeds, select
from genvision.analysis.figures import panels
from genvision.analysis.reach import distances
from genvision.analysis.runs import Runs
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.build import build

ROLES = {"encoder": "vae", "decoder": "vae", "denoiser": "diffusion"}
STATES = ("trained", "untrained")
NEAR = 1.0  # tokens between neighbours
FAR = 0.5  # of the greatest distance: from here on two places are far apart


def measure(setting: Setting, runs: Runs) -> Rows:
    """Cosine similarity of the position embeddings of ViTs, over distance and as maps of the place in the middle."""
    rows: Rows = []
    for role, family in ROLES.items():
        words = setting["words"] if family == "vae" else ()
        for one in runs.of(family, backbones=("vit",), seeds=setting["seeds"], words=words):
            untrained = build(one.config, one.family.spec)
            for state, found in zip(STATES, (one.family, untrained), strict=True):
                table = found.get_submodule(role).trunk.position.table
                if table is not None:
                    base = {"what": f"{role}, {state}", "seed": one.config.train.seed}
                    rows += [base | row for row in described(table.detach())]
    return rows


def similarity(table: Tensor) -> Tensor:
    """(h,w,D) -> (T,T) cosine similarity of the embeddings of all places, their common mean taken away."""
    tokens = table.flatten(0, 1).double()
    unit = F.normalize(tokens - tokens.mean(0), dim=1)
    return unit @ unit.mT


def described(table: Tensor) -> Rows:
    """Mean similarity over distance, the difference of near and far, and the map of the middle."""
    grid = table.shape[0], table.shape[1]
    alike, apart = similarity(table), distances(grid)
    far = apart >= FAR * apart.max()
    contrast = alike[apart == NEAR].mean() - alike[far].mean()
    rows: Rows = [{"part": "contrast", "value": round(contrast.item(), 4)}]
    for step in range(1, int(apart.max()) + 1):
        here = (apart - step).abs() <= 0.5
        rows.append({"part": "over distance", "i": step, "value": round(alike[here].mean().item(), 4)})
    middle = alike[grid[0] // 2 * grid[1] + grid[1] // 2].unflatten(0, grid)
    rows += [
        {"part": "map", "i": i, "j": j, "value": round(float(value), 4)}
        for (i, j), value in np.ndenumerate(middle.numpy())
    ]
    return rows


def contrast(table: Rows, state: str) -> list[Estimate]:
    """The similarity of neighbours less that of places far apart."""
    return [one for role in ROLES for one in over_seeds(role, select(table, "contrast", f"{role}, {state}"))]


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 1, 4, width=2.5, height=2.4)
    for ax, role in zip(axes, ROLES, strict=False):
        rows = select(table, "map", f"{role}, trained")
        ax.set(title=f"{role}: to the middle place", xlabel="token, column", ylabel="token, row")
        as_map(ax)
        if rows:
            first = [row for row in rows if row["seed"] == rows[0]["seed"]]
            shape = 1 + max(row["i"] for row in first), 1 + max(row["j"] for row in first)
            image = ax.imshow(np.array([row["value"] for row in first]).reshape(shape), cmap="gray", vmin=-1, vmax=1)
            figure.colorbar(image, ax=ax, label="cosine similarity, seed 0", shrink=0.8)
    for k, (role, state) in enumerate((role, state) for state in STATES for role in ROLES):
        curve(axes[3], select(table, "over distance", f"{role}, {state}"), "i", k, f"{role}, {state}")
    axes[3].set(title="over distance", xlabel="distance (tokens)", ylabel="mean cosine similarity")
    figure.legend(*axes[3].get_legend_handles_labels(), loc="outside lower right", ncols=6)


STUDY = Study(
    name="embeddings",
    question="Do learned position embeddings know which places are neighbours?",
    measurement="Cosine similarity of the position embeddings of trained ViTs, and of the same before training.",
    claims=(
        Claim(
            ("S1-24",), "a ViT learns from data which places are neighbours",
            Rule("the similarity of neighbours less that of places far apart", low=0.05, fewest=3),
            partial(contrast, state="trained"),
        ),
        Claim(
            ("S1-24",), "before training it does not know",
            Rule("the similarity of neighbours less that of places far apart", low=-0.05, high=0.05, fewest=3),
            partial(contrast, state="untrained"),
        ),
    ),
    presets={
        "smoke": {"seeds": (0, 1), "words": ()},
        "cpu": {"seeds": (0, 1, 2), "words": ("size=mini", "data.labels=false")},
        "gpu": {"seeds": (0, 1, 2), "words": ("data.labels=false",)},
    },
    measure=measure,
    draw=draw,
    reads=("vae", "diffusion"),
)  # fmt: skip
