"""The leaderboard as one HTML file that needs nothing else: no network, no foreign script, sample grids embedded."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from pathlib import Path
from typing import Any

from genvision.evaluation import plots, report
from genvision.evaluation.numbers import written

Row = dict[str, Any]
Board = dict[str, Any]

TEMPLATES = Path(__file__).parent / "templates"
THUMBNAIL_SIDE = 360  # pixels; a larger grid is scaled down
MAX_PIXELS = 64_000_000
FACTS = ("seed", "learning_rate", "data_fraction", "precision", "device", "threads", "config_hash", "dataset_sha256")
COLORS = 6  # accents in the style sheet, one per backbone, used again after the last


def html(board: Board, runs: Path) -> str:
    """The page of a board; `runs` is where the rows' folders lie. Every name is escaped, so no row can add markup."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    loader = FileSystemLoader(TEMPLATES)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    rows = [*(row for ranking in board["rankings"] for row in ranking["rows"]), *board["unranked"]]
    backbones = sorted({report.backbone(row) for row in rows})
    script = (TEMPLATES / "leaderboard.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("leaderboard.html").render(
        sections=_sections(board),
        rows=rows,
        quarantined=board["quarantined"],
        accent={name: k % COLORS for k, name in enumerate(backbones)},
        thumbnails={row["folder"]: thumbnail(runs, row) for row in rows},
        anchors=anchors,
        number={row["folder"]: k for k, row in enumerate(rows)},
        curves={row["folder"]: plots.curve(runs / row["folder"] / "metrics.jsonl") for row in rows},
        facts=FACTS,
        plots=plots,
        scatters=plots.scatters,
        plain=lambda value: "" if value is None else value,
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        indented=lambda value: json.dumps(value, indent=2, ensure_ascii=False),
        written=written,
        report=report,
    )


def anchors(ranking: dict[str, Any]) -> list[tuple[str, float]]:
    """Scores that give a ranking its scale (such as that of real training images), nearest first."""
    found = {(anchor["name"], anchor["value"]) for row in ranking["rows"] for anchor in row.get("anchors") or []}
    return sorted(found, key=lambda anchor: (anchor[1], anchor[0]))


def thumbnail(runs: Path, row: Row) -> str | None:
    """The row's sample grid as a data URI; None where there is none, or it lies outside the row's folder."""
    from PIL import Image

    if not row.get("grid"):
        return None
    try:
        folder = (runs / row["folder"]).resolve()
        path = (folder / row["grid"]).resolve()
        if not path.is_relative_to(folder) or not path.is_file():
            return None
        with Image.open(path, formats=["PNG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            picture = image.convert("L" if image.mode == "L" else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # a damaged picture costs the picture, not the table
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def _sections(board: Board) -> list[dict[str, Any]]:
    """The board cut by data set, in alphabetical order."""
    parts = ("rankings", "unranked", "likelihoods")
    names = sorted({entry["data"] for part in parts for entry in board[part]})
    of = {name: {part: [entry for entry in board[part] if entry["data"] == name] for part in parts} for name in names}
    return [{"data": name} | of[name] for name in names]
