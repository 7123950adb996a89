"""Study: what do the layers of a generator know about classes?"""

from __future__ import annotations

from functools import partial

import torch
from matplotlib.figure import Figure
from torch import Tensor

from genvision.analysis.capture import Site, capture, is_block, sites
from genvision.analysis.curves import curve, whole_numbers
from genvision.analysis.estimates import seed_differences, seed_means, select
from genvision.analysis.figures import panels
from genvision.analysis.passes import forward, test_batches
from genvision.analysis.probing import PROBES
from genvision.analysis.runs import Runs, Trained
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.config.trunks import BACKBONES
from genvision.data import Split
from genvision.errors import DataError

ROLES = {"encoder": "vae", "denoiser": "diffusion"}
CLEAR = 0.1  # time of the path at which denoisers are judged: nearly the image


def measure(setting: Setting, runs: Runs) -> Rows:
    """Accuracy of probes on every block's mean over positions; encoders without labels, denoisers told none."""
    rows: Rows = []
    for one in runs.of("vae", seeds=setting["seeds"], words=setting["words"]):
        rows += probed(one, "encoder", 0.0, setting)
    for one in runs.of("diffusion", seeds=setting["seeds"]):
        for time in setting["times"]:
            rows += probed(one, "denoiser", time, setting)
    return rows


def probed(one: Trained, role: str, time: float, setting: Setting) -> Rows:
    """Every probe on every block of one network."""
    train, labels = features(one, role, time, "train", setting["train"], setting["batch"])
    test, test_labels = features(one, role, time, "test", setting["test"], setting["batch"])
    base = {"what": one.config.backbone, "time": time, "seed": one.config.train.seed}
    return [
        base | {"part": f"{role}, {name}", "i": i, "value": probe(x, labels, test[i], test_labels)}
        for i, x in enumerate(train)
        for name, probe in PROBES.items()
    ]


def features(one: Trained, role: str, time: float, split: Split, n: int, batch: int) -> tuple[list[Tensor], Tensor]:
    """Of n images of a split, every block's mean over positions (n,D), and the labels (n,).

    Raises DataError where the images have none.
    """
    network = getattr(one.family, role)
    known: dict[str, Site] = {}  # found once: on small networks, finding them costs as much as a pass
    found: list[list[Tensor]] = []
    labels = []
    for images, draw in test_batches(one, batch, n // batch, split=split, labelled=True):
        blind = images._replace(labels=None)
        run = forward(one.family, role, blind, draw, time=time)
        known = known or {name: site for name, site in sites(network, run).items() if is_block(name)}
        found.append([h.mean((1, 2)) for h in capture(network, run, known=known).values()])
        if images.labels is None:
            raise DataError(f"{one.config.data.name}: has no labels, and probes read classes; name another run")
        labels.append(images.labels)
    return [torch.cat(parts) for parts in zip(*found, strict=True)], torch.cat(labels)


def deep(table: Rows, part: str, name: str) -> tuple[Rows, Rows]:
    """The rows of the first block, and of the deepest: an encoder's last, a denoiser's in the middle."""
    rows = [row for row in select(table, part, name) if row["time"] in (0.0, CLEAR)]
    last = max((row["i"] for row in rows), default=0)
    deepest = last if part.startswith("encoder") else (last + 1) // 2
    return [row for row in rows if row["i"] == 0], [row for row in rows if row["i"] == deepest]


def gain(table: Rows) -> list[Estimate]:
    """What the deepest block adds to the accuracy of the linear probe on the first."""
    found = []
    for role in ROLES:
        for name in BACKBONES:
            first, last = map(seed_means, deep(table, f"{role}, linear", name))
            found += seed_differences(f"{role}, {name}", last, first)
    return found


def lead(table: Rows, one: str, other: str) -> list[Estimate]:
    """How much better the deepest block of one backbone tells classes than the other's."""
    found = []
    for role in ROLES:
        for probe in PROBES:
            both = (seed_means(deep(table, f"{role}, {probe}", name)[1]) for name in (one, other))
            found += seed_differences(f"{role}, {probe}", *both)
    return found


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 1, 4, width=2.6, height=2.6)
    parts = "encoder, linear", "encoder, nearest neighbours", "denoiser, linear"
    for k, name in enumerate(BACKBONES):
        for ax, part in zip(axes, parts, strict=False):
            curve(ax, [row for row in select(table, part, name) if row["time"] in (0.0, CLEAR)], "i", k, name)
            ax.set(title=part, xlabel="block", ylabel="accuracy of the probe")
            whole_numbers(ax)
        rows = select(table, parts[-1], name)
        middle = (max((row["i"] for row in rows), default=0) + 1) // 2
        curve(axes[3], [row for row in rows if row["i"] == middle], "time", k, name)
    axes[2].set_title(f"denoiser at time {CLEAR}, linear")
    axes[3].set(title="denoiser, linear, middle block", xlabel="time (0: image, 1: noise)", ylabel="accuracy")
    for ax in axes:
        ax.axhline(0.1, color="0.5", linewidth=0.8)  # chance, of ten classes
    axes[0].legend()


STUDY = Study(
    name="probes",
    question="What do the layers of a generator know about classes?",
    measurement="Accuracy of linear and nearest-neighbour probes on the mean over positions of every block.",
    claims=(
        Claim(
            ("S0-07", "S1-25"), "deep blocks tell classes better than the first",
            Rule("what the deepest block adds to the accuracy of a linear probe", low=0.01, fewest=3), gain,
        ),
        Claim(
            ("S0-13",), "what a ViT has learned tells classes as well as what a ConvNet has",
            Rule("the difference of accuracies at the deepest block", low=-0.03, high=0.03, fewest=3),
            partial(lead, one="vit", other="convnet"),
        ),
    ),
    presets={
        "smoke": {
            "seeds": (0, 1), "words": (), "times": (0.1, 0.9),
            "train": 32, "test": 16, "batch": 16,
        },
        "cpu": {
            "seeds": (0, 1, 2), "words": ("size=mini", "data.labels=false"), "times": (0.1, 0.5, 0.9),
            "train": 500, "test": 500, "batch": 125,
        },
        "gpu": {
            "seeds": (0, 1, 2), "words": ("data.labels=false",), "times": (0.1, 0.3, 0.5, 0.7, 0.9),
            "train": 10000, "test": 10000, "batch": 500,
        },
    },
    measure=measure,
    draw=draw,
    reads=tuple(ROLES.values()),
)  # fmt: skip
