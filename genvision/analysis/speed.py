"""Study: when do efficient attention and convolution cost the same, measured?"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from genvision.analysis.estimates import crossing, log_log_slope
from genvision.analysis.figures import look, panels
from genvision.analysis.mixings import MIXINGS
from genvision.analysis.speed_table import measure
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Study
from genvision.config.trunks import BACKBONES, FAMILY_ROLES
from genvision.evaluation.intervals import percentile

LINEAR = ("linformer", "performer")


def of(table: Rows, part: str, what: str, **where: Any) -> list[float]:
    """Values of every round."""
    rows = (row for row in table if row["part"] == part and row["what"] == what)
    return [row["value"] for row in rows if all(row[key] == value for key, value in where.items())]


def lengths(table: Rows, part: str) -> list[int]:
    return sorted({row["length"] for row in table if row["part"] == part})


def ratio(of_what: str, dear: list[float], cheap: list[float]) -> list[Estimate]:
    """A ratio of medians with the bootstrap's interval over rounds; nothing where there are none."""
    if not dear or not cheap:
        return []
    samples = [torch.tensor(values, dtype=torch.float64) for values in (dear, cheap)]

    def statistic(*drawn: Tensor) -> Tensor:
        above, below = (each.quantile(0.5, dim=-1) for each in drawn)
        return above / below

    low, high = percentile(statistic, samples, seed=0)
    return [Estimate(of_what, statistic(*samples).item(), low, high, len(dear))]


def against_convolution(table: Rows, part: str) -> list[Estimate]:
    """What linear attention costs on the longest sequence, over what a convolution does."""
    longest = max(lengths(table, part), default=0)
    cost = {name: of(table, part, name, length=longest) for name in ("convolution", *LINEAR)}
    return [found for name in LINEAR for found in ratio(f"{name}, L={longest}", cost[name], cost["convolution"])]


def crossover(table: Rows) -> list[Estimate]:
    """The length beyond which full attention takes longer than a convolution, and its interval over rounds."""
    xs = lengths(table, "layer")
    if not xs:
        return []
    values = [torch.tensor([of(table, "layer", name, length=x) for x in xs]).double() for name in MIXINGS[:2]]
    rounds = values[0].shape[1]

    def at(chosen: Tensor) -> float:
        conv, full = (each[:, chosen].quantile(0.5, dim=1).tolist() for each in values)
        return min(crossing(xs, conv, full), 2.0 * xs[-1])  # beyond what was measured

    picks = torch.randint(rounds, (1000, rounds), generator=torch.Generator().manual_seed(0))
    low, high = torch.tensor([at(chosen) for chosen in picks]).quantile(torch.tensor([0.025, 0.975])).tolist()
    return [Estimate("full against convolution", at(torch.arange(rounds)), low, high, rounds)]


def error_exponent(table: Rows) -> list[Estimate]:
    """The exponent of the number of features in the error, for each size of queries and keys."""
    found = []
    for name in sizes(table):
        rows = [row for row in table if row["what"] == name]
        found.append(log_log_slope(name, [row["length"] for row in rows], [row["value"] for row in rows]))
    return found


def sizes(table: Rows) -> list[str]:
    return list(dict.fromkeys(row["what"] for row in table if row["part"] == "error"))


def step_ratios(table: Rows, backbone: str) -> list[Estimate]:
    pairs = {
        family: [of(table, "step", name, family=family) for name in (backbone, "convnet")] for family in FAMILY_ROLES
    }
    return [found for family, pair in pairs.items() for found in ratio(family, *pair)]


