"""Study: how does the effort of an autoregressive generator grow with the sequence, and what does order do for it?"""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genvision.analysis.curves import intervals
from genvision.analysis.estimates import differences, over_seeds, seed_differences, select
from genvision.analysis.figures import look, panels
from genvision.analysis.learning import learning_curve
from genvision.analysis.runs import Runs
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.analysis.sweep import AUTOREGRESSIVE, words
from genvision.analysis.thresholds import budgets, curves_of, ratio
from genvision.config.trunks import BACKBONES

ORDERS = ("raster", "random")
FEWEST = 3


def measure(setting: Setting, runs: Runs) -> Rows:
    """A row for each point of each curve: part is the order of the pixels, what the backbone."""
    rows: Rows = []
    for side in setting["sides"]:
        for order in ORDERS:
            for backbone in BACKBONES:
                for seed in setting["seeds"]:
                    told = words(setting, "autoregressive", backbone, seed, side=side, options=AUTOREGRESSIVE[side])
                    place = {"part": order, "what": backbone, "side": side, "seed": seed}
                    points = learning_curve(runs.folder, [*told, f"family.order={order}"], setting["steps"])
                    rows += [place | point for point in points]
    return rows


def sides(table: Rows) -> list[int]:
    return sorted({row["side"] for row in table})


def steps_to(table: Rows, side: int) -> dict[str, dict[int, float]]:
    """{backbone: {seed: steps to the loss that all backbones reach at this length in raster order}}"""
    return budgets(select(table, "raster", side=side), "step")


def growth(table: Rows) -> list[Estimate]:
    """b of steps = a * length^b for each backbone, of seeds that came to the threshold at every length."""
    lengths = np.log([side**2 for side in sides(table)])
    each = [steps_to(table, side) for side in sides(table)]
    found = []
    for backbone in BACKBONES:
        rows = []
        for seed in each[0][backbone]:
            steps = [at[backbone][seed] for at in each]
            if np.isfinite(steps).all():
                rows.append({"seed": seed, "value": float(np.polyfit(lengths, np.log(steps), 1)[0])})
        found += over_seeds(backbone, rows)
    return found


def delta_ratio(table: Rows, backbone: str) -> list[Estimate]:
    """Delta, steps over length, of a backbone over that of the ConvNet."""
    found = []
    for side in sides(table):
        each = steps_to(table, side)
        found.append(ratio(f"{side} x {side}", each[backbone], each["convnet"]))
    return found


def last(table: Rows, order: str, side: int, backbone: str) -> dict[int, float]:
    """{seed: bits/dim at the end}"""
    curves = curves_of(select(table, order, backbone, side=side))
    return {seed: points[-1]["loss"] for (_, seed), points in curves.items()}


def advantage(table: Rows, order: str, budgets: tuple[str, ...] = ("images",)) -> list[Estimate]:
    """Bits/dim of the ConvNet less those of the ViT after the largest budget that all curves have of a unit."""
    found = []
    for side, budget in product(sides(table), budgets):
        curves = curves_of(select(table, order, side=side))
        most = min(points[-1][budget] for points in curves.values())
        at = {key: float(np.interp(most, *columns(points, budget))) for key, points in curves.items()}
        both = ({seed: loss for (of, seed), loss in at.items() if of == name} for name in ("convnet", "vit"))
        found += seed_differences(f"{side} x {side}, {order}, equal {budget}", *both)
    return found


def disorder(table: Rows, side: int, backbone: str) -> dict[int, float]:
    """{seed: bits/dim that a fixed permutation of the pixels costs}"""
    plain, shuffled = (last(table, order, side, backbone) for order in ORDERS)
    return differences(shuffled, plain)


def columns(points: Rows, budget: str) -> tuple[list[float], list[float]]:
    return [point[budget] for point in points], [point["loss"] for point in points]


