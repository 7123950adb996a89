"""Study: do budgets of what does not generate converge?"""

from __future__ import annotations

from functools import partial

import torch
from matplotlib.figure import Figure
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from genvision import data
from genvision.analysis.classifiers import BATCH, CLASSIFIERS, Classifier, accuracy, trained_classifier
from genvision.analysis.curves import curve, point
from genvision.analysis.estimates import select
from genvision.analysis.figures import panels, plain_ticks
from genvision.analysis.learning import PASSES, remembered
from genvision.analysis.runs import Runs
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.analysis.thresholds import budgets, curves_of, ratio, threshold
from genvision.config import load_config
from genvision.spec import ImageSpec

BUDGETS = {"images": "images", "macs": "multiply-adds"}
WITHIN = 1.5  # budgets that converge lie within this factor: beyond it the study `epsilon` says that they diverge
FEWEST = 3


def measure(setting: Setting, runs: Runs) -> Rows:
    """A row for each point of each curve: "loss" is the share of test images that are classified wrongly."""
    config = load_config(None, [f"data={setting['data']}", "data.validation_fraction=0"]).data
    train, test = data.load(config, "train"), data.load(config, "test")
    rows: Rows = []
    for backbone in CLASSIFIERS:
        for seed in setting["seeds"]:
            told = [f"{key}={setting[key]}" for key in ("data", "steps", "test_images")]
            kept = runs.folder / "classify" / f"{backbone}-seed{seed}-steps{setting['steps'][-1]}.json"
            found = remembered(kept, told, partial(learning, setting, backbone, seed, train, test))
            rows += [{"part": "error", "what": backbone, "seed": seed} | row for row in found]
    return rows


def learning(setting: Setting, backbone: str, seed: int, train: data.ImageSet, test: data.ImageSet) -> Rows:
    """{"step", "images", "macs" of all training so far, "loss"} at each of the setting's steps."""
    assert train.labels is not None and test.labels is not None, "the named sets have labels"
    images, labels = test.images[: setting["test_images"]], test.labels[: setting["test_images"]]
    each, rows = PASSES * macs_per_image(backbone, train.spec), []

    def note(step: int, model: nn.Module) -> None:
        if step in setting["steps"]:
            wrong = 1 - accuracy(model, images, labels)
            rows.append({"step": step, "images": step * BATCH, "macs": step * BATCH * each, "loss": round(wrong, 6)})

    trained_classifier(backbone, train.images, train.labels, setting["steps"][-1], seed, anneal=False, look=note)
    return rows


def macs_per_image(backbone: str, spec: ImageSpec) -> int:
    """Multiply-adds of one forward pass, counted without computing anything."""
    with torch.device("meta"):
        model = Classifier(backbone, spec)
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, *spec.shape, dtype=torch.uint8))
    return counter.get_total_flops() // 2


def convnet_over(table: Rows, backbone: str) -> list[Estimate]:
    """The ConvNet's budget over a backbone's."""
    found = []
    for unit, name in BUDGETS.items():
        each = budgets(select(table, "error"), unit)
        found.append(ratio(f"convnet over {backbone}, {name}", each["convnet"], each[backbone]))
    return found


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 1, 3, width=3.0, height=2.8)
    level = threshold(list(curves_of(select(table, "error")).values()))
    for ax, unit in zip(axes, BUDGETS, strict=False):
        for k, name in enumerate(CLASSIFIERS):
            shown = [row | {"value": row["loss"]} for row in select(table, "error", name) if row["step"]]
            curve(ax, shown, unit, k, name)
        ax.axhline(level, color="0.4", linewidth=0.8)
        ax.set(xscale="log", yscale="log", xlabel=f"{BUDGETS[unit]} of training", ylabel="share of errors, test images")
        ax.set_title("gray line: the error that all reach")
        plain_ticks(ax.yaxis, few=True)
    axes[0].legend()
    places = {}
    for k, name in enumerate(("vit", "mixer"), 1):
        for one in convnet_over(table, name):
            places[one.of.partition(" over ")[2].replace(", ", "\n")] = one
            point(axes[2], len(places), one, k)
    axes[2].axhspan(1 / WITHIN, WITHIN, color="0.9")
    axes[2].set_xticks(range(1, len(places) + 1), list(places), fontsize=7)
    axes[2].set(
        xlim=(0.5, len(places) + 0.5),
        yscale="log",
        ylabel="the ConvNet's budget / its own",
        title=f"gray: within a factor of {WITHIN}",
    )
    plain_ticks(axes[2].yaxis, few=True)


CONVERGED = Rule("the ConvNet's budget over its own", low=1 / WITHIN, high=WITHIN, fewest=FEWEST)
STUDY = Study(
    name="classify",
    question="Do budgets of what does not generate converge?",
    measurement="Images and multiply-adds that small classifiers of equal weights, on the trunks of the generators, "
    "take at one constant rate to a share of errors that all of them reach.",
    claims=(
        Claim(
            ("S0-21",), "to classify, a ViT takes about what a ConvNet takes", CONVERGED,
            partial(convnet_over, backbone="vit"),
        ),
        Claim(
            ("S0-21",), "and so does a Mixer", CONVERGED, partial(convnet_over, backbone="mixer"),
        ),
    ),
    presets={
        "smoke": {"data": "fashion_mnist_mini", "seeds": (0, 1), "steps": (0, 2, 5, 10), "test_images": 100},
        "cpu": {
            "data": "fashion_mnist_mini", "seeds": (0, 1, 2), "steps": (0, 5, 10, 20, 40, 80, 160, 320, 640),
            "test_images": 2000,
        },
        "gpu": {
            "data": "fashion_mnist", "seeds": (0, 1, 2, 3, 4),
            "steps": (0, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120), "test_images": 10000,
        },
    },
    measure=measure,
    draw=draw,
)  # fmt: skip
