"""The leaderboard as CSV and Markdown. Names in records are a stranger's text: both forms carry them as text alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any, NamedTuple

from genvision.evaluation.numbers import MISSING, written

Row = dict[str, Any]
Board = dict[str, Any]

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would compute such a cell
MARKS = {ord(mark): f"&#{ord(mark)};" for mark in "&<>|`*[]\\~#@"}
RANK_DEFICIENT = "fewer images than features: biased upwards"


class Column(NamedTuple):
    """One column: its heading, how its numbers are written (None: text), and where its value comes from.

    later  records of before this score existed lack it: a table where no row has it goes without the column
    """

    heading: str
    kind: str | None
    value: Callable[[Row], Any]
    later: bool = False


def _metric(key: str, part: str = "value") -> Callable[[Row], Any]:
    return lambda row: ((row.get("metrics") or {}).get(key) or {}).get(part)


def _end(key: str, side: int) -> Callable[[Row], Any]:
    return lambda row: (_metric(key, "interval")(row) or (None, None))[side]


def _bits(part: str) -> Callable[[Row], Any]:
    return lambda row: (row.get("bits_per_dim") or {}).get(part)


def _spread(name: str, part: str | int) -> Callable[[Row], Any]:
    def value(cell: Row) -> Any:
        found = cell[name]
        return found and (found[part] if isinstance(part, str) else found["interval"][part])

    return value


def _field(name: str) -> Callable[[Row], Any]:
    return lambda row: row.get(name)


def backbone(row: Row) -> str:
    """The backbone, or encoder and decoder where they differ."""
    halves = row.get("encoder_backbone"), row.get("decoder_backbone")
    return " → ".join(half or row["backbone"] for half in halves) if any(halves) else row["backbone"]


def sample_seconds(row: Row) -> float | None:
    """Seconds that a thousand images took to draw."""
    seconds, images = row.get("sample_seconds"), row.get("sampled_images")
    return None if seconds is None or not images else 1000 * seconds / images


def processes(row: Row) -> str:
    """How it was trained, as in "1 process, 2 threads, bf16"."""
    count, threads = row.get("processes"), row.get("threads")
    parts = [
        f"{count} process{'' if count == 1 else 'es'}" if count else "",
        f"{threads} thread{'' if threads == 1 else 's'}" if threads else "",
        "fp32" if row.get("precision") == "no" else row.get("precision"),
    ]
    return ", ".join(part for part in parts if part)


def share(value: float, worst: float) -> str:
    """Length of a score's bar in percent of the worst one's, at least two."""
    return f"{100 * min(1.0, max(0.02, value / worst)):.1f}" if worst > 0 else "2.0"


CELL = [
    Column("family", None, _field("family")),
    Column("backbone", None, backbone),
    Column("size", None, _field("size")),
    Column("run", None, _field("run")),
]
COST = [
    Column("parameters", "count", _field("parameters")),
    Column("MACs/image", "count", _field("macs_per_image")),
    Column("images seen", "count", _field("images_seen")),
    Column("train s", "seconds", _field("train_seconds")),
    Column("sample s/1000", "seconds", sample_seconds),
    Column("NFE", "whole", _field("network_evaluations_per_image")),
    Column("device", None, _field("device")),
    Column("processes", None, processes),
]
LIKELIHOOD = [
    Column("bits/dim", "bits", _bits("value")),
    Column("kind", None, _bits("kind")),
]
SCORES = [
    Column("Fréchet", "distance", _metric("frechet")),
    Column("Fréchet low", "distance", _end("frechet", 0), later=True),
    Column("Fréchet high", "distance", _end("frechet", 1), later=True),
    Column("kernel", "kernel", _metric("kid")),
    Column("kernel ±", "kernel", _metric("kid", "std")),
    Column("precision", "share", _metric("precision")),
    Column("recall", "share", _metric("recall")),
    Column("density", "share", _metric("density"), later=True),
    Column("coverage", "share", _metric("coverage"), later=True),
    Column("inception", "inception", _metric("inception_score")),
    Column("inception ±", "inception", _metric("inception_score", "std")),
]
DETAILS = [
    Column("Fréchet infinity", "distance", _metric("frechet_infinity"), later=True),
    Column("nearest ratio", "share", _metric("nearest_ratio"), later=True),
    Column("near copies", "share", _metric("near_copies"), later=True),
    Column("total variation", "share", _metric("total_variation"), later=True),
    Column("autocorrelation", "share", _metric("autocorrelation"), later=True),
    Column("patch edges", "share", _metric("patch_edges"), later=True),
    Column("spectrum error", "share", _metric("spectrum_error"), later=True),
]
SEEDS = [
    *(column for column in CELL if column.heading != "run"),
    Column("training seeds", "whole", lambda cell: len(cell["seeds"])),
    Column("Fréchet", "distance", _spread("frechet", "mean")),
    Column("Fréchet low", "distance", _spread("frechet", 0)),
    Column("Fréchet high", "distance", _spread("frechet", 1)),
    Column("Fréchet least", "distance", _spread("frechet", "least")),
    Column("Fréchet most", "distance", _spread("frechet", "most")),
    Column("bits/dim", "bits", _spread("bits_per_dim", "mean"), later=True),
    Column("bits/dim low", "bits", _spread("bits_per_dim", 0), later=True),
    Column("bits/dim high", "bits", _spread("bits_per_dim", 1), later=True),
    Column("train s", "seconds", _spread("train_seconds", "mean"), later=True),
]
SEEDS_HEADING = "Over training seeds: means and their 95 % intervals (Student's)"
RANK = Column("rank", "whole", _field("rank"))
CSV_COLUMNS = [
    Column("data", None, _field("data")),
    Column("protocol", None, _field("protocol_hash")),
    RANK,
    *CELL,
    Column("status", None, _field("status")),
    Column("metric", None, _metric("frechet", "name")),
    *SCORES,
    *DETAILS,
    *LIKELIHOOD,
    Column("bits/dim ±", "bits", _bits("standard_error")),
    *COST,
    Column("why unranked", None, _field("why")),
    Column("note", None, _field("note")),
]


def csv_text(board: Board) -> str:
    """Every row of the board, ranked ones first, as RFC 4180 text with one header line."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    rows = [*(row for ranking in board["rankings"] for row in ranking["rows"]), *board["unranked"]]
    columns = _filled(CSV_COLUMNS, rows)
    table.writerow(column.heading for column in columns)
    for row in rows:
        table.writerow(_csv_cell(column, row) for column in columns)
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
        parts.append(f"## {_text(ranking['data'])}: {_text(families(ranking))} by {_text(ranking['metric'])}\n")
        how = f"{conditions(ranking['protocol'])}; {sampling_line(ranking['protocol'])}"
        parts.append(f"{_text(how)} (protocol `{ranking['protocol_hash']}`)\n")
        scores = [Column(_score_heading(ranking, column), *column[1:]) for column in SCORES]
        parts.append(_table([RANK, *CELL, *scores, *LIKELIHOOD, *COST], ranking["rows"]))
        if any(row["metrics"]["frechet"].get("rank_deficient") for row in ranking["rows"]):
            parts.append(f"{RANK_DEFICIENT.capitalize()}.\n")
        if ranking["seeds"]:
            headed = [Column(_score_heading(ranking, column), *column[1:]) for column in SEEDS]
            parts += [f"### {SEEDS_HEADING}\n", _table(headed, ranking["seeds"])]
    if board["unranked"]:
        parts.append("## Not ranked\n")
        data, status, why = (Column(name, None, _field(name)) for name in ("data", "status", "why"))
        parts.append(_table([data, *CELL, status, why, *LIKELIHOOD, *COST], board["unranked"]))
    for table in board["likelihoods"]:
        how = f"{table['kind']}, {table['split']}, n = {written('whole', table['num_images'])}"
        parts.append(f"## {_text(table['data'])}: bits/dim of {_text(table['family'])} ({_text(how)})\n")
        error = Column("±", "bits", _bits("standard_error"))
        parts.append(_table([*CELL, LIKELIHOOD[0], error, COST[0], COST[2]], table["rows"]))
    parts += [f"Left out: {_text(entry['file'])} ({_text(entry['why'])})\n" for entry in board["quarantined"]]
    return "\n".join(parts)


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