def more_disorder(table: Rows) -> list[Estimate]:
    """What a permutation costs the ConvNet, less what it costs the ViT."""
    found = []
    for side in sides(table):
        found += seed_differences(f"{side} x {side}", *(disorder(table, side, name) for name in ("convnet", "vit")))
    return found


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 1, 2 + len(sides(table)), width=2.6, height=2.6)
    for ax, side in zip(axes, sides(table), strict=False):
        for k, backbone in enumerate(BACKBONES):
            for order, filled in zip(ORDERS, (None, "none"), strict=True):
                for (_, seed), points in curves_of(select(table, order, backbone, side=side)).items():
                    label = f"{backbone}, {order}" if seed == 0 else None
                    ax.plot(*columns(points[1:], "step"), label=label, markerfacecolor=filled, **look(k))
        ax.set(xscale="log", xlabel="steps", ylabel="bits/dim, held out", title=f"{side} x {side} pixels")
        steps = sorted({row["step"] for row in table if row["step"]})
        ax.set_xticks(steps, [str(step) for step in steps])
        ax.minorticks_off()
    axes[0].legend(fontsize=6)
    for k, backbone in enumerate(BACKBONES):
        _over_lengths(axes[-2], {side: steps_to(table, side)[backbone] for side in sides(table)}, k)
        _over_lengths(axes[-1], {side: disorder(table, side, backbone) for side in sides(table)}, k)
    axes[-2].set(xscale="log", xlabel="pixels", ylabel="steps to the threshold", title="effort")
    axes[-1].set(xscale="log", xlabel="pixels", ylabel="bits/dim", title="cost of a permutation")
    axes[-1].axhline(0, color="0.4", linewidth=0.8)
    for ax in axes[-2:]:
        ax.set_xticks([side**2 for side in sides(table)], [str(side**2) for side in sides(table)])
        ax.minorticks_off()


def _over_lengths(ax: Axes, values: dict[int, dict[int, float]], k: int) -> None:
    """{side: {seed: value}} as means with intervals over the number of pixels; what is not finite is left out."""
    finite = {
        side: [{"seed": s, "value": v} for s, v in each.items() if np.isfinite(v)] for side, each in values.items()
    }
    shown = [(side**2 * (1 + 0.04 * (k - 1)), one) for side, rows in finite.items() for one in over_seeds("", rows)]
    intervals(ax, [x for x, _ in shown], [one for _, one in shown], k)


STUDY = Study(
    name="delta",
    question="How does an autoregressive generator's effort grow with the sequence, and what is order worth?",
    measurement="Steps to a held-out bits/dim that all backbones reach, at several lengths; pixels in raster order "
    "against one fixed permutation of them.",
    claims=(
        Claim(
            ("S0-36",), "steps grow in proportion to the length of the sequence",
            Rule("the exponent of the length", low=0.8, high=1.2, fewest=FEWEST), growth,
        ),
        Claim(
            ("S0-37",), "the ViT's δ is smaller than the ConvNet's",
            Rule("δ of the ViT over that of the ConvNet", high=1.0, fewest=FEWEST),
            partial(delta_ratio, backbone="vit"),
        ),
        Claim(
            ("S0-27",), "the ViT has the advantage in raster order, at equal images, multiply-adds and seconds",
            Rule("bits/dim of the ConvNet less those of the ViT", low=0.0, fewest=FEWEST),
            partial(advantage, order="raster", budgets=("images", "macs", "seconds")),
        ),
        Claim(
            ("S0-38",), "the ViT has it on permuted pixels, a sequence without an image's order",
            Rule("bits/dim of the ConvNet less those of the ViT", low=0.0, fewest=FEWEST),
            partial(advantage, order="random"),
        ),
        Claim(
            ("S0-38",), "a ConvNet lives on the order of an image: a permutation costs it more than the ViT",
            Rule("the difference of what it costs, in bits/dim,", low=0.0, fewest=FEWEST), more_disorder,
        ),
    ),
    presets={
        "smoke": {
            "data": "fashion_mnist_mini", "sides": (7, 14), "seeds": (0, 1), "batch": 4, "warmup": 1,
            "steps": (0, 4, 8), "held_out": 8,
        },
        "cpu": {
            "data": "fashion_mnist_mini", "sides": (7, 14), "seeds": (0, 1, 2), "batch": 16, "warmup": 10,
            "steps": (0, 5, 10, 20, 40, 80), "held_out": 128,
        },
        "gpu": {
            "data": "fashion_mnist", "sides": (7, 14, 28), "seeds": (0, 1, 2, 3, 4), "batch": 128, "warmup": 100,
            "steps": (0, 50, 100, 200, 400, 800, 1600, 3200, 6400), "held_out": 2000,
        },
    },
    measure=measure,
    draw=draw,
)  # fmt: skip
