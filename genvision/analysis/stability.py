"""Study: what do LayerNorm and residuals do for training?"""

from __future__ import annotations

import math
from functools import partial

from matplotlib.figure import Figure

from genvision.analysis.curves import curve
from genvision.analysis.estimates import mean_of, seed_differences, seed_means, select
from genvision.analysis.figures import look, panels
from genvision.analysis.learning import held_out_loss, loaded, remembered, trained
from genvision.analysis.runs import Runs
from genvision.analysis.study import Claim, Estimate, Row, Rows, Rule, Setting, Study
from genvision.analysis.sweep import words
from genvision.analysis.variants import prepare
from genvision.build import build
from genvision.config import load_config
from genvision.errors import NonFiniteError

WHOLE = "attention"  # the block as it is
BLOCKS = {WHOLE: "whole block", "no norm": "without LayerNorm", "no residual": "without residuals"}
STABLE = 0.95  # of the loss of the mean image: training that ends above it has learned nothing of single images
TOP = 2.0  # of the loss axis; beyond it lies what has run off
FEWEST = 3


def measure(setting: Setting, runs: Runs) -> Rows:
    """Held-out loss of denoisers after equal steps, over learning rates; no value where training met no finite loss."""
    rows: Rows = []
    for variant, what in BLOCKS.items():
        for rate in setting["rates"]:
            for seed in setting["seeds"]:
                told = [*words(setting, "diffusion", "vit", seed), f"train.learning_rate={rate}"]
                kept = f"{variant}-rate{rate}-seed{seed}-steps{setting['steps']}.json".replace(" ", "_")
                compute = partial(outcome, told, variant, seed, setting["steps"])
                found = remembered(runs.folder / "stability" / kept, told, compute)
                rows += [{"part": "loss", "what": what, "rate": rate, "seed": seed} | row for row in found]
    return rows


def outcome(told: list[str], variant: str, seed: int, steps: int) -> Rows:
    """{"value": held-out loss after the last step, if finite, "blind": that of the mean image for every answer}

    Of a flow the velocity is noise less image, and an untrained denoiser says 0: the best constant answer, the mean
    image, takes its mean square off the loss at the start.
    """
    config = load_config(None, told)
    held_out = loaded(config.data)[1]
    count = config.train.validation_images
    mean = (held_out.images[:count].double() / 127.5 - 1).mean(0)
    start = held_out_loss(build(config, held_out.spec), held_out, count)
    blind = {"blind": start - mean.square().mean().item()}
    try:
        (last,) = trained(told, (steps,), prepare=prepare(variant, seed))[1]
    except NonFiniteError:
        return [blind]
    return [blind | ({"value": last["loss"]} if math.isfinite(last["loss"]) else {})]


def end(row: Row) -> float:
    """The last loss; infinity where it was not finite."""
    return math.inf if row.get("value") is None else row["value"]


def is_finite(row: Row) -> bool:
    return math.isfinite(end(row))


def is_stable(row: Row) -> bool:
    return end(row) < STABLE * row["blind"]


def rates(table: Rows) -> list[float]:
    return sorted({row["rate"] for row in table})


def largest(table: Rows, what: str) -> dict[int, float]:
    """{seed: the logarithm, to the base 10, of the largest rate up to which every rate is stable}

    A step of the grid below the lowest where that one is not.
    """
    grid, found = rates(table), {}
    for seed in {row["seed"] for row in table}:
        stable = [is_stable(row) for rate in grid for row in select(table, "loss", what, rate=rate, seed=seed)]
        count = stable.index(False) if False in stable else len(stable)
        found[seed] = math.log10(grid[count - 1] if count else grid[0] ** 2 / grid[1])
    return found


def best(table: Rows, what: str) -> dict[int, float]:
    """{seed: the least loss over all rates}"""
    each: dict[int, list[float]] = {}
    for row in select(table, "loss", what):
        each.setdefault(row["seed"], []).append(end(row))
    return {seed: min(values) for seed, values in each.items()}


def steadier(table: Rows, without: str) -> list[Estimate]:
    """Powers of ten by which rates of the whole block may be larger."""
    return seed_differences(f"whole block over {without}", largest(table, BLOCKS[WHOLE]), largest(table, without))


