"""Study: which tokens must a head read?"""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure

from genvision import data
from genvision.analysis.classifiers import accuracy, fitted
from genvision.analysis.curves import point
from genvision.analysis.estimates import over_seeds, seed_differences, seed_means, select
from genvision.analysis.figures import panels
from genvision.analysis.learning import remembered
from genvision.analysis.reading import HEADS, MEAN, MLP, ONE, TOKEN, Reader
from genvision.analysis.runs import Runs
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.config import load_config

BACKBONES = ("vit", "mixer")
LITTLE = 0.02  # of accuracy: what hardly matters stays within it
FEWEST = 3


def measure(setting: Setting, runs: Runs) -> Rows:
    """Accuracy on test images after equal steps; part is the backbone, what the head."""
    config = load_config(None, [f"data={setting['data']}", "data.validation_fraction=0"]).data
    train, test = data.load(config, "train"), data.load(config, "test")
    rows: Rows = []
    for backbone in BACKBONES:
        for head in HEADS:
            for seed in setting["seeds"]:
                told = [f"{key}={setting[key]}" for key in ("data", "steps", "test_images")]
                kept = f"{backbone}-{head}-seed{seed}-steps{setting['steps']}.json".replace(" ", "_").replace(",", "")
                compute = partial(scored, setting, backbone, head, seed, train, test)
                found = remembered(runs.folder / "heads" / kept, told, compute)
                rows += [{"part": backbone, "what": head, "seed": seed} | row for row in found]
    return rows


def scored(setting: Setting, backbone: str, head: str, seed: int, train: data.ImageSet, test: data.ImageSet) -> Rows:
    """{"value": share of test images that are classified rightly}"""
    assert train.labels is not None and test.labels is not None, "the named sets have labels"
    count = setting["test_images"]
    model = fitted(partial(Reader, backbone, head), train.images, train.labels, setting["steps"], seed)
    return [{"value": round(accuracy(model, test.images[:count], test.labels[:count]), 6)}]


def difference(table: Rows, backbone: str, one: str, other: str) -> list[Estimate]:
    """Accuracy of a head less that of another."""
    both = (seed_means(select(table, backbone, head)) for head in (one, other))
    return seed_differences(f"{backbone}, {one} less {other}", *both)


def draw(table: Rows, figure: Figure) -> None:
    (ax,) = panels(figure, 1, 1, width=4.6, height=2.9)
    for k, backbone in enumerate(BACKBONES):
        for x, head in enumerate(HEADS):
            (one,) = over_seeds(head, select(table, backbone, head))
            point(ax, x + 0.12 * (k - 0.5), one, k, backbone if x == 0 else "_")
    ax.set_xticks(range(len(HEADS)), HEADS)
    ax.set(xlabel="what the head reads", ylabel="accuracy on test images", xlim=(-0.5, len(HEADS) - 0.5))
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)


ALIKE = Rule("the difference of accuracies", low=-LITTLE, high=LITTLE, fewest=FEWEST)
STUDY = Study(
    name="heads",
    question="Which tokens must a head read: a class token, one, or the mean of all?",
    measurement="Accuracy of small ViT and Mixer classifiers after equal steps whose heads read different tokens.",
    claims=(
        Claim(
            ("S1-22", "S3-10"), "to a ViT it hardly matters whether a class token or the mean is read", ALIKE,
            partial(difference, backbone="vit", one=TOKEN, other=MEAN),
        ),
        Claim(
            ("S3-10",), "nor does it to a Mixer", ALIKE, partial(difference, backbone="mixer", one=TOKEN, other=MEAN),
        ),
        Claim(
            ("S3-19",), "a Mixer does as well with a head on one of its tokens as on the mean",
            Rule("the difference of accuracies", low=-LITTLE, fewest=FEWEST),
            partial(difference, backbone="mixer", one=ONE, other=MEAN),
        ),
        Claim(
            ("S2-16",), "an MLP on the class token gives more than a linear map",
            Rule("the difference of accuracies", low=0.0, fewest=FEWEST),
            partial(difference, backbone="vit", one=MLP, other=TOKEN),
        ),
    ),
    presets={
        "smoke": {"data": "fashion_mnist_mini", "seeds": (0, 1), "steps": 2, "test_images": 50},
        "cpu": {"data": "fashion_mnist_mini", "seeds": (0, 1, 2), "steps": 300, "test_images": 2000},
        "gpu": {"data": "fashion_mnist", "seeds": (0, 1, 2, 3, 4), "steps": 5000, "test_images": 10000},
    },
    measure=measure,
    draw=draw,
)  # fmt: skip
