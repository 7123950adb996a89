"""Study: does it matter where a patch is?"""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from genvision.analysis.curves import intervals
from genvision.analysis.estimates import over_seeds, seed_means, select
from genvision.analysis.figures import panels
from genvision.analysis.learning import loaded, remembered, trained
from genvision.analysis.runs import Runs
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.analysis.sweep import words
from genvision.config import load_config
from genvision.data import ImageSet
from genvision.probability.randomness import Stream, generator

PATCH = 2  # pixels per side: the patches of the ViT and the Mixer at this size
BARE = "vit without positions"
BACKBONES = {"convnet": (), "vit": (), BARE: ("trunk.position=none",), "mixer": ()}
IN_ORDER, FIXED, OWN = ORDERS = "in order", "one permutation", "one for each image"


def measure(setting: Setting, runs: Runs) -> Rows:
    """Held-out loss of denoisers of equal weights after equal steps on images whose patches have changed places."""
    rows: Rows = []
    for backbone, options in BACKBONES.items():
        for order in ORDERS:
            for seed in setting["seeds"]:
                told = [*words(setting, "diffusion", backbone.partition(" ")[0], seed), *options]
                kept = f"{backbone}-{order}-seed{seed}-steps{setting['steps']}.json".replace(" ", "_")
                compute = partial(last_loss, told, order, seed, setting["steps"])
                found = remembered(runs.folder / "shuffled" / kept, told, compute)
                rows += [{"part": order, "what": backbone, "seed": seed} | row for row in found]
    return rows


def last_loss(told: list[str], order: str, seed: int, steps: int) -> Rows:
    images = loaded(load_config(None, [*told, f"train.steps={steps}"]).data)
    train_set, held_out = (shuffled(one, order, seed, part) for part, one in enumerate(images))
    _, (last,) = trained(told, (steps,), images=(train_set, held_out))
    return [{"value": last["loss"]}]


def shuffled(images: ImageSet, order: str, seed: int, part: int) -> ImageSet:
    """The images with their patches in another order; parts of a set share FIXED's permutation and no other."""
    if order == IN_ORDER:
        return images
    patches = images.spec.height // PATCH * (images.spec.width // PATCH)
    if order == FIXED:
        places = np.broadcast_to(generator(seed, Stream.STUDY).permutation(patches), (len(images), patches))
    else:
        places = generator(seed, Stream.STUDY, 1 + part).random((len(images), patches)).argsort(1)
    return dataclasses.replace(images, images=moved(images.images, torch.from_numpy(places.copy())))


def moved(images: Tensor, places: Tensor) -> Tensor:
    """Images (N,C,H,W) whose patch k, in raster order, is what was patch places[:, k], (N,patches)."""
    cut = images.unflatten(3, (-1, PATCH)).unflatten(2, (-1, PATCH))  # (N,C,h,p,w,q)
    patches = cut.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)[torch.arange(len(images))[:, None], places]
    return patches.unflatten(1, cut.shape[2:5:2]).permute(0, 3, 1, 4, 2, 5).reshape(images.shape)


def excess(table: Rows, order: str, backbones: tuple[str, ...]) -> list[Estimate]:
    """The loss on images of an order over that on images as they are, less 1, seed by seed."""
    found = []
    for name in backbones:
        there, here = (seed_means(select(table, part, name)) for part in (order, IN_ORDER))
        rows = [{"seed": seed, "value": loss / here[seed] - 1} for seed, loss in there.items() if seed in here]
        found += over_seeds(name, rows)
    return found


def draw(table: Rows, figure: Figure) -> None:
    (ax,) = panels(figure, 1, 1, width=5.0, height=2.8)
    for k, name in enumerate(BACKBONES):
        found = [over_seeds(order, select(table, order, name))[0] for order in ORDERS]
        intervals(ax, [place + 0.08 * (k - 1.5) for place in range(len(ORDERS))], found, k, name)
    ax.set_xticks(range(len(ORDERS)), ORDERS)
    ax.set(xlabel="order of the patches", ylabel="squared error of velocity, held out")
    ax.legend()


NEAR = 0.05  # of the loss: what counts as the same
CHANGE = "the loss over that on images as they are, less 1,"
SAME = Rule(CHANGE, low=-NEAR, high=NEAR, fewest=3)
WORSE = Rule(CHANGE, low=NEAR, fewest=3)
STUDY = Study(
    name="shuffled",
    question="Does it matter where a patch is?",
    measurement="Held-out loss of denoisers of equal weights after equal steps on images as they are, with their "
    "patches in one other order, and in an order for each image.",
    claims=(
        Claim(
            ("S3-12",), "a ViT and a Mixer learn images in one other order of patches as they learn images as they are",
            SAME, partial(excess, order=FIXED, backbones=("vit", "mixer")),
        ),
        Claim(
            ("S3-12",), "a ConvNet does not",
            WORSE, partial(excess, order=FIXED, backbones=("convnet",)),
        ),
        Claim(
            ("S3-12",), "position matters to a ViT and to a Mixer: an order for each image costs them a twentieth",
            WORSE, partial(excess, order=OWN, backbones=("vit", "mixer")),
        ),
        Claim(
            (), "a ViT without positions, which cannot notice, does not",
            SAME, lambda table: [one for order in (FIXED, OWN) for one in excess(table, order, (BARE,))],
        ),
    ),
    presets={
        "smoke": {
            "data": "fashion_mnist_mini", "seeds": (0, 1), "batch": 4, "warmup": 1, "steps": 2, "held_out": 8,
        },
        "cpu": {
            "data": "fashion_mnist_mini", "seeds": (0, 1, 2), "batch": 16, "warmup": 10, "steps": 120, "held_out": 256,
        },
        "gpu": {
            "data": "fashion_mnist", "seeds": (0, 1, 2, 3, 4), "batch": 256, "warmup": 100, "steps": 10000,
            "held_out": 2000,
        },
    },
    measure=measure,
    draw=draw,
)  # fmt: skip
