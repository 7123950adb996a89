"""Study: which layers of which backbones see the same?"""

from __future__ import annotations

import statistics
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from genvision.analysis.curves import as_map, curve
from genvision.analysis.estimates import mean_of, seed_differences, select
from genvision.analysis.figures import panels
from genvision.analysis.similarity_table import ACROSS, ROLES, measure
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Study
from genvision.config.trunks import BACKBONES

THIRD = 3
ROOM = 16  # cells of a matrix in which numbers can be read
MIDDLE = 0.5  # brighter cells take black numbers


def matrices(table: Rows, part: str, one: str, other: str) -> dict[int, np.ndarray]:
    """{group: (layers, layers)} of two networks."""
    found: dict[int, np.ndarray] = {}
    rows = select(table, part, f"{one} {other}")
    shape = 1 + max((row["i"] for row in rows), default=0), 1 + max((row["j"] for row in rows), default=0)
    for row in rows:
        found.setdefault(row["seed"], np.full(shape, np.nan))[row["i"], row["j"]] = row["value"]
    return found


def same_layer(table: Rows, other: str) -> list[Estimate]:
    """The share of layers that are most like the same layer of another network of their backbone."""
    found = []
    for role in ROLES:
        for name in BACKBONES:
            each = matrices(table, f"{role}, linear", f"{name}-0", f"{name}-{other}")
            shares = [float(np.mean(m.argmax(1) == np.arange(len(m)))) for m in each.values()]
            found += mean_of(f"{role}, {name}", shares)
    return found


def upper_part(table: Rows) -> list[Estimate]:
    """How much more a ViT's lower third is like any layer of a ConvNet than its upper third is."""
    found = []
    for role in ROLES:
        values = []
        for matrix in matrices(table, f"{role}, linear", "convnet-0", "vit-0").values():
            best, third = matrix.max(0), max(1, matrix.shape[1] // THIRD)
            values.append(float(best[:third].mean() - best[-third:].mean()))
        found += mean_of(role, values)
    return found


def likeness_within(table: Rows, more: str, less: str) -> list[Estimate]:
    """Mean alignment of different layers of one network less the same of another."""
    found = []
    for role in ROLES:
        each = [matrices(table, f"{role}, linear", f"{name}-0", f"{name}-0") for name in (more, less)]
        found += seed_differences(role, *({group: away(m) for group, m in one.items()} for one in each))
    return found


def away(matrix: np.ndarray) -> float:
    """The mean off the diagonal."""
    return statistics.fmean(matrix[~np.eye(len(matrix), dtype=bool)]) if len(matrix) > 1 else float("nan")


def deeper(table: Rows) -> list[Estimate]:
    """How much deeper, in shares of the network, a ConvNet's layer lies that is most like one of a ViT's lower half."""
    found = []
    for role in ROLES:
        values = []
        for matrix in matrices(table, f"{role}, linear", "convnet-0", "vit-0").values():
            lower = max(1, matrix.shape[1] // 2)
            match = matrix.argmax(0)[:lower] / max(1, matrix.shape[0] - 1)
            values.append(float((match - np.arange(lower) / max(1, matrix.shape[1] - 1)).mean()))
        found += mean_of(role, values)
    return found


def draw(table: Rows, figure: Figure) -> None:
    roles = [role for role in ROLES if any(row["part"] == f"{role}, linear" for row in table)]
    axes = panels(figure, max(1, len(roles)), 6, width=2.1, height=2.1)
    shown = [*((name, name) for name in BACKBONES), *ACROSS[:2]]
    for line, role in enumerate(roles):
        for ax, (one, other) in zip(axes[6 * line :], shown, strict=False):
            each = matrices(table, f"{role}, linear", f"{one}-0", f"{other}-0")
            if each:  # runs that were given may lack a backbone
                image = heatmap(ax, np.mean(list(each.values()), 0))
                ax.set(xlabel=f"block of {other}", ylabel=f"block of {one}", title=role)
                if ax is axes[0]:
                    figure.colorbar(image, ax=axes[5], location="left", label="linear CKA", fraction=0.6)
        axes[6 * line + 5].axis("off")
    if "denoiser" in roles:
        levels = axes[6 * roles.index("denoiser") + 5]
        levels.axis("on")
        for k, name in enumerate(BACKBONES):
            curve(levels, select(table, "noise", f"{name}-0"), "j", k, name)
        levels.set(xlabel="time (0: image, 1: noise)", ylabel="linear CKA with time 0.5", title="denoiser, same layer")
        levels.legend()


def heatmap(ax: Axes, values: np.ndarray) -> AxesImage:
    """A matrix in gray, its numbers written in where there is room."""
    as_map(ax)
    for (i, j), value in np.ndenumerate(values if values.size <= ROOM else values[:0]):
        ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=6, color="0" if value > MIDDLE else "1")
    return ax.imshow(values, cmap="gray", vmin=0, vmax=1, origin="lower", aspect="auto")


def narrower(width: int) -> tuple[str, ...]:
    return tuple(f"{role}.trunk.width={width}" for role in ("encoder", "decoder"))


POSITIVE = partial(Rule, low=0.001, fewest=3)
STUDY = Study(
    name="similarity",
    question="Which layers of which backbones see the same?",
    measurement="Unbiased CKA between all blocks, over groups of test images, of VAEs, denoisers and predictors.",
    claims=(
        Claim(
            ("S4-10",), "a layer is most like the same layer of a network trained from another seed",
            Rule("the share of layers of which this is so", low=0.5, fewest=3), partial(same_layer, other="1"),
        ),
        Claim(
            ("S4-10",), "or of a narrower network",
            Rule("the share of layers of which this is so", low=0.5, fewest=3), partial(same_layer, other="narrow"),
        ),
        Claim(
            ("S4-11",), "lower layers of a ViT are more like a ConvNet's than its upper layers are",
            POSITIVE("the difference of the best alignments"), upper_part,
        ),
        Claim(
            ("S4-13",), "a ConvNet needs more of its layers to see what a ViT's lower half sees",
            POSITIVE("the difference of relative depths"), deeper,
        ),
        Claim(
            ("S4-15",), "layers of a ViT are more like each other than layers of a ConvNet are",
            POSITIVE("the difference of mean alignments"), partial(likeness_within, more="vit", less="convnet"),
        ),
    ),
    presets={
        "smoke": {
            "roles": ("encoder", "decoder", "denoiser"), "seeds": (0, 1), "kernels": ("linear",), "groups": 2,
            "batches": 1, "batch": 8, "narrow": narrower(8),
        },
        "cpu": {
            "roles": ("encoder", "decoder", "denoiser"), "seeds": (0, 1), "kernels": ("linear", "rbf"), "groups": 5,
            "batches": 4, "batch": 64, "narrow": narrower(48),
        },
        "gpu": {
            "roles": tuple(ROLES), "seeds": (0, 1, 2), "kernels": ("linear", "rbf"), "groups": 10,
            "batches": 8, "batch": 128, "narrow": narrower(64),
        },
    },
    measure=measure,
    draw=draw,
    reads=tuple(dict.fromkeys(ROLES.values())),
)  # fmt: skip
