"""Study: do images hang together, and what becomes of the seams between patches?"""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure
from torch import Tensor

from genvision import data
from genvision.analysis.curves import curve
from genvision.analysis.estimates import over_seeds, seed_differences, seed_means, seed_ratios, select
from genvision.analysis.figures import panels
from genvision.analysis.learning import held_out_loss
from genvision.analysis.patched import Cell, fit, make
from genvision.analysis.runs import Runs
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.config import load_config
from genvision.evaluation.coherence import coherence, edges_and_insides

SMOOTHERS = ("final convolution", "overlapping patches")
CELLS = (
    Cell("convnet", 1),
    *(Cell("vit", patch) for patch in (2, 4, 7)),
    *(Cell("mixer", patch) for patch in (4, 7)),
    *(Cell("vit", patch, ends) for ends in SMOOTHERS for patch in (4, 7)),
    Cell("vit", 4, position="none"),
)
SIDES = (2, 4, 7)  # at which the seams of a ConvNet, which has no patches, are looked for
CHUNK = 250  # test images of which the loss is taken at once
BARE = str(CELLS[-1])
SCORES = ("total_variation", "autocorrelation", "spectrum_error")


def measure(setting: Setting, runs: Runs) -> Rows:
    """Coherence of images that small denoisers draw, beside the test images; their loss on the latter."""
    words = f"data={setting['data']}", *setting["words"]
    config = load_config(None, ["family=diffusion", *words]).data
    train, test = data.load(config, "train"), data.load(config, "test")
    real = test.images[: setting["test_images"]]
    rows: Rows = []
    for seed in setting["seeds"]:
        for cell in CELLS:
            if real.shape[2] % cell.patch:
                continue  # the small images of a rehearsal
            family = make(cell, data.spec_of(config), seed, words)
            fit(family, train, setting["steps"], setting["batch"], seed)
            drawn = family.sample(setting["images"], seed=seed, steps=setting["sampler_steps"])
            base = {"what": str(cell), "patch": cell.patch, "seed": seed}
            rows += [base | row for row in described(drawn, real, SIDES if cell.patch == 1 else (cell.patch,))]
            lost = held_out_loss(family, test, len(real), CHUNK)
            rows.append(base | {"part": "loss", "value": round(lost, 5)})
    return rows


def described(drawn: Tensor, real: Tensor, sides: tuple[int, ...]) -> Rows:
    """Seams at patches of these sides that fit twice, and what needs no patches."""
    fitting = [side for side in sides if 2 * side <= min(real.shape[2:])]
    rows: Rows = [{"part": "seams", "side": side, "value": round(seams(drawn, real, side), 4)} for side in fitting]
    found = coherence(drawn, real)
    return rows + [{"part": key, "value": round(found[key]["value"], 5)} for key in SCORES]


def seams(drawn: Tensor, real: Tensor, side: int) -> float:
    """The step across the borders of patches over that inside them, as a multiple of the same in real images."""
    shares = []
    for images in (drawn, real):
        edge, inside = edges_and_insides(images.double(), side).mean(0)
        shares.append((edge / inside).item())
    return shares[0] / shares[1]


def seams_of(table: Rows, name: str) -> list[Estimate]:
    """At each side."""
    rows = select(table, "seams", name)
    return [
        found
        for side in sorted({row["side"] for row in rows})
        for found in over_seeds(f"{name}, patches of {side}", [row for row in rows if row["side"] == side])
    ]


def healed(table: Rows, smoother: str) -> list[Estimate]:
    """The seams of a ViT's plain patches less those with a smoother."""
    found = []
    for side in SIDES:
        names = "vit", str(Cell("vit", side, smoother))
        both = (seed_means(select(table, "seams", name, side=side)) for name in names)
        found += seed_differences(f"patches of {side}", *both)
    return found


def without_positions(table: Rows, part: str) -> list[Estimate]:
    """A ViT's without position embeddings over that with them."""
    patch = CELLS[-1].patch
    return seed_ratios(f"vit, patches of {patch}", select(table, part, BARE), select(table, part, "vit", patch=patch))


