"""Study: what does pretraining on other images give, and does a ViT need it more?"""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure

from genvision.analysis.curves import curve, point
from genvision.analysis.estimates import mean_of, seed_differences, select
from genvision.analysis.figures import panels
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Study
from genvision.analysis.transfer_table import LABELLED, SAME, SCRATCH, SMALLER, STARTS, measure
from genvision.config.trunks import BACKBONES

FEWEST = 3


def last_step(table: Rows) -> int:
    """Of fine-tuning, which training from scratch goes beyond."""
    return max(row["step"] for row in select(table, SAME))


def least(table: Rows, start: str, backbone: str, *, beyond: bool = False) -> dict[int, float]:
    """{seed: the least loss on the way}, within the steps of fine-tuning or beyond them too."""
    each: dict[int, list[float]] = {}
    for row in select(table, start, backbone):
        if beyond or row["step"] <= last_step(table):
            each.setdefault(row["seed"], []).append(row["value"])
    return {seed: min(values) for seed, values in each.items()}


def behind(table: Rows, start: str) -> dict[int, float]:
    """{seed: the ViT's loss over the ConvNet's, less 1}"""
    vit, convnet = (least(table, start, name) for name in ("vit", "convnet"))
    return {seed: vit[seed] / convnet[seed] - 1 for seed in vit}


def trails(table: Rows) -> list[Estimate]:
    return mean_of("vit over convnet", list(behind(table, SCRATCH).values()))


def closed(table: Rows) -> list[Estimate]:
    """By how much the ViT trails less after pretraining."""
    found = []
    for start in (SAME, SMALLER):
        found += seed_differences(start, behind(table, SCRATCH), behind(table, start))
    return found


def saved(table: Rows, start: str, backbones: tuple[str, ...], beyond: bool = False) -> list[Estimate]:
    """The share of the loss from scratch that pretraining saves."""
    found = []
    for name in backbones:
        without, pretrained = least(table, SCRATCH, name, beyond=beyond), least(table, start, name)
        found += mean_of(name, [1 - pretrained[seed] / without[seed] for seed in pretrained])
    return found


def by_labels(table: Rows) -> list[Estimate]:
    """1 less the loss after pretraining with labels over that without, for every backbone."""
    each = {name: [least(table, start, name) for start in (SAME, LABELLED)] for name in BACKBONES}
    return [
        e for name, (out, told) in each.items() for e in mean_of(name, [1 - told[seed] / out[seed] for seed in told])
    ]


def carried(table: Rows, backbones: tuple[str, ...]) -> list[Estimate]:
    """The share of the weights that come from pretraining on smaller images."""
    return [Estimate.counted(name, select(table, SMALLER, name)[0]["carried"]) for name in backbones]


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 1, len(BACKBONES) + 1, width=2.7, height=3.0)
    values, steps = ([row[key] for row in table] for key in ("value", "step"))
    ticks = [0, *(step for step in (10, 100, 1000, 10000) if step < max(steps)), max(steps)]
    for ax, name in zip(axes, BACKBONES, strict=False):
        for k, start in enumerate(STARTS):
            curve(ax, select(table, start, name), "step", k, start)
        ax.axvline(last_step(table), color="0.5", linewidth=0.8, label="end of fine-tuning")
        ax.set_title(name)
        ax.set_xscale("symlog", linthresh=10)
        ax.set_xticks(ticks, map(str, ticks))
        ax.minorticks_off()
        ax.set(xlim=(-1, 1.3 * max(steps)), ylim=(0, 1.05 * max(values)), xlabel="steps on images of the task")
        ax.set_ylabel("squared error of velocity, held out")
    for k, start in enumerate(STARTS):
        point(axes[-1], k, mean_of(start, list(behind(table, start).values()))[0], k)
    axes[-1].axhline(0, color="0.4", linewidth=0.8)
    axes[-1].set_xticks(range(len(STARTS)), ["none", "plain", "smaller", "labels"])
    axes[-1].set(title="what the ViT trails by", ylabel="loss / ConvNet's - 1", xlabel="pretraining", xlim=(-0.5, 3.5))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(STARTS) + 1)


SAVES = partial(Rule, "1 less the loss after pretraining over that from scratch", fewest=FEWEST)
CARRIES = Rule("the share of weights that are copied or resized", low=1.0)
STUDY = Study(
    name="transfer",
    question="What does pretraining on other images give, and does a ViT need it more?",
    measurement="The least held-out loss of small denoisers of equal weights on few images of five classes, from "
    "scratch and after pretraining on all images of five others: of the same size, of a smaller one, and with labels.",
    claims=(
        Claim(
            ("S1-20", "S2-18"), "without pretraining a ViT trails a ConvNet on few images",
            Rule("its loss over the ConvNet's, less 1,", low=0.0, fewest=FEWEST), trails,
        ),
        Claim(
            ("S1-20",), "pretraining closes some of the distance",
            Rule("by how much its loss over the ConvNet's falls", low=0.0, fewest=FEWEST), closed,
        ),
        Claim(
            ("S2-17",), "pretrained, every backbone does better after the same steps on the task",
            SAVES(low=0.02), partial(saved, start=SAME, backbones=tuple(BACKBONES)),
        ),
        Claim(
            ("S2-17",), "and better than from scratch for as many steps in all",
            SAVES(low=0.0), partial(saved, start=SAME, backbones=tuple(BACKBONES), beyond=True),
        ),
        Claim(
            ("S2-17",), "a ViT can be pretrained on smaller images, its positions resized",
            SAVES(low=0.02), partial(saved, start=SMALLER, backbones=("vit",)),
        ),
        Claim(
            ("S1-21",), "pretraining with labels gives more than without",
            Rule("1 less the loss after the one over that after the other", low=0.0, fewest=FEWEST), by_labels,
        ),
        Claim(
            ("S2-17",), "ConvNet and ViT carry all of their weights over to another size of image",
            CARRIES, partial(carried, backbones=("convnet", "vit")),
        ),
        Claim((), "so does a Mixer", CARRIES, partial(carried, backbones=("mixer",))),
    ),
    presets={
        "smoke": {
            "data": "fashion_mnist_mini", "side": 8, "smaller": 4, "seeds": (0, 1), "images": 16, "batch": 4,
            "warmup": 1, "rate": 0.001, "pretraining": 2, "steps": (0, 1, 2), "validation_fraction": 0.05,
            "held_out": 8,
        },
        "cpu": {
            "data": "fashion_mnist_mini", "side": 14, "smaller": 10, "seeds": (0, 1, 2), "images": 200, "batch": 16,
            "warmup": 10, "rate": 0.005, "pretraining": 600, "steps": (0, 5, 10, 20, 50, 100),
            "validation_fraction": 0.2, "held_out": 500,
        },
        "gpu": {
            "data": "fashion_mnist", "side": 14, "smaller": 10, "seeds": (0, 1, 2, 3, 4), "images": 1000,
            "batch": 128, "warmup": 100, "rate": 0.001, "pretraining": 20000, "validation_fraction": 0.2,
            "steps": (0, 10, 30, 100, 300, 1000, 3000), "held_out": 4000,
        },
    },
    measure=measure,
    draw=draw,
)  # fmt: skip
