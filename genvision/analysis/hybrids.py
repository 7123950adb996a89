"""Study: what becomes of a ConvNet whose attention is exchanged for a token-MLP?"""

from __future__ import annotations

from functools import partial

import torch
from matplotlib.figure import Figure
from torch import nn

from genvision.analysis.curves import point
from genvision.analysis.estimates import over_seeds, seed_ratios, select
from genvision.analysis.figures import panels
from genvision.analysis.learning import remembered, trained
from genvision.analysis.runs import Runs
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.analysis.sweep import SIDE, words
from genvision.families.base import Family
from genvision.layers.masked import count_parameters
from genvision.layers.token_mlp import TokenMLP
from genvision.trunks.unet import SpatialAttention

ATTENTION, MLP, NOTHING = MIXINGS = "attention", "token MLP", "nothing"
LEVELS = (1, 2)  # of the U-Net, 7 x 7 and 4 x 4 places at SIDE pixels, beside its middle
FEWEST = 3


def measure(setting: Setting, runs: Runs) -> Rows:
    """Held-out loss of U-Net denoisers after equal steps, over what mixes their coarse maps globally."""
    rows: Rows = []
    for mixing in MIXINGS:
        for seed in setting["seeds"]:
            levels = f"trunk.attention_levels=[{','.join(map(str, LEVELS))}]"
            told = [*words(setting, "diffusion", "convnet", seed), levels]
            kept = f"{mixing}-seed{seed}-steps{setting['steps']}.json".replace(" ", "_")
            compute = partial(last_loss, told, mixing, seed, setting["steps"])
            found = remembered(runs.folder / "hybrids" / kept, told, compute)
            rows += [{"part": "loss", "what": mixing, "seed": seed} | row for row in found]
    return rows


def last_loss(told: list[str], mixing: str, seed: int, steps: int) -> Rows:
    """{"value": the loss at the end, "weights": of the trunk}"""
    family, (last,) = trained(told, (steps,), prepare=partial(exchange, mixing, seed))
    return [{"value": last["loss"], "weights": count_parameters(family.get_submodule("denoiser.trunk"))}]


def exchange(mixing: str, seed: int, family: Family) -> None:
    """Puts token-MLPs of about as many weights, or nothing, in place of every attention of a U-Net at SIDE pixels."""
    if mixing == ATTENTION:
        return
    trunk = family.get_submodule("denoiser.trunk")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for level, mixings in enumerate(trunk.down_mixings):
            swap(mixings, mixing, places(level))
        for back, mixings in enumerate(trunk.up_mixings):
            swap(mixings, mixing, places(len(trunk.up_mixings) - 1 - back))
        swap(trunk.middle, mixing, places(len(trunk.down_mixings) - 1))


def places(level: int) -> int:
    """Of the maps of a level; each halves the sides of the one before, rounding up."""
    side = SIDE
    for _ in range(level):
        side = -(-side // 2)
    return side**2


def swap(modules: nn.ModuleList, mixing: str, tokens: int) -> None:
    for k, module in enumerate(modules):
        if isinstance(module, SpatialAttention) and mixing == NOTHING:
            modules[k] = nn.Identity()
        elif isinstance(module, SpatialAttention):
            module.attention = token_mlp(tokens, count_parameters(module.attention))


def token_mlp(tokens: int, weights: int) -> TokenMLP:
    """Of as many hidden units as come nearest to a number of weights; it starts at zero, as attention does here."""
    units = max(1, round((weights - tokens) / (2 * tokens + 1)))
    made = TokenMLP(tokens, units / tokens)
    nn.init.zeros_(made.down.weight)
    nn.init.zeros_(made.down.bias)
    return made


def over(table: Rows, one: str, other: str) -> list[Estimate]:
    """The loss of one over that of another."""
    return seed_ratios(f"{one} over {other}", *(select(table, "loss", name) for name in (one, other)))


def draw(table: Rows, figure: Figure) -> None:
    (ax,) = panels(figure, 1, 1, width=4.0, height=2.8)
    for k, name in enumerate(MIXINGS):
        rows = select(table, "loss", name)
        point(ax, k, over_seeds(name, rows)[0], k)
    labels = [f"{name}\n{select(table, 'loss', name)[0]['weights']:,} weights" for name in MIXINGS]
    ax.set_xticks(range(len(MIXINGS)), labels)
    ax.set(xlim=(-0.5, 2.5), ylabel="squared error of velocity, held out", xlabel="what mixes coarse maps globally")


STUDY = Study(
    name="hybrids",
    question="What becomes of a ConvNet whose attention is exchanged for a token-MLP?",
    measurement="Held-out loss of small U-Net denoisers after equal steps, with attention on their two coarse levels, "
    "with token-MLPs of about as many weights in its place, and with neither.",
    claims=(
        Claim(
            ("S3-17",), "MLP token mixing works inside a ConvNet: at most a fiftieth worse than attention",
            Rule("its loss over that with attention", high=1.02, fewest=FEWEST),
            partial(over, one=MLP, other=ATTENTION),
        ),
        Claim(
            ("S3-17",), "it does better than convolutions alone",
            Rule("its loss over that with neither", high=1.0, fewest=FEWEST), partial(over, one=MLP, other=NOTHING),
        ),
    ),
    presets={
        "smoke": {
            "data": "fashion_mnist_mini", "seeds": (0, 1), "batch": 4, "warmup": 1, "steps": 1, "held_out": 8,
        },
        "cpu": {
            "data": "fashion_mnist_mini", "seeds": (0, 1, 2), "batch": 16, "warmup": 10, "steps": 400, "held_out": 500,
        },
        "gpu": {
            "data": "fashion_mnist", "seeds": (0, 1, 2, 3, 4), "batch": 256, "warmup": 100, "steps": 10000,
            "held_out": 2000,
        },
    },
    measure=measure,
    draw=draw,
)  # fmt: skip
