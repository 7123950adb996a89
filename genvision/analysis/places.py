"""Study: do features still tell where they are, and where an object is?"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from genvision.analysis.capture import capture, is_block
from genvision.analysis.classifiers import shifted
from genvision.analysis.curves import curve, point, whole_numbers
from genvision.analysis.estimates import over_seeds, seed_differences, seed_means, select
from genvision.analysis.figures import panels
from genvision.analysis.passes import forward, test_batches
from genvision.analysis.probing import determination, ridge
from genvision.analysis.runs import Runs, Trained
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.config.trunks import BACKBONES
from genvision.probability.randomness import Stream, generator
from genvision.spec import Batch, Draw

ROLES = {"encoder": "vae", "denoiser": "diffusion"}
FARTHEST = 4  # pixels by which an image is moved, at most
LEFT = {"all places": lambda h: h.flatten(1), "their mean": lambda h: h.mean((1, 2))}  # of (B,h,w,D)


def measure(setting: Setting, runs: Runs) -> Rows:
    """R^2 of ridge regressions on half of the images, seen on the other half."""
    rows: Rows = []
    for role, family in ROLES.items():
        words = setting["words"] if role == "encoder" else ()
        for one in runs.of(family, seeds=setting["seeds"], words=words):
            batch, draw = test_batches(one, setting["images"], 1)[0]
            rows += own_places(one, role, batch, draw, setting["tokens"])
            if role == "encoder":
                rows += moved(one, batch, draw)
    return rows


def own_places(one: Trained, role: str, batch: Batch, draw: Draw, tokens: int) -> Rows:
    """How well a token's row and column can be told from its features, block by block."""
    seen = features(one, role, batch, draw)
    base = {"part": f"{role}, own place", "what": one.config.backbone, "seed": one.config.train.seed}
    rows = []
    for i, h in enumerate(seen):
        halves = [flat(half, tokens) for half in h.tensor_split(2)]
        (x, places), (x_test, places_test) = halves
        value = determination(ridge(x, places)(x_test), places_test)
        rows.append(base | {"i": i, "side": h.shape[1], "value": round(value, 4)})
    return rows


def features(one: Trained, role: str, batch: Batch, draw: Draw) -> list[Tensor]:
    """(B,h,w,D) of the stem and of every block."""
    found = capture(getattr(one.family, role), forward(one.family, role, batch, draw))
    return [h for name, h in found.items() if name == "stem" or is_block(name)]


def flat(h: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """(B,h,w,D) -> at most `tokens` of its tokens (n,D), drawn at random, and their row and column (n,2) in [-1, 1]."""
    axes = [torch.linspace(-1, 1, side) for side in h.shape[1:3]]
    places = torch.cartesian_prod(*axes).expand(len(h), -1, -1).flatten(0, 1)
    chosen = torch.from_numpy(generator(0, Stream.STUDY).permutation(len(places))[:tokens])
    return h.flatten(0, 2)[chosen], places[chosen]


def moved(one: Trained, batch: Batch, draw: Draw) -> Rows:
    """How well an encoder's last block tells how far its image was moved, from all its places and from their mean."""
    rng = generator(1, Stream.STUDY)
    shifts = torch.from_numpy(rng.integers(-FARTHEST, FARTHEST + 1, (len(batch.images), 2)))
    images = [shifted(image[None], *map(int, shift)) for image, shift in zip(batch.images, shifts, strict=True)]
    h = features(one, "encoder", batch._replace(images=torch.cat(images)), draw)[-1]
    half = len(h) // 2
    base: dict[str, Any] = {"part": "encoder, shift", "what": one.config.backbone, "seed": one.config.train.seed}
    rows = []
    for left, reduce in LEFT.items():
        x = reduce(h)
        value = determination(ridge(x[:half], shifts[:half])(x[half:]), shifts[half:])
        rows.append(base | {"left": left, "value": round(value, 4)})
    return rows


def judged_block(table: Rows, role: str, name: str) -> Rows:
    """The rows of an encoder's last block; of a denoiser's deepest: the last of those on its coarsest grid."""
    rows = select(table, f"{role}, own place", name)
    coarsest = min((row["side"] for row in rows), default=0)
    deepest = max((row["i"] for row in rows if row["side"] == coarsest), default=0)
    return [row for row in rows if row["i"] == deepest]


def known(table: Rows, name: str) -> list[Estimate]:
    """R^2 of a token's own place."""
    return [found for role in ROLES for found in over_seeds(f"{role}, {name}", judged_block(table, role, name))]


def finer(table: Rows) -> list[Estimate]:
    """R^2 of a ViT less that of a ConvNet."""
    found = []
    for role in ROLES:
        both = (seed_means(judged_block(table, role, name)) for name in ("vit", "convnet"))
        found += seed_differences(role, *both)
    return found


def lost(table: Rows) -> list[Estimate]:
    """R^2 of the shift from all places less that from their mean."""
    both = (seed_means(select(table, "encoder, shift", "convnet", left=left)) for left in LEFT)
    return seed_differences("convnet", *both)


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 1, 3, width=3.0, height=2.6)
    for ax, role in zip(axes, ROLES, strict=False):
        for k, name in enumerate(BACKBONES):
            curve(ax, select(table, f"{role}, own place", name), "i", k, name)
        ax.set(title=f"{role}: a token's own place", xlabel="0: stem, then blocks", ylabel="R² of row and column")
        whole_numbers(ax)
    for k, name in enumerate(BACKBONES):
        for place, left in enumerate(LEFT):
            for one in over_seeds(name, select(table, "encoder, shift", name, left=left)):
                point(axes[2], place + 0.1 * k, one, k, name if place == 0 else "_")
    axes[2].set(title="encoder: how far an image was moved", ylabel="R² of the shift", xlabel="the last block's")
    axes[2].set_xticks([0.1, 1.1], list(LEFT))
    axes[0].legend()
    axes[2].legend()


STUDY = Study(
    name="places",
    question="Do features still tell where they are, and where an object is?",
    measurement="R^2 of ridge regressions from features to a token's place, and to the shift of an image.",
    claims=(
        Claim(
            ("S2-20",), "features deep in a ViT tell where they are",
            Rule("R^2 of the place of a token", low=0.5, fewest=3), partial(known, name="vit"),
        ),
        Claim(
            ("S2-20",), "features deep in a ConvNet do not",
            Rule("R^2 of the place of a token", high=0.5, fewest=3), partial(known, name="convnet"),
        ),
        Claim(
            ("S4-17",), "features deep in a ViT tell it better",
            Rule("the difference of R^2", low=0.02, fewest=3), finer,
        ),
        Claim(
            ("S4-18",), "the mean over a ConvNet's last block no longer tells where an object is",
            Rule("R^2 of the shift that is lost", low=0.1, fewest=3), lost,
        ),
    ),
    presets={
        "smoke": {"seeds": (0, 1), "words": (), "images": 32, "tokens": 500},
        "cpu": {"seeds": (0, 1, 2), "words": ("size=mini", "data.labels=false"), "images": 500, "tokens": 4000},
        "gpu": {"seeds": (0, 1, 2), "words": ("data.labels=false",), "images": 2000, "tokens": 20000},
    },
    measure=measure,
    draw=draw,
    reads=tuple(ROLES.values()),
)  # fmt: skip
