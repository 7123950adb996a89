"""Study: one model class: which part of the block matters, and is attention special?"""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure

from genvision.analysis.curves import point
from genvision.analysis.estimates import over_seeds, select
from genvision.analysis.figures import panels
from genvision.analysis.learning import remembered, trained
from genvision.analysis.runs import Runs
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.analysis.sweep import words
from genvision.analysis.variants import LEFT_OUT, VARIANTS, prepare

ADDED = ("none", "learned", "axial", "sincos", "sincos1d", "fourier")
POSITIONS = {"vit": (*ADDED, "rotary", "relative"), "mixer": ADDED}
FEWEST = 3


def measure(setting: Setting, runs: Runs) -> Rows:
    """The held-out loss of denoisers after equal steps: variants of the block, then kinds of position."""
    cells = [("block", "vit", variant) for variant in VARIANTS]
    cells += [(f"position, {name}", name, kind) for name, kinds in POSITIONS.items() for kind in kinds]
    rows: Rows = []
    for part, backbone, what in cells:
        for seed in setting["seeds"]:
            told = words(setting, "diffusion", backbone, seed)
            change = prepare(what, seed) if part == "block" else None
            if part != "block":
                told = [*told, f"trunk.position={what}"]
            name = f"{part}-{what}-seed{seed}-steps{setting['steps']}.json".replace(" ", "_").replace(",", "")

            def compute(told=told, change=change) -> Rows:
                return trained(told, (setting["steps"],), prepare=change)[1]

            place = {"part": part, "what": what, "seed": seed}
            found = remembered(runs.folder / "blocks" / name, told, compute)
            rows += [place | {"value": row["loss"], "seconds": row["seconds"]} for row in found]
    return rows


def losses(table: Rows, part: str, what: str) -> dict[int, float]:
    return {row["seed"]: row["value"] for row in select(table, part, what)}


def excess(table: Rows, part: str, whats: tuple[str, ...], than: str) -> list[Estimate]:
    """A loss over that of `than`, less 1, for each of `whats`."""
    base, found = losses(table, part, than), []
    for what in whats:
        rows = [{"seed": seed, "value": loss / base[seed] - 1} for seed, loss in losses(table, part, what).items()]
        found += over_seeds(f"{what} over {than}", rows)
    return found


def spread(table: Rows) -> list[Estimate]:
    """The largest loss of the ViT's kinds of position over the least, less 1."""
    kinds = [losses(table, "position, vit", kind) for kind in POSITIONS["vit"] if kind != "none"]
    each = {seed: [values[seed] for values in kinds] for seed in kinds[0]}
    return over_seeds("vit", [{"seed": seed, "value": max(v) / min(v) - 1} for seed, v in each.items()])


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 1, 3, width=3.0, height=3.0)
    for ax, part in zip(axes, dict.fromkeys(row["part"] for row in table), strict=True):
        names = list(dict.fromkeys(row["what"] for row in select(table, part)))
        for y, name in enumerate(names):
            point(ax, y, over_seeds(name, select(table, part, name))[0], 0, flat=True)
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.set(xlabel="squared error of velocity, held out", title=part)


WORSE = partial(Rule, "its loss over the other's, less 1,", fewest=FEWEST)
STUDY = Study(
    name="blocks",
    question="Are ViT and Mixer one model class, and which part of the block matters?",
    measurement="Held-out loss of small denoisers after equal steps at one learning rate: the token mixing exchanged "
    "at equal weights, one part left out, ReLU, and kinds of position embeddings.",
    claims=(
        Claim(
            ("S3-08",), "token mixing makes the difference: without it the loss is at least a twentieth higher",
            WORSE(low=0.05), partial(excess, part="block", whats=("identity",), than="attention"),
        ),
        Claim(
            ("S3-16",), "attention is special: every other mixing at equal weights does worse",
            WORSE(low=0.0),
            partial(excess, part="block", whats=("token MLP", "depthwise", "pooling"), than="attention"),
        ),
        Claim(
            ("S3-20",), "every part of the block is essential: leaving one out costs a twentieth",
            WORSE(low=0.05), partial(excess, part="block", whats=LEFT_OUT, than="attention"),
        ),
        Claim(
            ("S0-08", "S0-09"), "GELU does better than ReLU",
            WORSE(low=0.0), partial(excess, part="block", whats=("ReLU",), than="attention"),
        ),
        Claim(
            ("S3-13",), "a ViT does better with learned positions than without any",
            WORSE(low=0.0), partial(excess, part="position, vit", whats=("none",), than="learned"),
        ),
        Claim(
            ("S2-12",), "the kind of position embedding hardly matters: a twentieth of the loss at most",
            Rule("the largest loss over the least, less 1,", high=0.05, fewest=FEWEST), spread,
        ),
        Claim(
            ("S3-14",), "a Mixer gains nothing from learned positions: less than a fiftieth",
            WORSE(high=0.02), partial(excess, part="position, mixer", whats=("none",), than="learned"),
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