def lost(table: Rows, without: str) -> list[Estimate]:
    """The share of rates at which training ends without a finite loss, less that of the whole block."""
    each = []
    for what in (without, BLOCKS[WHOLE]):
        ends = [row | {"value": float(not is_finite(row))} for row in select(table, "loss", what)]
        each.append(seed_means(ends))
    return seed_differences(f"{without} less whole block", *each)


def better(table: Rows, without: str) -> list[Estimate]:
    """The least loss over all rates, over that of the whole block, less 1."""
    whole, other = best(table, BLOCKS[WHOLE]), best(table, without)
    return mean_of(f"{without} over whole block", [other[seed] / whole[seed] - 1 for seed in whole])


def draw(table: Rows, figure: Figure) -> None:
    left, right = panels(figure, 1, 2, width=3.4, height=3.2)
    for k, what in enumerate(BLOCKS.values()):
        rows = [row | {"rate": row["rate"] * (1 + 0.06 * (k - 1))} for row in select(table, "loss", what)]
        curve(left, [row for row in rows if end(row) < TOP], "rate", k, what)
        ends = {"stable": is_stable, "finite": is_finite}
        for (name, holds), filled in zip(ends.items(), (None, "none"), strict=True):
            places = sorted({row["rate"] for row in rows})
            shares = [[holds(row) for row in rows if row["rate"] == place] for place in places]
            heights = [sum(each) / len(each) + 0.02 * (k - 1) for each in shares]
            right.plot(places, heights, label=f"{what}, {name}", markerfacecolor=filled, **look(k))
    blind = [row["blind"] for row in table]
    left.axhline(sum(blind) / len(blind), color="0.4", linewidth=0.8)
    left.set(ylim=(0, TOP), ylabel="squared error of velocity, held out", title="gray: the mean image for every answer")
    right.set(ylabel="share of seeds", title="training that ends clearly below it, or finite at all")
    for ax in (left, right):
        ax.set(xscale="log", xlabel="learning rate")
        ax.set_xticks(rates(table), [f"{rate:g}" for rate in rates(table)], fontsize=7)
        ax.minorticks_off()
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3)


STUDY = Study(
    name="stability",
    question="What do LayerNorm and residuals do for training?",
    measurement="Held-out loss of small ViT denoisers after equal steps over a grid of learning rates, gradients "
    "clipped as always; stable is what ends clearly below the loss of answering with the mean image.",
    claims=(
        Claim(
            ("S1-08",), "without LayerNorm training is stable up to smaller rates only",
            Rule("powers of ten by which the largest stable rate falls", low=0.25, fewest=FEWEST),
            partial(steadier, without="without LayerNorm"),
        ),
        Claim(
            ("S1-08",), "so it is without residuals",
            Rule("powers of ten by which the largest stable rate falls", low=0.25, fewest=FEWEST),
            partial(steadier, without="without residuals"),
        ),
        Claim(
            ("S1-08",), "without LayerNorm more rates end in losses that are not finite",
            Rule("the difference of the shares of rates that do", low=0.01, fewest=FEWEST),
            partial(lost, without="without LayerNorm"),
        ),
        Claim(
            ("S1-08",), "at the best rate of each, a block without LayerNorm does worse",
            Rule("its loss over the whole block's, less 1,", low=0.05, fewest=FEWEST),
            partial(better, without="without LayerNorm"),
        ),
        Claim(
            ("S1-08",), "so does one without residuals",
            Rule("its loss over the whole block's, less 1,", low=0.05, fewest=FEWEST),
            partial(better, without="without residuals"),
        ),
    ),
    presets={
        "smoke": {
            "data": "fashion_mnist_mini", "seeds": (0, 1), "batch": 4, "warmup": 1, "steps": 2, "held_out": 8,
            "rates": (0.001, 0.1),
        },
        "cpu": {
            "data": "fashion_mnist_mini", "seeds": (0, 1, 2), "batch": 16, "warmup": 10, "steps": 120, "held_out": 256,
            "rates": (0.001, 0.003, 0.01, 0.02, 0.04, 0.08, 0.16),
        },
        "gpu": {
            "data": "fashion_mnist", "seeds": (0, 1, 2, 3, 4), "batch": 256, "warmup": 100, "steps": 5000,
            "held_out": 2000, "rates": (0.0003, 0.001, 0.003, 0.01, 0.02, 0.04, 0.08, 0.16),
        },
    },
    measure=measure,
    draw=draw,
)  # fmt: skip
