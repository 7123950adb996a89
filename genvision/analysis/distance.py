"""Study: whose samples keep what must agree over a distance?"""

from __future__ import annotations

from functools import partial

import torch
from matplotlib.figure import Figure
from torch import Tensor

from genvision.analysis.curves import intervals
from genvision.analysis.estimates import over_seeds, select
from genvision.analysis.figures import panels
from genvision.analysis.learning import remembered, trained
from genvision.analysis.runs import Runs
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.config.trunks import BACKBONES
from genvision.data import ImageSet
from genvision.probability.randomness import Stream, generator

HEIGHT, PAIRED = 4, 2  # pixels: rows, and columns that are repeated
WHITE = 255
FEWEST = 3


def toy(n: int, gap: int, seed: int) -> Tensor:
    """(n,1,HEIGHT,2*PAIRED+gap) uint8: black or white pixels at random, `gap` black columns, the same pixels again."""
    bits = generator(seed, Stream.STUDY, gap).integers(2, size=(n, 1, HEIGHT, PAIRED))
    left = torch.from_numpy(bits * WHITE).to(torch.uint8)
    return torch.cat([left, torch.zeros(n, 1, HEIGHT, gap, dtype=torch.uint8), left], 3)


def agreement(images: Tensor) -> float:
    """The share of paired pixels that are both dark or both bright: 1 in `toy`, 0.5 by chance."""
    bright = images > WHITE // 2
    return (bright[..., :PAIRED] == bright[..., -PAIRED:]).double().mean().item()


def measure(setting: Setting, runs: Runs) -> Rows:
    """Agreement of samples of predictors that were trained on `toy`."""
    rows: Rows = []
    for gap in setting["gaps"]:
        drawn = {split: toy(setting["images"], gap, k) for k, split in enumerate(("train", "validation"))}
        sets = [ImageSet("pairs", split, images, None, ()) for split, images in drawn.items()]
        for backbone in BACKBONES:
            for seed in setting["seeds"]:
                words = [
                    *("data.labels=false", f"data.height={HEIGHT}", f"data.width={2 * PAIRED + gap}", "size=tiny"),
                    *("family=autoregressive", "family.likelihood=logistic_mixture", "family.label_dropout=0"),
                    *(f"backbone={backbone}", f"train.seed={seed}", "train.batch_size=32", "train.warmup_steps=10"),
                    *("train.schedule=constant", "train.validation_images=64"),
                ]
                told = [*words, f"{setting['images']} images"]

                def compute(words=words, sets=sets, seed=seed) -> Rows:
                    family, points = trained(words, (setting["steps"],), images=(sets[0], sets[1]))
                    drawn = family.sample(setting["samples"], seed=seed)
                    return [{"value": agreement(drawn), "loss": points[-1]["loss"]}]

                name = f"gap{gap}-{backbone}-seed{seed}-steps{setting['steps']}-{setting['samples']}.json"
                place = {"part": "pairs", "what": backbone, "gap": gap, "seed": seed}
                rows += [place | row for row in remembered(runs.folder / "distance" / name, told, compute)]
    return rows


def reached(table: Rows, backbone: str, far: bool) -> list[Estimate]:
    gap = (max if far else min)(row["gap"] for row in table)
    return over_seeds(f"{backbone}, {gap} columns between", select(table, "pairs", backbone, gap=gap))


def draw(table: Rows, figure: Figure) -> None:
    (ax,) = panels(figure, 1, 1, width=4.2, height=2.8)
    gaps = sorted({row["gap"] for row in table})
    for k, backbone in enumerate(BACKBONES):
        found = [over_seeds("", select(table, "pairs", backbone, gap=gap))[0] for gap in gaps]
        intervals(ax, [gap + 0.08 * (k - 1) for gap in gaps], found, k, backbone)
    ax.axhline(0.5, color="0.4", linewidth=0.8)
    ax.set(xlabel="columns between what must agree (pixels)", ylabel="pairs that agree in samples (share)")
    ax.set_ylim(0.35, 1.02)
    ax.legend(loc="center right")
    figure.suptitle("Gray: by chance", fontsize=8)


GLOBAL = partial(Rule, "the share of pairs that agree", low=0.75, fewest=FEWEST)
STUDY = Study(
    name="distance",
    question="Whose samples keep what must agree over a distance?",
    measurement="Agreement of paired pixels in samples of small predictors trained on images whose left columns are "
    "repeated at the right, with black columns between; chance is 0.5.",
    claims=(
        Claim((), "over no distance every backbone can: a ConvNet's pairs agree", GLOBAL(),
              partial(reached, backbone="convnet", far=False)),
        Claim(("S2-19",), "over a distance a ViT's pairs agree", GLOBAL(), partial(reached, backbone="vit", far=True)),
        Claim(("S2-19",), "and a Mixer's", GLOBAL(), partial(reached, backbone="mixer", far=True)),
        Claim(
            ("S2-19",), "a ConvNet whose kernels do not reach so far leaves them to chance",
            Rule("the share of pairs that agree", high=0.6, fewest=FEWEST),
            partial(reached, backbone="convnet", far=True),
        ),
    ),
    presets={
        "smoke": {"gaps": (0, 4), "images": 64, "steps": 2, "samples": 4, "seeds": (0, 1)},
        "cpu": {"gaps": (0, 8), "images": 2000, "steps": 250, "samples": 64, "seeds": (0, 1, 2)},
        "gpu": {"gaps": (0, 8, 16, 32), "images": 20000, "steps": 5000, "samples": 512, "seeds": (0, 1, 2, 3, 4)},
    },
    measure=measure,
    draw=draw,
)  # fmt: skip
