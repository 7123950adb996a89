"""Study: what does it cost each backbone to come to the same quality?"""

from __future__ import annotations

import math
from functools import partial

from matplotlib.figure import Figure

from genvision.analysis.curves import intervals
from genvision.analysis.estimates import over_seeds, select
from genvision.analysis.figures import look, panels, plain_ticks
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Study
from genvision.analysis.sweep import FAMILIES, PRESETS, UNITS, measure
from genvision.analysis.thresholds import budgets, curves_of, fall, ratio, threshold
from genvision.config.trunks import BACKBONES

BUDGETS = {"images": "images seen", "macs": "multiply-adds", "seconds": "seconds"}
FEWEST = 3


def fractions(table: Rows) -> list[float]:
    return sorted({row["fraction"] for row in table})


def dearest(table: Rows) -> list[Estimate]:
    """The largest budget over the least, for each family and unit, on all of the data."""
    found = []
    for family in FAMILIES:
        for unit in BUDGETS:
            each = budgets(select(table, family, fraction=fractions(table)[-1]), unit)
            order = sorted(each, key=lambda name: ratio(name, each[name], each["convnet"]).value)
            of = f"{family}, {unit}: {order[-1]} over {order[0]}"
            found.append(ratio(of, each[order[-1]], each[order[0]]))
    return found


def epsilon_of(table: Rows, backbone: str, unit: str = "images") -> list[Estimate]:
    """Epsilon of a backbone over that of the ConvNet: iterations go as 1 / epsilon, so that the ratio turns round."""
    found = []
    for family in FAMILIES:
        for fraction in fractions(table):
            each = budgets(select(table, family, fraction=fraction), unit)
            found.append(ratio(f"{family}, {fraction:.1%} of the data", each["convnet"], each[backbone]))
    return found


def exponents(table: Rows) -> list[Estimate]:
    """b of steps ~ gap^-b: how the number of steps grows as a loss closes in on its floor, on all of the data."""
    found = []
    for family in FAMILIES:
        curves = curves_of(select(table, family, fraction=fractions(table)[-1]))
        for backbone in BACKBONES:
            rows = []
            for (name, seed), points in curves.items():
                if name == backbone:
                    later = [point for point in points if point["step"]]
                    law = fall([point["step"] for point in later], [point["loss"] for point in later])
                    rows.append({"seed": seed, "value": 1 / law.exponent})
            found += over_seeds(f"{family}, {backbone}", rows)
    return found


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 3, 3, width=2.7, height=2.2)
    shares = fractions(table)
    for row, family in enumerate(FAMILIES):
        curves = curves_of(select(table, family, fraction=shares[-1]))
        for ax, unit in zip(axes[3 * row :], ("images", "seconds"), strict=False):
            for k, backbone in enumerate(BACKBONES):
                for (name, seed), points in curves.items():
                    if name == backbone:
                        x, y = [p[unit] for p in points[1:]], [p["loss"] for p in points[1:]]
                        ax.plot(x, y, label=backbone if seed == 0 else None, **look(k))
            if math.isfinite(level := threshold(list(curves.values()))):
                ax.axhline(level, color="0.4", linewidth=0.8)
            ax.set(xscale="log", xlabel=BUDGETS[unit], ylabel=UNITS[family], title=f"{family}, all of the data")
            plain_ticks(ax.xaxis)
        ax = axes[3 * row + 2]
        for k, backbone in enumerate(("vit", "mixer"), 1):
            found = epsilon_of(table, backbone)[row * len(shares) : (row + 1) * len(shares)]
            shown = [at for at, one in enumerate(found) if math.isfinite(one.low)]
            places = [shares[at] * (1 + 0.08 * k) for at in shown]
            intervals(ax, places, [found[at] for at in shown], k, backbone)
        ax.axhline(1, color="0.4", linewidth=0.8)
        ax.set(xscale="log", yscale="log", xlabel="share of the data", ylabel="ε over the ConvNet's", title=family)
        plain_ticks(ax.yaxis, few=True)
    axes[0].legend()
    axes[2].legend()
    figure.suptitle("Held-out loss; gray: the threshold. Right: above 1, fewer images than the ConvNet", fontsize=9)


STUDY = Study(
    name="epsilon",
    question="What does it cost each backbone to come to the same quality?",
    measurement="Images, steps, multiply-adds and seconds of small generators of equal weights to a held-out loss that "
    "all of them reach, over shares of the data; steps are images over the batch.",
    claims=(
        Claim(
            ("S0-31",), "budgets diverge in generation: one backbone needs half as much again as another",
            Rule("the dearest backbone's budget over the cheapest's", low=1.5, fewest=FEWEST), dearest,
        ),
        Claim(
            ("S0-32",), "iterations grow in proportion to 1 / ε, where ε is the distance to the loss at the end",
            Rule("the exponent of 1 / ε", low=0.8, high=1.25, fewest=FEWEST), exponents,
        ),
        Claim(
            ("S0-33",), "the ViT's ε is smaller than the ConvNet's: it needs more images to the same loss",
            Rule("ε of the ViT over that of the ConvNet", high=1.0, fewest=FEWEST),
            partial(epsilon_of, backbone="vit"),
        ),
        Claim(
            (), "so is the Mixer's",
            Rule("ε of the Mixer over that of the ConvNet", high=1.0, fewest=FEWEST),
            partial(epsilon_of, backbone="mixer"),
        ),
        Claim(
            (), "counted in seconds, the ViT's ε is smaller too",
            Rule("ε of the ViT over that of the ConvNet", high=1.0, fewest=FEWEST),
            partial(epsilon_of, backbone="vit", unit="seconds"),
        ),
    ),
    presets=PRESETS,
    measure=measure,
    draw=draw,
)  # fmt: skip
