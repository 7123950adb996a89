"""Study: do attention and gradients tell what a network looks at?"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from genvision.analysis.curves import as_map, point, whole_numbers
from genvision.analysis.estimates import over_seeds, seed_differences, seed_means, select
from genvision.analysis.explaining import middle, occluded, per_patch, rank_correlation
from genvision.analysis.figures import panels
from genvision.analysis.passes import test_batches
from genvision.analysis.reach import adaptivity, heard, recorded, rollout
from genvision.analysis.runs import Runs, Trained
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.config.trunks import BACKBONES
from genvision.probability.units import to_unit

EXPLANATIONS = ("rollout", "gradient")
SHOWN = (
    *(("vit", name) for name in ("occlusion", "rollout", "gradient")),
    *(("convnet", name) for name in ("occlusion", "gradient")),
)
DARK = -4  # decades below the whole: black


def measure(setting: Setting, runs: Runs) -> Rows:
    """Of VAE encoders: which patches the middle of the last layer depends on, and what is said to show it."""
    rows: Rows = []
    for one in runs.of("vae", seeds=setting["seeds"], words=setting["words"]):
        found, attention = explained(one, setting["images"])
        base = {"what": one.config.backbone, "seed": one.config.train.seed}
        for name in EXPLANATIONS:
            if name in found:
                value = round(rank_correlation(found[name], found["occlusion"]), 4)
                rows.append(base | {"part": "agreement", "j": name, "value": value})
        for name, each in found.items():
            shares = (each / each.sum((1, 2), keepdim=True)).mean(0)
            for (i, j), value in np.ndenumerate(shares.numpy()):
                rows.append(base | {"part": f"map, {name}", "i": i, "j": j, "value": round(float(value), 6)})
        for i, each in enumerate(attention):
            for head, value in enumerate(adaptivity(each).tolist()):
                rows.append(base | {"part": "adaptivity", "i": i, "j": head, "value": round(value, 4)})
    return rows


def explained(one: Trained, images: int) -> tuple[dict[str, Tensor], list[Tensor]]:
    """{explanation: (B,h,w)} of an encoder on test images, and its layers' attention, none where it has none."""
    batch, _ = test_batches(one, images, 1)[0]
    encoder, grid = one.family.get_submodule("encoder"), one.family.grid()
    x = to_unit(batch.images, one.family.spec.levels, one.family.dtype).requires_grad_()
    run = partial(encoder, x, batch.labels)
    with recorded(encoder) as weights, torch.no_grad():
        run()
    attention = [each for name, each in weights.items() if name.startswith("trunk.")]
    found = {
        "occlusion": occluded(encoder, batch.labels, x.detach(), grid),
        "gradient": per_patch(heard(encoder, run, x, ["trunk"])["trunk"], grid),
    }
    if attention:
        found["rollout"] = rollout(attention)[:, middle(grid)].unflatten(1, grid)
    return found, attention


def agreement(table: Rows, name: str, backbone: str) -> list[Estimate]:
    return over_seeds(backbone, select(table, "agreement", backbone, j=name))


def worse(table: Rows) -> list[Estimate]:
    """The agreement of gradients for a ViT less that for a ConvNet."""
    both = (seed_means(select(table, "agreement", name, j="gradient")) for name in ("vit", "convnet"))
    return seed_differences("vit less convnet", *both)


def adapting(table: Rows) -> list[Estimate]:
    return over_seeds("mean of all heads", select(table, "adaptivity", "vit"))


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 2, 4, width=2.4, height=2.2)
    for ax, (backbone, name) in zip(axes, SHOWN, strict=False):
        picture(figure, ax, select(table, f"map, {name}", backbone))
        ax.set(title=f"{backbone}: {name}", xlabel="patch, column", ylabel="patch, row")
    told = [(backbone, name) for backbone in BACKBONES for name in EXPLANATIONS]
    shown = [(pair, one) for pair in told for one in agreement(table, pair[1], pair[0])]
    for k, (pair, one) in enumerate(shown):
        point(axes[5], k, one, k, ", ".join(pair))
    axes[5].set(title="agreement with occlusion", ylabel="rank correlation", xticks=[], ylim=(-1, 1))
    axes[5].legend(loc="lower left")
    heads = select(table, "adaptivity", "vit")
    for i, head in sorted({(row["i"], row["j"]) for row in heads}):
        for one in over_seeds("", select(heads, "adaptivity", i=i, j=head)):
            point(axes[6], i + 0.1 * head, one, 1)
    axes[6].set(title="vit: attention less its mean", xlabel="layer, heads side by side", ylabel="total variation")
    whole_numbers(axes[6])
    axes[7].axis("off")


def picture(figure: Figure, ax: Axes, rows: Rows) -> None:
    """A map, the mean over seeds."""
    as_map(ax)
    if not rows:
        return
    shares = np.zeros((1 + max(row["i"] for row in rows), 1 + max(row["j"] for row in rows)))
    for row in rows:
        shares[row["i"], row["j"]] += row["value"] / len({other["seed"] for other in rows})
    image = ax.imshow(np.log10(shares.clip(10.0**DARK)), cmap="gray", vmin=DARK, vmax=0)
    figure.colorbar(image, ax=ax, label="log10 of its share", shrink=0.8)


STUDY = Study(
    name="explanations",
    question="Do attention and gradients tell what a network looks at?",
    measurement="Rank correlation, over patches, with how much the middle of an encoder changes without a patch.",
    claims=(
        Claim(
            ("S2-23",), "rolled-out attention tells which patches matter to a ViT",
            Rule("the rank correlation with the effect of occlusion", low=0.5, fewest=3),
            partial(agreement, name="rollout", backbone="vit"),
        ),
        Claim(
            ("S2-24",), "gradients explain a ConvNet worse than a ViT",
            Rule("the difference of rank correlations", low=0.05, fewest=3), worse,
        ),
        Claim(
            ("S1-26",), "attention adapts to the image, as no fixed kernel does",
            Rule("the total variation between an image's attention and the mean", low=0.05, fewest=3), adapting,
        ),
    ),
    presets={
        "smoke": {"seeds": (0, 1), "words": (), "images": 4},
        "cpu": {"seeds": (0, 1, 2), "words": ("size=mini", "data.labels=false"), "images": 128},
        "gpu": {"seeds": (0, 1, 2), "words": ("data.labels=false",), "images": 512},
    },
    measure=measure,
    draw=draw,
    reads=("vae",),
)  # fmt: skip
