"""Study: which trunks move with their image, and which do not notice?"""

from __future__ import annotations

from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genvision.analysis.equivariance_table import NETWORKS, POOLS, measure
from genvision.analysis.estimates import over_seeds, select
from genvision.analysis.figures import look, panels
from genvision.analysis.shifting import demonstration, picture
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Study

EXACT = 1e-5  # of a relative error: what the articles' statements are held to
PATCH_SHIFT, PIXEL_SHIFT = 8, 1
ARTICLE_SHIFT = 20
FLOOR = 1e-17  # where errors of zero are drawn on a logarithmic axis


def largest(
    table: Rows, part: str, what: str, shifts: tuple[int, ...] | None = None, **where: object
) -> list[Estimate]:
    """The largest error of all blocks, shifts and seeds: nothing is sampled where all of them are meant."""
    rows = [row for row in select(table, part, what, **where) if shifts is None or row["shift"] in shifts]
    return [Estimate.counted(what, max(row["value"] for row in rows), len(rows))] if rows else []


def last_block(table: Rows, part: str, what: str, shift: int) -> list[Estimate]:
    return over_seeds(f"{what}, shift {shift}", select(table, part, what, block="trunk", shift=shift))


def demo(table: Rows, shift_is: range) -> list[Estimate]:
    """The largest difference in the article's picture, by SciPy with zeros beyond the border and by PyTorch."""
    found = []
    for name in ("SciPy", "PyTorch"):
        values = [row["value"] for row in select(table, "demonstration", name) if row["shift"] in shift_is]
        if len(values) == len(shift_is):
            found.append(Estimate.counted(name, max(values), len(values)))
    return found


def pooling(table: Rows, odd: bool) -> list[Estimate]:
    found = []
    for name in list(POOLS)[1:]:
        rows = [row for row in select(table, "pooled", name) if row["shift"] % 2 == odd and row["shift"]]
        found += over_seeds(name, rows)
    return found


def calmer(table: Rows) -> list[Estimate]:
    """How much pooled maps change under a shift of one pixel, over how much the maps themselves do."""
    found = []
    for name in list(POOLS)[1:]:
        plain = {row["seed"]: row["value"] for row in select(table, "change", "no pooling", shift=PIXEL_SHIFT)}
        rows = select(table, "change", name, shift=PIXEL_SHIFT)
        found += over_seeds(name, [{**row, "value": row["value"] / plain[row["seed"]]} for row in rows])
    return found


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 2, 5, width=2.5, height=2.5)
    convolved, after, before = demonstration("PyTorch", ARTICLE_SHIFT)
    for ax, title, image in zip(
        axes,
        ("picture", "convolved", "convolved, then shifted", "shifted, then convolved"),
        (picture(), convolved, after, before),
        strict=False,
    ):
        ax.imshow(image[0, :, :, 0].numpy(), cmap="gray", vmin=-3, vmax=3)
        ax.set(title=title, xlabel="pixels")
        ax.grid(False)
    orders, equivariant, invariant, pooled, deep = axes[4:9]
    for k, name in enumerate(dict.fromkeys(row["what"] for row in select(table, "demonstration"))):
        rows = select(table, "demonstration", name)
        plain = look(k) | {"marker": "", "linewidth": 4 - 1.4 * k}
        orders.plot([row["shift"] for row in rows], [row["value"] for row in rows], label=name, **plain)
    orders.set(title="difference of the two orders", xlabel="shift (pixels)", ylabel="largest difference")
    for k, name in enumerate(NETWORKS):
        line(equivariant, select(table, "equivariance", name, block="trunk"), k, name)
        line(invariant, select(table, "invariance", name, block="trunk"), k, name)
        line(deep, select(table, "equivariance", name, shift=PATCH_SHIFT), k, name, over="block")
    for k, name in enumerate(POOLS):
        line(pooled, select(table, "pooled", name), k, name)
    for ax, title in (
        (equivariant, "equivariance, last layer"),
        (invariant, "invariance of the mean, last layer"),
        (pooled, "equivariance of pooling by two"),
        (deep, f"equivariance by layer, shift {PATCH_SHIFT}"),
    ):
        ax.set(title=title, xlabel="shift (pixels)", ylabel="relative error", ylim=(FLOOR / 3, 10), yscale="log")
    deep.set_xlabel("")
    deep.tick_params("x", labelrotation=60, labelsize=6)
    orders.legend(fontsize=6)
    pooled.legend(fontsize=6, loc="center right", frameon=True)
    axes[9].axis("off")
    axes[9].legend(*equivariant.get_legend_handles_labels(), loc="center", title="trunks")


