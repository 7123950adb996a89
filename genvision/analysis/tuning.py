"""Study: a better architecture, or more tuning?"""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure

from genvision.analysis.curves import curve, point
from genvision.analysis.estimates import mean_of, select
from genvision.analysis.figures import panels
from genvision.analysis.learning import remembered, trained
from genvision.analysis.runs import Runs
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.analysis.sweep import words
from genvision.config.trunks import BACKBONES, TRUNK_CONFIGS
from genvision.errors import NonFiniteError
from genvision.layers.masked import count_parameters
from genvision.trunks import make_trunk

# the base sizes of both papers, patches of 16 on 224 pixels (Dosovitskiy et al. 2021; Tolstikhin et al. 2021)
NATIVE: dict[str, dict[str, Any]] = {
    "vit": {"width": 768, "depth": 12, "head_width": 64, "mlp_ratio": 4.0},
    "mixer": {"width": 768, "depth": 12, "token_ratio": 384 / 196, "channel_ratio": 4.0},
}
FEWEST = 3


def measure(setting: Setting, runs: Runs) -> Rows:
    """Held-out loss of denoisers after equal steps on one grid of learning rates; weights of trunks of base size."""
    rows: Rows = [{"part": "weights", "what": name, "value": native_weights(name)} for name in NATIVE]
    for backbone in BACKBONES:
        for rate in setting["rates"]:
            for seed in setting["seeds"]:
                told = [*words(setting, "diffusion", backbone, seed), f"train.learning_rate={rate}"]
                kept = f"{backbone}-rate{rate}-seed{seed}-steps{setting['steps']}.json"
                found = remembered(runs.folder / "tuning" / kept, told, partial(last_loss, told, setting["steps"]))
                rows += [{"part": "loss", "what": backbone, "rate": rate, "seed": seed} | row for row in found]
    return rows


def native_weights(name: str) -> int:
    with torch.device("meta"):
        options = asdict(TRUNK_CONFIGS[name](**NATIVE[name]))
        return count_parameters(make_trunk({"name": name, **options}, (14, 14)))


def last_loss(told: list[str], steps: int) -> Rows:
    """{"value": the loss at the end}; nothing in it where that is not finite."""
    try:
        loss = trained(told, (steps,))[1][0]["loss"]
    except NonFiniteError:
        return [{}]
    return [{"value": loss} if math.isfinite(loss) else {}]


def losses(table: Rows, backbone: str) -> dict[int, list[float]]:
    """{seed: losses over all rates}, infinite where training was lost."""
    each: dict[int, list[float]] = {}
    for row in select(table, "loss", backbone):
        value = row.get("value")
        each.setdefault(row["seed"], []).append(math.inf if value is None else value)
    return each


def over_rates(table: Rows, backbone: str, how: str) -> dict[int, float]:
    """{seed: the "best" or the "median" loss of the grid}"""
    choose = {"best": min, "median": statistics.median_high}[how]
    return {seed: choose(values) for seed, values in losses(table, backbone).items()}


def tuning_over_architecture(table: Rows) -> list[Estimate]:
    """What the best rate saves over the median one, the mean of backbones, less the range of the backbones' best."""
    each = {name: [over_rates(table, name, how) for how in ("best", "median")] for name in BACKBONES}
    differences = []
    for seed in each["vit"][0]:
        saved = statistics.fmean(median[seed] / best[seed] - 1 for best, median in each.values())
        found = [best[seed] for best, _ in each.values()]
        differences.append(saved - (max(found) / min(found) - 1))
    return mean_of("tuning less architecture", differences)


def same_order(table: Rows) -> list[Estimate]:
    """The share of seeds in which the backbones stand in the same order at their best and at their median rates."""
    orders = {}
    for how in ("best", "median"):
        each = {name: over_rates(table, name, how) for name in BACKBONES}
        orders[how] = [sorted(BACKBONES, key=lambda name: each[name][seed]) for seed in each["vit"]]
    same = [one == other for one, other in zip(orders["best"], orders["median"], strict=True)]
    return [Estimate.counted("seeds", sum(same) / len(same), len(same))]


def mixer_behind(table: Rows) -> list[Estimate]:
    """The Mixer's best loss over the ViT's, less 1."""
    vit, mixer = (over_rates(table, name, "best") for name in ("vit", "mixer"))
    return mean_of("mixer over vit", [mixer[seed] / vit[seed] - 1 for seed in vit])


def more_weights(table: Rows) -> list[Estimate]:
    vit, mixer = (select(table, "weights", name)[0]["value"] for name in ("vit", "mixer"))
    return [Estimate.counted("vit over mixer, base size", vit / mixer)]


def draw(table: Rows, figure: Figure) -> None:
    left, right = panels(figure, 1, 2, width=3.4, height=2.9)
    rates = sorted({row["rate"] for row in table if "rate" in row})
    for k, name in enumerate(BACKBONES):
        rows = [row for row in select(table, "loss", name) if row.get("value") is not None]
        curve(left, [row | {"rate": row["rate"] * (1 + 0.06 * (k - 1))} for row in rows], "rate", k, name)
        for x, how in enumerate(("best", "median")):
            finite = [value for value in over_rates(table, name, how).values() if math.isfinite(value)]
            for one in mean_of(how, finite):
                point(right, x + 0.12 * (k - 1), one, k, name if x == 0 else "_")
    left.set(xscale="log", xlabel="learning rate", ylabel="squared error of velocity, held out", title="finite losses")
    left.set_xticks(rates, [f"{rate:g}" for rate in rates])
    left.minorticks_off()
    right.set_xticks((0, 1), ("best", "median"))
    right.set(xlim=(-0.5, 1.5), xlabel="rate of the grid", ylabel="squared error of velocity, held out")
    right.legend()


STUDY = Study(
    name="tuning",
    question="A better architecture, or more tuning?",
    measurement="Held-out loss of small denoisers of equal weights after equal steps, each backbone on the same grid "
    "of learning rates: the best and the median of the grid.",
    claims=(
        Claim(
            ("S3-21",), "tuning matters more than the architecture",
            Rule("what the best rate saves over the median, less the range of backbones,", low=0.0, fewest=FEWEST),
            tuning_over_architecture,
        ),
        Claim(
            ("S3-21",), "best or median, backbones stand in the same order",
            Rule("the share of seeds in which they do", low=1.0, fewest=FEWEST), same_order,
        ),
        Claim(
            ("S3-15",), "tuned alike, a ViT does slightly better than a Mixer of equal weights: by up to a tenth",
            Rule("the Mixer's loss over the ViT's, less 1,", low=0.0, high=0.1, fewest=FEWEST), mixer_behind,
        ),
        Claim(
            ("S3-15",), "in the sizes of their papers the ViT has more weights",
            Rule("its weights over the Mixer's", low=1.0), more_weights,
        ),
    ),
    presets={
        "smoke": {
            "data": "fashion_mnist_mini", "seeds": (0, 1), "batch": 4, "warmup": 1, "steps": 1, "held_out": 8,
            "rates": (0.001, 0.01),
        },
        "cpu": {
            "data": "fashion_mnist_mini", "seeds": (0, 1, 2), "batch": 16, "warmup": 10, "steps": 120, "held_out": 256,
            "rates": (0.0003, 0.001, 0.003, 0.01, 0.03),
        },
        "gpu": {
            "data": "fashion_mnist", "seeds": (0, 1, 2, 3, 4), "batch": 256, "warmup": 100, "steps": 10000,
            "held_out": 2000, "rates": (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03),
        },
    },
    measure=measure,
    draw=draw,
)  # fmt: skip
