"""How figures look: readable in gray, the same bytes for the same numbers."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from genvision.storage import replacing

STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "legend.frameon": True,  # without one, its markers look like data
    "legend.edgecolor": "0.8",
    "legend.fancybox": False,
    "legend.fontsize": 7,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "svg.hashsalt": "genvision",  # else the ids inside an SVG are random
    "figure.constrained_layout.use": True,
}
# told apart by marker and dash too, from dark to light
LOOKS = (
    {"color": "#1b1b6b", "marker": "o", "linestyle": "-"},
    {"color": "#b5442d", "marker": "s", "linestyle": "--"},
    {"color": "#2f8f5b", "marker": "^", "linestyle": "-."},
    {"color": "#c08a1e", "marker": "D", "linestyle": ":"},
    {"color": "#8a8a8a", "marker": "v", "linestyle": (0, (5, 1, 1, 1, 1, 1))},
    {"color": "#6f3fa0", "marker": "P", "linestyle": (0, (1, 1))},
    {"color": "#000000", "marker": "x", "linestyle": (0, (3, 3))},
    {"color": "#5fa8d3", "marker": "*", "linestyle": (0, (6, 2))},
)


def look(k: int) -> dict:
    """Keyword arguments of the k-th line of a plot."""
    return dict(LOOKS[k % len(LOOKS)])


def panels(figure: Figure, rows: int, columns: int, *, width: float = 2.6, height: float = 2.2) -> list[Axes]:
    """rows x columns axes in reading order; width and height of each in inches."""
    figure.set_size_inches(width * columns, height * rows)
    return list(figure.subplots(rows, columns, squeeze=False).flat)


def plain_ticks(axis: Axis, few: bool = False) -> None:
    """Numbers of a logarithmic axis as 0.5, not as powers of ten; few: for an axis of less than a decade."""
    axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7) if few else (1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def save(figure: Figure, stem: Path) -> None:
    """Write stem.png and stem.svg, without the date in either. Raises StorageError."""
    for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
        with replacing(stem.with_suffix(suffix)) as temporary:
            figure.savefig(temporary, format=suffix[1:], dpi=150, metadata=metadata)


def new_figure() -> Figure:
    """An empty figure in STYLE, which no window shows and no global state holds."""
    matplotlib.rcParams.update(STYLE)
    return Figure()
