"""Study: how much better is a generator on the images it has seen?"""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure

from genvision.analysis.curves import curve
from genvision.analysis.estimates import mean_of, seed_differences, seed_means, select
from genvision.analysis.figures import panels
from genvision.analysis.learning import held_out_loss, loaded, remembered, trained
from genvision.analysis.runs import Runs
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.analysis.sweep import AUTOREGRESSIVE, SIDE, UNITS, words
from genvision.config import load_config
from genvision.config.trunks import BACKBONES

SIDES = {"autoregressive": 7, "diffusion": SIDE}  # pixels per side, at which backbones of a family have equal weights
FEWEST = 3


def measure(setting: Setting, runs: Runs) -> Rows:
    """Losses after equal steps on images that were trained on ("train") and on others ("test"); part is the family."""
    rows: Rows = []
    for family, side in SIDES.items():
        options = AUTOREGRESSIVE[side] if family == "autoregressive" else None
        for fraction in setting["fractions"]:
            for backbone in BACKBONES:
                for seed in setting["seeds"]:
                    told = [*words(setting, family, backbone, seed, side=side, options=options)]
                    told += [f"data.fraction={fraction}", "data.labels=false"]
                    kept = f"{family}-{backbone}-fraction{fraction}-seed{seed}-steps{setting['steps']}.json"
                    compute = partial(losses, told, setting["steps"], setting["held_out"])
                    found = remembered(runs.folder / "generalise" / kept, told, compute)
                    place = {"part": family, "what": backbone, "fraction": fraction, "seed": seed}
                    rows += [place | row | {"value": row["test"] / row["train"] - 1} for row in found]
    return rows


def losses(told: list[str], steps: int, images: int) -> Rows:
    """{"train", "test"} of the last weights: of the first `images` of each set, in eval mode, noise of their place."""
    family, _ = trained(told, (steps,))
    seen, others = loaded(load_config(None, told).data)
    return [{"train": held_out_loss(family, seen, images), "test": held_out_loss(family, others, images)}]


def shares(table: Rows) -> list[float]:
    return sorted({row["fraction"] for row in table})


def gap(table: Rows, family: str, backbone: str, place: int) -> dict[int, float]:
    """{seed: the loss on others over that on images trained on, less 1}; place: 0 the least data, -1 all."""
    return seed_means(select(table, family, backbone, fraction=shares(table)[place]))


def own(table: Rows, place: int) -> list[Estimate]:
    """The ViT's gap."""
    return [
        found
        for family in SIDES
        for found in mean_of(f"{family}, vit", list(gap(table, family, "vit", place).values()))
    ]


def closes(table: Rows, backbone: str) -> list[Estimate]:
    """By how much a gap is smaller on all of the data than on the least."""
    found = []
    for family in SIDES:
        found += seed_differences(f"{family}, {backbone}", *(gap(table, family, backbone, place) for place in (0, -1)))
    return found


def wider(table: Rows, place: int) -> list[Estimate]:
    """The ViT's gap less the ConvNet's."""
    found = []
    for family in SIDES:
        both = (gap(table, family, name, place) for name in ("vit", "convnet"))
        found += seed_differences(f"{family}, vit less convnet", *both)
    return found


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 2, len(SIDES), width=3.4, height=2.5)
    for column, family in enumerate(SIDES):
        above, below = axes[column], axes[column + len(SIDES)]
        for k, name in enumerate(BACKBONES):
            rows = [row | {"fraction": row["fraction"] * (1 + 0.06 * (k - 1))} for row in select(table, family, name)]
            curve(above, [row | {"value": row["test"]} for row in rows], "fraction", k, f"{name}, held out")
            curve(below, rows, "fraction", k, name)
            places = sorted({row["fraction"] for row in rows})
            seen = [[row["train"] for row in rows if row["fraction"] == place] for place in places]
            above.plot(
                places, [sum(values) / len(values) for values in seen], color="0.4", linewidth=0.8,
                marker="osD"[k], markerfacecolor="none", label=f"{name}, trained on",
            )  # fmt: skip
        above.set(xscale="log", title=family, ylabel=UNITS[family], xlabel="share of the training images")
        below.axhline(0, color="0.4", linewidth=0.8)
        below.set(xscale="log", ylabel="held out / trained on - 1", xlabel="share of the training images")
        for ax in (above, below):
            ax.set_xticks(shares(table), [f"{share:.1%}" for share in shares(table)])
            ax.minorticks_off()
    axes[0].legend(fontsize=6)


STUDY = Study(
    name="generalise",
    question="How much better is a generator on the images it has seen, and does data close the gap?",
    measurement="Loss of small generators of equal weights after equal steps, on held-out images over that on images "
    "they were trained on, less 1, on shares of the data.",
    claims=(
        Claim(
            ("S2-22",), "on all of the data a ViT generalises: it loses a fiftieth at most on images it has not seen",
            Rule("its loss on others over that on its own, less 1,", high=0.02, fewest=FEWEST), partial(own, place=-1),
        ),
        Claim(
            ("S2-22",), "on the least data it does not",
            Rule("its loss on others over that on its own, less 1,", low=0.02, fewest=FEWEST), partial(own, place=0),
        ),
        Claim(
            ("S2-22",), "data closes the ViT's gap",
            Rule("by how much it falls from the least to all of the data", low=0.0, fewest=FEWEST),
            partial(closes, backbone="vit"),
        ),
        Claim(
            ("S1-09", "S1-27"), "on the least data the ViT's gap is wider than the ConvNet's",
            Rule("the difference of the gaps", low=0.0, fewest=FEWEST), partial(wider, place=0),
        ),
    ),
    presets={
        "smoke": {
            "data": "fashion_mnist_mini", "fractions": (0.001, 1.0), "seeds": (0, 1), "batch": 4, "warmup": 1,
            "steps": 2, "held_out": 8,
        },
        "cpu": {
            "data": "fashion_mnist_mini", "fractions": (0.003, 0.03, 1.0), "seeds": (0, 1, 2), "batch": 16,
            "warmup": 10, "steps": 300, "held_out": 500,
        },
        "gpu": {
            "data": "fashion_mnist", "fractions": (0.003, 0.01, 0.1, 1.0), "seeds": (0, 1, 2, 3, 4), "batch": 256,
            "warmup": 100, "steps": 10000, "held_out": 3000,
        },
    },
    measure=measure,
    draw=draw,
)  # fmt: skip
