"""Study: who needs more data?"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from genvision.analysis.curves import intervals
from genvision.analysis.estimates import crossing, differences, mean_of, select
from genvision.analysis.figures import panels
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Study
from genvision.analysis.sweep import FAMILIES, PRESETS, UNITS, measure
from genvision.analysis.thresholds import curves_of
from genvision.config.trunks import BACKBONES

FEWEST = 3


def shares(table: Rows) -> list[float]:
    return sorted({row["fraction"] for row in table})


def least(table: Rows, family: str, backbone: str, fraction: float) -> dict[int, float]:
    """{seed: the least held-out loss on the way}: what stopping in time would give."""
    curves = curves_of(select(table, family, backbone, fraction=fraction))
    return {seed: min(point["loss"] for point in points) for (_, seed), points in curves.items()}


def excess(table: Rows, family: str, backbone: str, fraction: float) -> dict[int, float]:
    """{seed: loss of a backbone over that of the ConvNet, less 1}"""
    one, other = (least(table, family, name, fraction) for name in (backbone, "convnet"))
    return {seed: one[seed] / other[seed] - 1 for seed in one}


def behind(table: Rows, place: int, backbone: str = "vit", sign: int = 1) -> list[Estimate]:
    """By which share of the ConvNet's loss a backbone's is larger, or smaller with sign -1; place: 0 the least data."""
    fraction, found = shares(table)[place], []
    for family in FAMILIES:
        values = excess(table, family, backbone, fraction).values()
        found += mean_of(f"{family}, {fraction:.1%} of the data", [sign * value for value in values])
    return found


def gains(table: Rows, sign: int) -> list[Estimate]:
    """What the step from the least to all of the data does for the ViT, beyond what it does for the ConvNet."""
    found = []
    for family in FAMILIES:
        ends = (excess(table, family, "vit", shares(table)[place]) for place in (0, -1))
        found += mean_of(family, [sign * value for value in differences(*ends).values()])
    return found


def means(table: Rows, family: str, backbone: str) -> list[float]:
    return [float(np.mean(list(least(table, family, backbone, share).values()))) for share in shares(table)]


def crossover(table: Rows, family: str, better: str, worse: str) -> float:
    """The share of the data beyond which `better` has the lower mean loss; 0: everywhere, infinity: nowhere here."""
    return crossing(shares(table), means(table, family, better), means(table, family, worse))


def changes(table: Rows) -> list[Estimate]:
    """Families in which some share of the data has another best backbone than some other share."""
    seeds = len({row["seed"] for row in table})
    best = [
        {min(BACKBONES, key=lambda name: means(table, family, name)[k]) for k in range(len(shares(table)))}
        for family in FAMILIES
    ]
    return [Estimate.counted("families", sum(len(names) > 1 for names in best), seeds)]


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 1, len(FAMILIES), width=3.0, height=2.8)
    for ax, family in zip(axes, FAMILIES, strict=True):
        for k, backbone in enumerate(BACKBONES):
            found = [mean_of("", list(least(table, family, backbone, share).values()))[0] for share in shares(table)]
            places = [share * (1 + 0.06 * (k - 1)) for share in shares(table)]
            intervals(ax, places, found, k, backbone)
        where = crossover(table, family, "vit", "convnet")
        told = {0.0: "ViT better at every share", math.inf: "no crossover up to all of the data"}
        title = told.get(where, f"ViT better beyond {where:.1%} of the data")
        ax.set(xscale="log", xlabel="share of the training images", ylabel=UNITS[family], title=f"{family}\n{title}")
    axes[0].legend()


STUDY = Study(
    name="fractions",
    question="Who needs more data, ConvNet or ViT?",
    measurement="The least held-out loss of small generators of equal weights and equal steps, on shares of the data; "
    "S1-09 and S2-21 say the opposite of each other, and the claims say which of them each family sides with.",
    claims=(
        Claim(
            ("S1-09", "S1-27", "S2-18"), "on the least data the ViT is worse than the ConvNet (S1-09)",
            Rule("its loss over the ConvNet's, less 1,", low=0.0, fewest=FEWEST), partial(behind, place=0),
        ),
        Claim(
            ("S2-21",), "on the least data the ConvNet is worse than the ViT (S2-21)",
            Rule("1 less the ViT's loss over the ConvNet's", low=0.0, fewest=FEWEST), partial(behind, place=0, sign=-1),
        ),
        Claim(
            ("S1-09", "S2-22"), "on all of the data the ViT is better than the ConvNet (S1-09)",
            Rule("1 less its loss over the ConvNet's", low=0.0, fewest=FEWEST), partial(behind, place=-1, sign=-1),
        ),
        Claim(
            ("S1-09",), "more data does more for the ViT than for the ConvNet (S1-09)",
            Rule("by how much its loss over the ConvNet's falls", low=0.0, fewest=FEWEST), partial(gains, sign=1),
        ),
        Claim(
            ("S2-21",), "more data does more for the ConvNet than for the ViT (S2-21)",
            Rule("by how much the ViT's loss over its own rises", low=0.0, fewest=FEWEST), partial(gains, sign=-1),
        ),
        Claim(
            ("S0-39",), "which backbone is best depends on how much data there is",
            Rule("the number of families in which the best one changes with the share", low=1, fewest=FEWEST), changes,
        ),
    ),
    presets=PRESETS,
    measure=measure,
    draw=draw,
)  # fmt: skip
