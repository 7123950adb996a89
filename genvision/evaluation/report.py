"""The leaderboard as CSV and Markdown. Names in records are a stranger's text: both forms carry them as text alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from genvision.evaluation import columns
from genvision.evaluation.columns import CELL, COST, LIKELIHOOD, RANK, Column, Row, filled, part
from genvision.evaluation.numbers import MISSING, written

Board = dict[str, Any]

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would compute such a cell
MARKS = {ord(mark): f"&#{ord(mark)};" for mark in "&<>|`*[]\\~#@"}
RANK_DEFICIENT = "rank-deficient: no more images than features, biased upwards"
OVER_FEATURES = "over features: 95 % interval, were other images of the same number drawn and compared with"
OVER_SAMPLING_SEEDS = "over sampling seeds: Student's 95 % interval of the mean, the same weights drawn again"
OVER_TRAINING_SEEDS = "over training seeds: Student's 95 % interval of the mean, the cell trained again"


def csv_text(board: Board) -> str:
    """Every row of the board, ranked ones first, as RFC 4180 text with one header line."""
    rows = [*(row for ranking in board["rankings"] for row in ranking["rows"]), *board["unranked"]]
    return _csv(filled(columns.CSV, rows), rows)


def training_seeds_csv(board: Board) -> str:
    """Every cell that was trained with several seeds, under the same rules."""
    named = [Column(name, None, part(name)) for name in ("data", "protocol", "metric")]
    cells = [
        cell | {"data": ranking["data"], "protocol": ranking["protocol_hash"], "metric": ranking["metric"]}
        for ranking in board["rankings"]
        for cell in ranking["over_training_seeds"]
    ]
    return _csv([*named, *columns.NUMBERED_TRAINING_SEEDS], cells)


def _csv(shown: list[Column], rows: Iterable[Row]) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(column.heading for column in shown)
    for row in rows:
        table.writerow(_csv_cell(column, row) for column in shown)
    return out.getvalue()


def _csv_cell(column: Column, row: Row) -> str:
    value = column.value(row)
    if column.kind is not None:
        return written(column.kind, value, plain=True)
    text = " ".join(str(value or "").split())
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def markdown(board: Board) -> str:
    """The board as GitHub-flavoured Markdown tables."""
    parts = ["# Leaderboard\n"]
    for ranking in board["rankings"]:
        parts += _ranking(ranking)
    if board["unranked"]:
        parts.append("## Not ranked\n")
        data, status, why = (Column(name, None, part(name)) for name in ("data", "status", "why"))
        parts.append(_table([data, *CELL, status, why, *LIKELIHOOD, *COST], board["unranked"]))
    for table in board["likelihoods"]:
        how = f"{table['kind']}, {table['split']}, n = {written('whole', table['num_images'])}"
        parts.append(f"## {_text(table['data'])}: bits/dim of {_text(table['family'])} ({_text(how)})\n")
        error = Column("±", "bits", part("bits_per_dim", "standard_error"))
        parts.append(_table([*CELL, LIKELIHOOD[0], error, COST[0], COST[2]], table["rows"]))
    parts += [f"Left out: {_text(entry['file'])} ({_text(entry['why'])})\n" for entry in board["quarantined"]]
    return "\n".join(parts)


def _ranking(ranking: dict[str, Any]) -> list[str]:
    rows, cells = ranking["rows"], ranking["over_training_seeds"]
    parts = [f"## {_text(ranking['data'])}: {_text(families(ranking))} by {_text(ranking['metric'])}\n"]
    how = f"{conditions(ranking['protocol'])}; {sampling_line(ranking['protocol'])}"
    parts.append(f"{_text(how)} (protocol `{ranking['protocol_hash']}`)\n")
    scores = [_named(ranking, column) for column in columns.SCORES]
    if cells:
        parts.append(_table([_named(ranking, column) for column in columns.TRAINING_SEEDS], cells))
    parts.append(_table([RANK, *CELL, *scores, *LIKELIHOOD, *COST], rows))
    if measured(rows, "frechet", "rank_deficient"):
        parts.append(f"{RANK_DEFICIENT.capitalize()}.\n")
    parts += [f"- {what}\n" for what in uncertainties(ranking)]
    return parts


def uncertainties(ranking: dict[str, Any]) -> list[str]:
    """What each of the intervals that a ranking shows is of."""
    rows = ranking["rows"]
    found = {
        OVER_FEATURES: measured(rows, "frechet", "interval"),
        OVER_SAMPLING_SEEDS: any(row["over_sampling_seeds"] for row in rows),
        OVER_TRAINING_SEEDS: bool(ranking["over_training_seeds"]),
    }
    return [name for name, there in found.items() if there]


def families(ranking: dict[str, Any]) -> str:
    """The families in a ranking: one, unless two of them draw images under the very same protocol."""
    return ", ".join(sorted({row["family"] for row in ranking["rows"]}))


def conditions(protocol: dict[str, Any]) -> str:
    """What was compared with what: "2,000 images against fashion_mnist test (10,000)"."""
    real = protocol["reference"]
    n, of = protocol["num_images"], real["num_images"]
    against = " ".join(str(part) for part in (real.get("name"), real.get("split")) if part) or "unnamed images"
    return f"{written('whole', n)} images against {against} ({written('whole', of)})"


def sampling_line(protocol: dict[str, Any]) -> str:
    """The sampler in one line: "scheduler euler, steps 50, seed 0"; fields a family does not have are left out."""
    given = [f"{name.replace('_', ' ')} {value}" for name, value in protocol["sampling"].items() if value is not None]
    return ", ".join(given) or "images drawn elsewhere"


def measured(rows: list[Row], key: str, *parts: str) -> bool:
    """Whether any of the rows has this score, or this part of it."""
    return any(columns.metric(key, *parts)(row) is not None for row in rows)


def _named(ranking: dict[str, Any], column: Column) -> Column:
    """The column under the name that its score has with the ranking's extractor."""
    metrics = ranking["rows"][0]["metrics"]
    for heading, key in (("Fréchet", "frechet"), ("kernel", "kid"), ("inception", "inception_score")):
        if column.heading.startswith(heading) and key in metrics:
            return column._replace(heading=metrics[key]["name"] + column.heading.removeprefix(heading))
    return column


def _table(shown: list[Column], rows: list[Row]) -> str:
    shown = filled(shown, rows)
    numbers = [column.kind is not None or column.heading.startswith(("over ", "least ")) for column in shown]
    lines = [[_text(column.heading) for column in shown], ["---:" if number else "---" for number in numbers]]
    for row in rows:
        lines.append([_text(_shown(column, row)) for column in shown])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _shown(column: Column, row: Row) -> str:
    value = column.value(row)
    return written(column.kind, value) if column.kind is not None else str(value or MISSING)


def _text(value: str) -> str:
    """Text that Markdown cannot read as markup, on one line."""
    return " ".join(str(value).split()).translate(MARKS).replace("://", "&#58;//").replace("www.", "www&#46;")