def line(ax: Axes, rows: Rows, k: int, label: str, over: str = "shift") -> None:
    """Means over seeds with their intervals, over the shift, or over another column in the order of its appearance."""
    places = dict.fromkeys(row[over] for row in rows)
    found = [over_seeds(label, [row for row in rows if row[over] == place])[0] for place in places]
    values = [max(one.value, FLOOR) for one in found]
    ends = [[one.value - max(one.low, FLOOR) for one in found], [one.high - one.value for one in found]]
    ax.errorbar(
        [str(place).removeprefix("trunk.") if over != "shift" else place for place in places],
        values, [[max(0.0, end) for end in side] for side in ends], label=label, capsize=2, **look(k),
    )  # fmt: skip


STUDY = Study(
    name="equivariance",
    question="Which trunks move with their image, and which do not notice?",
    measurement="Relative change of every block's output, and of its mean, when the image is shifted.",
    claims=(
        Claim(
            ("S1-14", "S1-15", "S1-16"), "the article's two orders agree up to a shift of 40 pixels",
            Rule("the largest difference", 0, 0), partial(demo, shift_is=range(41)),
        ),
        Claim(
            ("S1-14",), "they differ by 3 at a shift of 41, where the object meets the border",
            Rule("the largest difference", 3, 3), partial(demo, shift_is=range(41, 42)),
        ),
        Claim(
            ("S1-13",), "convolution is equivariant to every shift where the image has no border",
            Rule("the largest error of all blocks and shifts", high=EXACT),
            partial(largest, part="equivariance", what="convolution, circular"),
        ),
        Claim(
            ("S1-13",), "with zeros beyond the border one convolution is so away from the border",
            Rule("the largest error of all shifts", high=EXACT),
            partial(largest, part="inside", what="convolution, zeros", block="stem"),
        ),
        Claim(
            ("S1-13",), "so is a whole residual ConvNet, though its GroupNorm averages over the border too",
            Rule("the largest error of all blocks and shifts", high=EXACT),
            partial(largest, part="inside", what="convolution, zeros"),
        ),
        Claim(
            ("S1-13",), "and at the border too",
            Rule("the error of the last layer", high=EXACT),
            partial(last_block, part="equivariance", what="convolution, zeros", shift=PATCH_SHIFT),
        ),
        Claim(
            ("S1-05",), "the mean over positions of a convolution does not notice a shift",
            Rule("the largest error of all blocks and shifts", high=EXACT),
            partial(largest, part="invariance", what="convolution, circular"),
        ),
        Claim(
            ("S1-17",), "pooling by two keeps equivariance to even shifts",
            Rule("the error", high=EXACT), partial(pooling, odd=False),
        ),
        Claim(
            ("S1-17",), "pooling by two breaks equivariance to odd shifts",
            Rule("the error", low=EXACT), partial(pooling, odd=True),
        ),
        Claim(
            ("S1-11",), "pooled maps change less under a shift of one pixel than maps do",
            Rule("the change over that without pooling", high=1), calmer,
        ),
        Claim(
            ("S1-18",), "a ViT is not equivariant: not to whole patches without position embeddings",
            Rule("the largest error of all blocks", low=EXACT),
            partial(largest, part="equivariance", what="ViT without positions", shifts=(4, 8, 16)),
        ),
        Claim(
            ("S1-18",), "a ViT is not equivariant: not to whole patches with position embeddings",
            Rule("the error of the last layer", low=EXACT),
            partial(last_block, part="equivariance", what="ViT with positions", shift=PATCH_SHIFT),
        ),
        Claim(
            ("S1-18",), "a ViT is not equivariant: not to less than a patch",
            Rule("the error of the last layer", low=EXACT),
            partial(last_block, part="equivariance", what="ViT without positions", shift=PIXEL_SHIFT),
        ),
        Claim(
            ("S3-12",), "a Mixer knows where its tokens are: it is not equivariant to whole patches",
            Rule("the error of the last layer", low=EXACT),
            partial(last_block, part="equivariance", what="Mixer", shift=PATCH_SHIFT),
        ),
    ),
    presets={
        "smoke": {"seeds": (0, 1), "images": 2, "depth": 1, "shifts": (1, 8), "pool_shifts": (1, 2), "demo_shifts": 43},
        "cpu": {
            "seeds": (0, 1, 2, 3, 4), "images": 8, "depth": 4, "shifts": (1, 2, 3, 4, 6, 8, 16),
            "pool_shifts": (1, 2, 3, 4, 5, 6), "demo_shifts": 60,
        },
        "gpu": {
            "seeds": tuple(range(10)), "images": 16, "depth": 8, "shifts": (1, 2, 3, 4, 6, 8, 16),
            "pool_shifts": (1, 2, 3, 4, 5, 6), "demo_shifts": 60,
        },
    },
    measure=measure,
    draw=draw,
)  # fmt: skip