def draw(table: Rows, figure: Figure) -> None:
    layer, kept, error, step = panels(figure, 2, 2, width=3.6, height=2.8)
    for ax, part in ((layer, "layer"), (kept, "memory")):
        for k, name in enumerate(MIXINGS):
            spread(ax, lengths(table, part), [of(table, part, name, length=x) for x in lengths(table, part)], k, name)
        ax.set(xlabel="sequence length L (tokens)", xscale="log", yscale="log")
    for k, name in enumerate(sizes(table)):
        xs = lengths(table, "error")
        spread(error, xs, [of(table, "error", name, length=x) for x in xs], k, name)
    error.set(xlabel="random features m", xscale="log", yscale="log", ylabel="error / norm of the output")
    for k, backbone in enumerate(BACKBONES):
        values = [of(table, "step", backbone, family=family) for family in FAMILY_ROLES]
        spread(step, [x + 0.1 * (k - 1) for x in range(len(values))], values, k, backbone, linestyle="none")
    step.set(ylabel="ms per image of a training step", ylim=(0, None), title="whole generators of equal weights")
    step.set_xticks(range(len(FAMILY_ROLES)), FAMILY_ROLES)
    layer.set(ylabel="ms per image", title="one mixing layer, forward and backward")
    kept.set(ylabel="numbers kept for backward", title="one mixing layer, memory")
    error.set_title("Performer against softmax attention")
    for ax in (layer, kept, error, step):
        ax.legend()


def spread(ax: Any, x: Any, values: list[list[float]], k: int = 0, label: str = "", **more: Any) -> None:
    """Medians over rounds and their whole range."""
    each = torch.tensor(values, dtype=torch.float64)
    middle = each.quantile(0.5, dim=1)
    bars = torch.stack([middle - each.amin(1), each.amax(1) - middle]).numpy()
    ax.errorbar(x, middle.numpy(), bars, label=label, capsize=2, **(look(k) | more))


STUDY = Study(
    name="speed",
    question="When do attention, its linear forms and convolution cost the same, measured?",
    measurement="Time and memory of mixing layers over the length, Performer's error, and steps of whole generators.",
    claims=(
        Claim(
            ("S0-17",), "linear attention takes about as long as a convolution on the longest sequence",
            Rule("its time over that of a 3 x 3 convolution of equal width", 0.5, 2, 5),
            partial(against_convolution, part="layer"),
        ),
        Claim(
            ("S0-20",), "linear attention keeps about as much memory as a convolution on the longest sequence",
            Rule("the numbers it keeps over those of a 3 x 3 convolution", 0.5, 2),
            partial(against_convolution, part="memory"),
        ),
        Claim(
            ("S0-17",), "on 7 x 7 tokens full attention is no slower than a convolution",
            Rule("the length beyond which it takes longer", low=49, fewest=5), crossover,
        ),
        Claim(
            ("S0-16",), "Performer's error falls with the square root of its features",
            Rule("the exponent of the number of features", -0.6, -0.4, 9), error_exponent,
        ),
        Claim(
            ("S2-05",), "a step of a ViT takes longer than one of a ConvNet of equal weights",
            Rule("its time over the ConvNet's", low=1, fewest=3), partial(step_ratios, backbone="vit"),
        ),
        Claim(
            ("S3-24",), "a step of a Mixer takes less time than one of a ConvNet of equal weights",
            Rule("its time over the ConvNet's", high=1, fewest=3), partial(step_ratios, backbone="mixer"),
        ),
    ),
    presets={
        "smoke": {
            "lengths": (36, 64), "rounds": 2, "draws": 2, "features": (8, 32), "batch": 2,
            "sizes": (0.5,),
            "words": ("size=tiny", "data.height=8", "data.width=8"),
        },
        "cpu": {
            "lengths": (49, 100, 196, 400, 784, 1600, 3136), "rounds": 7, "draws": 8, "batch": 32,
            "sizes": (0.25, 0.5, 1.0),
            "features": (8, 16, 32, 64, 128, 256, 512), "words": ("size=mini",),
        },
        "gpu": {
            "lengths": (49, 196, 784, 3136, 12544), "rounds": 15, "draws": 16, "batch": 256,
            "sizes": (0.25, 0.5, 1.0),
            "features": (8, 16, 32, 64, 128, 256, 512), "words": ("size=base",),
        },
    },
    measure=measure,
    draw=draw,
)  # fmt: skip
