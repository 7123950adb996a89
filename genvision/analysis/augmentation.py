"""Study: does training on shifted images give what a backbone does not have built in?"""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure

from genvision import data
from genvision.analysis.classifiers import CLASSIFIERS, accuracy, shifted, trained_classifier
from genvision.analysis.curves import curve
from genvision.analysis.estimates import differences, mean_of, seed_differences, seed_means, select
from genvision.analysis.figures import panels
from genvision.analysis.runs import Runs
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.config import load_config

DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))
TRAINING = {"as they are": False, "shifted": True}
FAR = 6  # pixels: where the claims are judged


def measure(setting: Setting, runs: Runs) -> Rows:
    """Accuracy on test images moved by whole pixels, the mean over four directions."""
    config = load_config(None, [f"data={setting['data']}", "data.validation_fraction=0"]).data
    train, test = data.load(config, "train"), data.load(config, "test")
    assert train.labels is not None and test.labels is not None, "the named sets have labels"
    images, labels = test.images[: setting["images"]], test.labels[: setting["images"]]
    rows = []
    for seed in setting["seeds"]:
        for backbone in CLASSIFIERS:
            for training, moved in TRAINING.items():
                reach = setting["largest"] if moved else 0
                model = trained_classifier(backbone, train.images, train.labels, setting["steps"], seed, reach)
                for shift in setting["shifts"]:
                    found = [accuracy(model, shifted(images, shift * a, shift * b), labels) for a, b in DIRECTIONS]
                    row = {"part": training, "what": backbone, "shift": shift, "seed": seed}
                    rows.append(row | {"value": sum(found) / len(found)})
    return rows


def loss(table: Rows, training: str, backbone: str) -> dict[int, float]:
    """{seed: accuracy lost by a shift of FAR pixels}"""
    return differences(*(seed_means(select(table, training, backbone, shift=shift)) for shift in (0, FAR)))


def lost(table: Rows, backbones: tuple[str, ...]) -> list[Estimate]:
    """What a shift costs after training on images as they are."""
    losses = {name: loss(table, "as they are", name) for name in backbones}
    return [found for name, each in losses.items() for found in mean_of(name, list(each.values()))]


def more_than_convnet(table: Rows, backbone: str) -> list[Estimate]:
    pair = [loss(table, "as they are", name) for name in (backbone, "convnet")]
    return seed_differences(f"{backbone} less convnet", *pair)


def saved(table: Rows, backbones: tuple[str, ...]) -> list[Estimate]:
    """How much of the loss training on shifted images takes away."""
    pairs = {name: [loss(table, training, name) for training in TRAINING] for name in backbones}
    return [found for name, pair in pairs.items() for found in seed_differences(name, *pair)]


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 1, 2, width=3.4, height=2.8)
    for ax, training in zip(axes, TRAINING, strict=True):
        for k, name in enumerate(CLASSIFIERS):
            curve(ax, select(table, training, name), "shift", k, name)
        title = f"trained on images {training}"
        ax.set(title=title, xlabel="shift of the test images (pixels)", ylabel="accuracy", ylim=(0, 1))
    axes[0].legend()


STUDY = Study(
    name="augmentation",
    question="Does training on shifted images give what a backbone does not have built in?",
    measurement="Accuracy of small classifiers on shifted test images, trained with and without shifts.",
    claims=(
        Claim(
            ("S1-10",), "a classifier that has seen no shifts loses accuracy when an object moves",
            Rule(f"the accuracy lost by a shift of {FAR} pixels", low=0.02, fewest=3),
            partial(lost, backbones=tuple(CLASSIFIERS)),
        ),
        Claim(
            ("S1-12",), "a ViT loses more than a ConvNet",
            Rule("the difference of what they lose", low=0.01, fewest=3), partial(more_than_convnet, backbone="vit"),
        ),
        Claim(
            ("S1-12",), "training on shifted images takes most of a ViT's loss away",
            Rule("the accuracy that it saves", low=0.1, fewest=3), partial(saved, backbones=("vit",)),
        ),
    ),
    presets={
        "smoke": {
            "data": "fashion_mnist_mini", "images": 50, "steps": 2, "seeds": (0, 1), "shifts": (0, 6), "largest": 6,
        },
        "cpu": {
            "data": "fashion_mnist_mini", "images": 2000, "steps": 400, "seeds": (0, 1, 2),
            "shifts": (0, 1, 2, 3, 4, 6, 8), "largest": 6,
        },
        "gpu": {
            "data": "fashion_mnist", "images": 10000, "steps": 5000, "seeds": (0, 1, 2, 3, 4),
            "shifts": (0, 1, 2, 3, 4, 6, 8), "largest": 6,
        },
    },
    measure=measure,
    draw=draw,
)  # fmt: skip