def coarse(table: Rows, part: str) -> list[Estimate]:
    """A ViT's on its largest patches over that on its smallest."""
    patches = sorted({row["patch"] for row in select(table, part, "vit")})
    large, small = (select(table, part, "vit", patch=patches[k]) for k in (-1, 0))
    return seed_ratios(f"vit, patches of {patches[-1]} over {patches[0]}", large, small)


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 1, 4, width=2.7, height=2.8)
    names = list(dict.fromkeys(str(cell) for cell in CELLS))
    labels = {
        "seams": "step at borders / inside, real images: 1",
        "autocorrelation": "lag-1 autocorrelation",
        "spectrum_error": "power spectrum error (decades)",
        "loss": "mean squared error on test images",
    }
    for ax, (part, label) in zip(axes, labels.items(), strict=True):
        for k, name in enumerate(names):
            curve(ax, select(table, part, name), "side" if part == "seams" else "patch", k, name)
        ax.set(title=part.replace("_", " "), ylabel=label, xlabel="patch (pixels per side; 1: no patches)")
        ax.set_xticks((1, *SIDES))
    axes[0].axhline(1, color="0.5", linewidth=0.8)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names))


STUDY = Study(
    name="coherence",
    question="Do generated images hang together, and what becomes of the seams between patches?",
    measurement="Steps at patch borders, autocorrelation and spectrum of images of small denoisers, beside real ones.",
    claims=(
        Claim(
            ("S0-22",), "what a ConvNet draws is as seamless as real images",
            Rule("the step at borders of patches over that inside, beside real images", low=0.9, high=1.1, fewest=3),
            partial(seams_of, name="convnet"),
        ),
        Claim(
            ("S0-22",), "what a ViT draws is not",
            Rule("the step at borders of patches over that inside, beside real images", low=1.1, fewest=3),
            partial(seams_of, name="vit"),
        ),
        Claim(
            ("S0-24",), "a final convolution takes seams out of a ViT's images",
            Rule("the fall of the step at borders", low=0.05, fewest=3), partial(healed, smoother=SMOOTHERS[0]),
        ),
        Claim(
            ("S0-24",), "so do patches that overlap where they are read and written",
            Rule("the fall of the step at borders", low=0.05, fewest=3), partial(healed, smoother=SMOOTHERS[1]),
        ),
        Claim(
            ("S0-23",), "without position embeddings a ViT denoises worse",
            Rule("its loss over that with them", low=1.02, fewest=3), partial(without_positions, part="loss"),
        ),
        Claim(
            ("S0-23",), "without position embeddings its images hang together less",
            Rule("the error of their power spectrum over that with them", low=1.05, fewest=3),
            partial(without_positions, part="spectrum_error"),
        ),
        Claim(
            ("S1-07",), "the patch is a choice that counts: on larger patches a ViT denoises worse",
            Rule("its loss on the largest patches over that on the smallest", low=1.02, fewest=3),
            partial(coarse, part="loss"),
        ),
        Claim(
            ("S1-07",), "on larger patches its images hang together less",
            Rule("the error of their power spectrum over that on the smallest", low=1.05, fewest=3),
            partial(coarse, part="spectrum_error"),
        ),
    ),
    presets={
        "smoke": {
            "data": "fashion_mnist_mini", "words": ("size=tiny", "data.height=8", "data.width=8"), "seeds": (0, 1),
            "steps": 2, "batch": 4, "images": 4, "sampler_steps": 2, "test_images": 16,
        },
        "cpu": {
            "data": "fashion_mnist_mini", "words": ("size=mini",), "seeds": (0, 1, 2), "steps": 200, "batch": 32,
            "images": 250, "sampler_steps": 20, "test_images": 2000,
        },
        "gpu": {
            "data": "fashion_mnist", "words": ("size=small",), "seeds": (0, 1, 2, 3, 4), "steps": 20000, "batch": 128,
            "images": 2500, "sampler_steps": 50, "test_images": 10000,
        },
    },
    measure=measure,
    draw=draw,
)  # fmt: skip