def _score_heading(ranking: dict[str, Any], column: Column) -> str:
    metrics = ranking["rows"][0]["metrics"]
    for heading, key in (("Fréchet", "frechet"), ("kernel", "kid"), ("inception", "inception_score")):
        if column.heading.startswith(heading) and key in metrics:
            return metrics[key]["name"] + column.heading.removeprefix(heading)
    return column.heading


def measured(rows: list[Row], key: str) -> bool:
    """Whether any of the rows has this score."""
    return any(_metric(key)(row) is not None for row in rows)


def _filled(columns: list[Column], rows: list[Row]) -> list[Column]:
    return [column for column in columns if not column.later or any(column.value(row) is not None for row in rows)]


def _table(columns: list[Column], rows: list[Row]) -> str:
    columns = _filled(columns, rows)
    lines = [[_text(column.heading) for column in columns], ["---" if c.kind is None else "---:" for c in columns]]
    for row in rows:
        lines.append([_text(_shown(column, row)) for column in columns])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _shown(column: Column, row: Row) -> str:
    value = column.value(row)
    return written(column.kind, value) if column.kind is not None else str(value or MISSING)


def _text(value: str) -> str:
    """Text that Markdown cannot read as markup, on one line."""
    return " ".join(str(value).split()).translate(MARKS).replace("://", "&#58;//")
