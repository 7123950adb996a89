"""Study: what trunks cost, by formula and by count."""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure

from genvision.analysis.cost_table import RATIO, measure
from genvision.analysis.estimates import crossing, log_log_slope, select
from genvision.analysis.figures import look, panels
from genvision.analysis.mixings import (
    ATTENDING,
    MIXINGS,
    WIDTH,
)
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Study


def slope(table: Rows, part: str, names: tuple[str, ...]) -> list[Estimate]:
    """The exponent of the length in what some of a part cost."""
    found = {name: select(table, part, name) for name in names}
    return [
        log_log_slope(name, [row["length"] for row in rows], [row["value"] for row in rows])
        for name, rows in found.items()
    ]


def differences(table: Rows, part: str) -> list[Estimate]:
    """How far each count is from its formula."""
    return [
        Estimate.counted(f"{row['what']} on {row['length']}, {row['quantity']}", row["value"] - row["closed"])
        for row in select(table, part)
    ]


def growth(table: Rows, name: str) -> list[Estimate]:
    """Weights on the largest image over those on the smallest, position embeddings aside."""
    rows = select(table, "size", name)
    return [Estimate.counted(name, rows[-1]["closed"] / rows[0]["closed"])] if rows else []


def equal_length(table: Rows) -> list[Estimate]:
    """The length at which the L x L term of a block costs as much as all the rest, in units of (2 + r) D."""
    rows = sorted(select(table, "share"), key=lambda row: row["length"])
    if not rows:
        return []
    found = crossing([row["length"] for row in rows], [1.0] * len(rows), [row["value"] for row in rows])
    return [Estimate.counted("L / ((2 + r) D)", found / ((2 + RATIO) * WIDTH))]


def crossover(table: Rows, name: str) -> list[Estimate]:
    """The length at which full attention needs more multiply-adds than another mixing."""
    full, other = select(table, "mixing", "full"), select(table, "mixing", name)
    if not full:
        return []
    values = [[row["value"] for row in rows] for rows in (other, full)]
    return [Estimate.counted(f"full against {name}", crossing([row["length"] for row in full], *values))]


def pixel_ratio(table: Rows) -> list[Estimate]:
    """What pixels cost over what patches cost, for each geometry."""
    return [Estimate.counted(row["what"], row["value"] / row["closed"]) for row in select(table, "pixels")]


def draw(table: Rows, figure: Figure) -> None:
    macs, memory, share, size = panels(figure, 2, 2, width=3.6, height=2.8)
    for ax, part, names in ((macs, "mixing", MIXINGS), (memory, "memory", tuple(ATTENDING))):
        for k, name in enumerate(names):
            rows = select(table, part, name)
            ax.plot([row["length"] for row in rows], [row["value"] for row in rows], label=name, **look(k))
    rows = select(table, "share")
    share.plot([row["length"] for row in rows], [row["value"] for row in rows], **look(0))
    share.axhline(1, color="0.5")
    share.axvline((2 + RATIO) * WIDTH, color="0.5", linestyle="--", label=f"(2 + r) D = {(2 + RATIO) * WIDTH}")
    for k, name in enumerate(("conv", "vit", "mixer")):
        rows = select(table, "size", name)
        size.plot([row["length"] for row in rows], [row["value"] for row in rows], label=name, **look(k))
    for ax, title, unit in (
        (macs, "one mixing layer", "multiply-adds per image"),
        (memory, "attention beside q, k and v", "numbers kept for backward"),
        (share, "a block of full attention", "L x L term / all the rest"),
        (size, "a trunk, one token a pixel", "weights"),
    ):
        ax.set(title=title, xlabel="sequence length L (tokens)", ylabel=unit, xscale="log", yscale="log")
        ax.minorticks_off()
        ax.legend()
    sides = sorted({row["length"] for row in select(table, "size")})
    size.set(yscale="linear", ylim=(0, None))
    size.set_xticks(sides, [f"{length:,}" for length in sides])


STUDY = Study(
    name="cost",
    question="What do trunks cost, and how does it grow with the sequence?",
    measurement="Weights, multiply-adds and kept numbers, counted on tensors without data, beside closed forms.",
    claims=(
        Claim(
            ("S0-04", "S0-14", "S0-15"), "closed forms give weights, multiply-adds and memory of every trunk",
            Rule("the count less the closed form", 0, 0), partial(differences, part="closed form"),
        ),
        Claim(
            ("S0-18",), "a convolution's weights take K^2 D_in D_out numbers",
            Rule("the bytes less the formula", 0, 0), partial(differences, part="weights"),
        ),
        Claim(
            ("S0-11",), "attention grows with the square of the sequence",
            Rule("the exponent of the length", 1.95, 2.05, 3), partial(slope, part="term", names=("full",)),
        ),
        Claim(
            ("S0-12", "S0-16"), "Linformer and Performer grow in proportion to the sequence",
            Rule("the exponent of the length", 0.95, 1.05, 3),
            partial(slope, part="term", names=("linformer", "performer")),
        ),
        Claim(
            ("S0-19",), "the memory of attention that is computed as it is written grows with the square",
            Rule("the exponent of the length", 1.95, 2.05, 3), partial(slope, part="memory", names=("explicit",)),
        ),
        Claim(
            ("S0-19",), "the memory of attention, as every ViT computes it today, grows with the square",
            Rule("the exponent of the length", 1.95, 2.05, 3), partial(slope, part="memory", names=("fused",)),
        ),
        Claim(
            ("S0-15",), "below L = (2 + r) D the term that grows with the square is the smaller part of a block",
            Rule("the length of equal parts over (2 + r) D", 0.999, 1.001), equal_length,
        ),
        Claim(
            ("S0-17",), "on 7 x 7 tokens full attention needs no more multiply-adds than a 3 x 3 convolution",
            Rule("the length at which it needs more", low=49), partial(crossover, name="convolution"),
        ),
        Claim(
            ("S0-10",), "a ConvNet has as many weights for any size of image",
            Rule("weights on the largest image over those on the smallest", 1, 1), partial(growth, name="conv"),
        ),
        Claim(
            ("S0-10",), "so has a ViT, its position embeddings aside",
            Rule("weights on the largest image over those on the smallest", 1, 1), partial(growth, name="vit"),
        ),
        Claim(
            ("S0-10",), "so has a Mixer",
            Rule("weights on the largest image over those on the smallest", 1, 1), partial(growth, name="mixer"),
        ),
        Claim(
            ("S2-02",), "pixels as tokens cost more than in proportion to their number",
            Rule("multiply-adds of pixels over those of 4 x 4 patches", low=16), pixel_ratio,
        ),
    ),
    presets={
        "smoke": {"sides": (4, 6), "lengths": (64, 256, 1024)},
        "cpu": {"sides": (7, 14, 28), "lengths": (64, 144, 256, 576, 1024, 2304, 4096)},
        "gpu": {"sides": (7, 14, 28), "lengths": (64, 144, 256, 576, 1024, 2304, 4096, 9216)},
    },
    measure=measure,
    draw=draw,
)  # fmt: skip
