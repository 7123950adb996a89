"""Lines of figures that are made of rows of a table."""

from __future__ import annotations

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
    if found:
        ends = [(one.high - one.low) / 2 for one in found]
        ax.errorbar(places, [one.value for one in found], ends, label=label, capsize=2, **look(k))


def point(ax: Axes, x: float, one: Estimate, k: int, label: str = "_") -> None:
    """One estimate with its interval; a label that starts with "_" stays out of the legend."""
    style = look(k) | {"linestyle": ""}
    ax.errorbar([x], [one.value], [(one.high - one.low) / 2], label=label, capsize=2, **style)


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
