"""Lines of figures that are made of rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from genvision.analysis.estimates import over_seeds
from genvision.analysis.figures import look
from genvision.analysis.study import Estimate, Rows

BETWEEN = (1.0, 1.5, 2.0, 3.0, 5.0)  # numbers that a logarithmic axis of few decades shows


def curve(ax: Axes, rows: Rows, x: str, k: int, label: str) -> None:
    """Means of "value" over seeds with their intervals, over the column `x`; nothing where there are no rows."""
    places = sorted({row[x] for row in rows})
    found = [over_seeds(label, [row for row in rows if row[x] == place])[0] for place in places]
    intervals(ax, places, found, k, label)


def point(ax: Axes, place: float, one: Estimate, k: int, label: str = "_", *, flat: bool = False) -> None:
    """One estimate with its interval; flat: the value to the right and the place upwards."""
    intervals(ax, [place], [one], k, label, flat=flat, linestyle="")


def intervals(
    ax: Axes,
    places: Sequence[float],
    found: Sequence[Estimate],
    k: int,
    label: str = "_",
    *,
    flat: bool = False,
    **style: Any,
) -> None:
    """Estimates with their intervals, joined; a label that starts with "_" stays out of the legend."""
    if found:
        values = [one.value for one in found]
        ends = [[one.value - one.low for one in found], [one.high - one.value for one in found]]
        upright = {"x": places, "y": values, "yerr": ends}
        told: dict[str, Any] = {"x": values, "y": places, "xerr": ends} if flat else upright
        ax.errorbar(**told, label=label, capsize=2, **(look(k) | style))


def whole_numbers(ax: Axes) -> None:
    """Ticks of blocks, layers and channels at whole numbers alone."""
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def as_map(ax: Axes) -> None:
    """Axes of a matrix or an image: whole numbers on both, no lines between."""
    ax.grid(False)
    whole_numbers(ax)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))


def few_decades(ax: Axes) -> None:
    """A logarithmic vertical axis with numbers as they are written, between the powers of ten too."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=BETWEEN))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
