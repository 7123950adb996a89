"""The leaderboard as one HTML file that needs nothing else: no network, no foreign script, sample grids embedded."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from genvision.evaluation import bars, columns, pictures, plots, report, wording
from genvision.evaluation.history import History, read_history
from genvision.evaluation.numbers import written

if TYPE_CHECKING:
    from jinja2 import Environment

Row = dict[str, Any]
Board = dict[str, Any]

TEMPLATES = Path(__file__).parent / "templates"
MAX_CONFIG_BYTES = 100_000
COLORS = 6  # accents in the style sheet, one per backbone, used again after the last


class Entry(NamedTuple):
    """A run as the page tells of it; None where its folder does not hold the thing."""

    number: int
    row: Row
    thumbnail: str | None
    grid: str | None
    nearest: str | None
    config: str | None
    curves: list[plots.Chart]


def html(board: Board, runs: Path) -> str:
    """The page of a board; `runs` is where the rows' folders lie. Every name is escaped, so no row can add markup."""
    from markupsafe import Markup

    rows = [*(row for ranking in board["rankings"] for row in ranking["rows"]), *board["unranked"]]
    history = {row["folder"]: read_history(runs / row["folder"] / "metrics.jsonl") for row in rows}
    entries = [_entry(k, row, runs / row["folder"], history) for k, row in enumerate(rows)]
    script, style = ((TEMPLATES / f"leaderboard.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
    return (
        _environment()
        .get_template("leaderboard.html")
        .render(
            sections=_sections(board),
            quarantined=board["quarantined"],
            entries=entries,
            entry={entry.row["folder"]: entry for entry in entries},
            history=history,
            accents={name: k % COLORS for k, name in enumerate(sorted({columns.backbone(row) for row in rows}))},
            at=lambda place: f"{place:.1f}",
            plain=lambda value: "" if value is None else value,
            indented=lambda value: json.dumps(value, indent=2, ensure_ascii=False),
            script=Markup(script),
            script_hash=_digest(script),
            style=Markup(style),
            style_hash=_digest(style),
            written=written,
            bars=bars,
            columns=columns,
            words=wording,
            pictures=pictures,
            plots=plots,
            report=report,
        )
    )


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(TEMPLATES)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _entry(number: int, row: Row, folder: Path, history: dict[str, History]) -> Entry:
    grid = pictures.read_picture(folder, row.get("grid"))
    nearest = pictures.data_uri(pictures.read_picture(folder, pictures.NEAREST), pictures.FULL_SIDE)
    curves = plots.loss_curves(row, history[row["folder"]])
    if "rank" in row:
        curves += plots.scores_over_costs([row], history)
    thumbnail, full = (pictures.data_uri(grid, side) for side in (pictures.THUMBNAIL_SIDE, pictures.FULL_SIDE))
    return Entry(number, row, thumbnail, full, nearest, _config(folder / "config.yaml"), curves)


def _config(path: Path) -> str | None:
    """A run's configuration as text."""
    try:
        return None if path.stat().st_size > MAX_CONFIG_BYTES else path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _digest(text: str) -> str:
    """The source of a content security policy that allows this text alone."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _sections(board: Board) -> list[dict[str, Any]]:
    """The board cut by data set, in alphabetical order."""
    parts = ("rankings", "unranked", "likelihoods")
    names = sorted({entry["data"] for part in parts for entry in board[part]})
    of = {name: {part: [entry for entry in board[part] if entry["data"] == name] for part in parts} for name in names}
    return [{"data": name} | of[name] for name in names]
