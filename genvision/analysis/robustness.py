"""Study: what do corruptions cost each backbone, do backbones err alike, and by what do they go?"""

from __future__ import annotations

from functools import partial
from itertools import combinations_with_replacement

import torch
from matplotlib.figure import Figure
from torch import Tensor

from genvision import data
from genvision.analysis.classifiers import CLASSIFIERS, Classifier, shifted, trained_classifier
from genvision.analysis.corruptions import noisy
from genvision.analysis.curves import curve, point
from genvision.analysis.errors_in_common import cohens_kappa, cue_conflict, shape_bias
from genvision.analysis.estimates import differences, over_seeds, seed_differences, seed_means, select
from genvision.analysis.figures import panels
from genvision.analysis.runs import Runs
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.config import load_config
from genvision.evaluation.anchors import blurred
from genvision.probability.randomness import Stream, generator

# name -> (unit of the level, how, levels)
CORRUPTIONS = {
    "noise": ("noise (share of the pixel range)", noisy, (0.0, 0.05, 0.1, 0.2)),
    "blur": ("blur (share of the side)", lambda x, level: blurred(x, level) if level else x, (0, 0.02, 0.04, 0.08)),
    "shift": ("shift to the right (pixels)", lambda x, level: shifted(x, 0, int(level)), (0, 1, 2, 4)),
}  # fmt: skip
FEWEST = 3
PAIRS = list(combinations_with_replacement(CLASSIFIERS, 2))


@torch.no_grad()
def answers(model: Classifier, images: Tensor) -> Tensor:
    """(N,) the likeliest class."""
    return torch.cat([model(part).argmax(1) for part in images.split(500)])


def measure(setting: Setting, runs: Runs) -> Rows:
    """Accuracies by corruption and level; kappa of pairs of two seeds; shape bias."""
    config = load_config(None, [f"data={setting['data']}", "data.validation_fraction=0"]).data
    train, test = data.load(config, "train"), data.load(config, "test")
    assert train.labels is not None and test.labels is not None, "the named sets have labels"
    images, labels = test.images[: setting["images"]], test.labels[: setting["images"]]
    conflict = cue_conflict(images, labels, generator(0, Stream.STUDY))
    rows: Rows = []
    right: dict[tuple[str, int], Tensor] = {}
    for seed in setting["seeds"]:
        for name in CLASSIFIERS:
            model = trained_classifier(name, train.images, train.labels, setting["steps"], seed)
            place = {"what": name, "seed": seed}
            right[name, seed] = answers(model, images) == labels
            for corruption, (_, apply, levels) in CORRUPTIONS.items():
                for level in levels:
                    value = (answers(model, apply(images, level)) == labels).double().mean().item()
                    rows.append({"part": corruption, **place, "level": level, "value": value})
            value = shape_bias(answers(model, conflict[0]), *conflict[1:])
            rows.append({"part": "shape bias", **place, "level": None, "value": value})
    seeds = setting["seeds"]
    for one, other in PAIRS:
        for seed, following in zip(seeds, [*seeds[1:], seeds[0]], strict=True):
            value = cohens_kappa(right[one, seed], right[other, following])
            rows.append({"part": "kappa", "what": f"{one} {other}", "seed": seed, "level": None, "value": value})
    return rows


def lost(table: Rows, corruption: str, backbone: str) -> dict[int, float]:
    """{seed: accuracy lost at the worst level}"""
    ends = (CORRUPTIONS[corruption][2][k] for k in (0, -1))
    return differences(*(seed_means(select(table, corruption, backbone, level=level)) for level in ends))


def spared(table: Rows, backbone: str) -> list[Estimate]:
    """What the ConvNet loses more than a backbone."""
    return [
        one
        for name in CORRUPTIONS
        for one in seed_differences(name, lost(table, name, "convnet"), lost(table, name, backbone))
    ]


def own_kind(table: Rows) -> list[Estimate]:
    """Kappa of two seeds of a backbone less that of it and another backbone."""
    found = []
    for one, other in PAIRS:
        if one != other:
            across = seed_means(select(table, "kappa", f"{one} {other}"))
            for name in (one, other):
                within = seed_means(select(table, "kappa", f"{name} {name}"))
                found += seed_differences(f"{name}, {one} {other}", within, across)
    return found


def more_shape(table: Rows) -> list[Estimate]:
    both = (seed_means(select(table, "shape bias", name)) for name in ("vit", "convnet"))
    return seed_differences("vit less convnet", *both)


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 1, 5, width=2.4, height=2.7)
    for ax, (corruption, (unit, *_)) in zip(axes, CORRUPTIONS.items(), strict=False):
        for k, name in enumerate(CLASSIFIERS):
            curve(ax, select(table, corruption, name), "level", k, name)
        ax.set(xlabel=unit, ylabel="accuracy", ylim=(0, 1))
    axes[0].legend()
    for ax, part in ((axes[3], "kappa"), (axes[4], "shape bias")):
        names = list(dict.fromkeys(row["what"] for row in select(table, part)))
        for x, name in enumerate(names):
            point(ax, x, over_seeds(name, select(table, part, name))[0], 0)
        ax.set_xticks(range(len(names)), [name.replace(" ", ", ") for name in names], rotation=90)
        ax.set(ylim=(0, 1))
    axes[3].set(ylabel="Cohen's kappa of errors", xlabel="pair, two seeds")
    axes[4].set(ylabel="answers for shape (share)", xlabel="backbone")
    axes[4].axhline(0.5, color="0.4", linewidth=0.8)


LESS = partial(Rule, "what the ConvNet's accuracy loses more at the worst level", low=0.0, fewest=FEWEST)
STUDY = Study(
    name="robustness",
    question="What do corruptions cost each backbone, and do backbones err alike?",
    measurement="Accuracy of small classifiers of equal weights on noisy, blurred and shifted test images; Cohen's "
    "kappa of their errors; answers to silhouettes of one class in the texture of another.",
    claims=(
        Claim(("S3-22",), "corruptions cost a ViT less than a ConvNet", LESS(), partial(spared, backbone="vit")),
        Claim(("S3-22",), "corruptions cost a Mixer less than a ConvNet", LESS(), partial(spared, backbone="mixer")),
        Claim(
            ("S4-05",), "two seeds of one backbone err more alike than two backbones",
            Rule("kappa within less kappa across", low=0.0, fewest=FEWEST), own_kind,
        ),
        Claim(
            ("S4-05",), "a ViT goes more by shape than a ConvNet",
            Rule("the difference of the shares of answers for shape", low=0.0, fewest=FEWEST), more_shape,
        ),
    ),
    presets={
        "smoke": {"data": "fashion_mnist_mini", "images": 100, "steps": 2, "seeds": (0, 1)},
        "cpu": {"data": "fashion_mnist_mini", "images": 1000, "steps": 300, "seeds": (0, 1, 2)},
        "gpu": {"data": "fashion_mnist", "images": 10000, "steps": 5000, "seeds": (0, 1, 2, 3, 4)},
    },
    measure=measure,
    draw=draw,
)  # fmt: skip
