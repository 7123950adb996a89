"""From result files alone to a leaderboard: read, rank within equal protocols, write JSON, CSV, Markdown and a page.

A ranking holds finished runs on the same data under the same protocol, by their Fréchet distance. Whatever cannot be
ranked stays in sight with the reason. The same records give the same bytes, in whatever order they are found.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from genvision.errors import DataError
from genvision.evaluation import page, report
from genvision.evaluation.draws import draws
from genvision.evaluation.record import FILE_NAME, Record, read_record
from genvision.evaluation.seeds import over_sampling_seeds, over_training_seeds
from genvision.storage import one_at_a_time, sweep, write_text

SCHEMA = 1

Row = dict[str, Any]  # a record, plus "folder" (relative to the runs), "draws" and, once ranked, "rank" or "why"
Board = dict[str, Any]

log = logging.getLogger(__name__)


def collect(runs: Path) -> list[Row]:
    """The records of `runs/*/result.json` and of `runs/result.json`, sorted, each with its "folder" added.

    A file that is no valid record costs a warning and is left out; an exact copy of another record counts once.
    Raises DataError when `runs` is not a folder.
    """
    _require_runs(runs)
    return _scan(runs)[0]


def build(runs: Path, out: Path) -> Path:
    """Write leaderboard.json, .csv, .md, leaderboard-seeds.csv and index.html into `out`; return the page's path.

    Raises DataError when `runs` is not a folder of runs, StorageError when `out` cannot be written.
    """
    _require_runs(runs)
    if not _result_files(runs):
        raise DataError(f"{runs}: no run here has a {FILE_NAME} yet; name the folder that holds runs")
    with one_at_a_time(out):  # who builds last has read every record that was there when the one before wrote
        rows, quarantined = _scan(runs)
        board = rank(rows, quarantined)
        texts = {
            "leaderboard.json": json.dumps(board, indent=1, allow_nan=False, ensure_ascii=False) + "\n",
            "leaderboard.csv": report.csv_text(board),
            "leaderboard-seeds.csv": report.training_seeds_csv(board),
            "leaderboard.md": report.markdown(board),
            "index.html": page.html(board, runs),
        }
        sweep(out, *(f".{name}.*.tmp" for name in texts))  # of builders that were killed
        for name, text in texts.items():
            write_text(out / name, text)
    return out / "index.html"


def rank(rows: Iterable[Row], quarantined: Iterable[dict[str, str]] = ()) -> Board:
    """Sort rows into rankings of equal (data, training pixels, protocol), the unranked, and tables of bits/dim."""
    rows = sorted(rows, key=_identity)
    ranked = [row for row in rows if why_unranked(row) is None]
    rankings = [_ranking(list(group)) for _, group in groupby(sorted(ranked, key=_comparable), key=_comparable)]
    return {
        "schema": SCHEMA,
        "rankings": sorted(
            rankings, key=lambda ranking: (ranking["data"], -len(ranking["rows"]), report.families(ranking))
        ),
        "unranked": [row | {"why": why_unranked(row)} for row in rows if why_unranked(row) is not None],
        "likelihoods": _likelihoods(rows),
        "quarantined": sorted(quarantined, key=lambda entry: entry["file"]),
    }


def why_unranked(row: Row) -> str | None:
    """Why a row has no place in a ranking, for a reader; None if it has one."""
    if row["status"] != "finished":
        return row.get("reason") or row.get("note") or f"the run {row['status']}"
    value = ((row.get("metrics") or {}).get("frechet") or {}).get("value")
    if value is None:
        return row.get("note") or "not scored"
    return None if row.get("protocol_hash") else "a score without its protocol cannot be compared"


def _ranking(rows: list[Row]) -> dict[str, Any]:
    rows.sort(key=lambda row: (row["metrics"]["frechet"]["value"], _identity(row)))
    values = [row["metrics"]["frechet"]["value"] for row in rows]
    first = rows[0]
    return {
        "data": first["data"],
        "dataset_sha256": first.get("dataset_sha256"),
        "metric": first["metrics"]["frechet"]["name"],
        "protocol_hash": first["protocol_hash"],
        "protocol": first["protocol"],
        "rows": [
            row | {"rank": 1 + values.index(value), "over_sampling_seeds": over_sampling_seeds(row)}
            for row, value in zip(rows, values, strict=True)
        ],
        "over_training_seeds": over_training_seeds(rows),
    }


def _likelihoods(rows: list[Row]) -> list[dict[str, Any]]:
    """Tables of bits/dim, one per (data, family, split, number of images, kind): only these compare."""
    measured = [row for row in rows if (row.get("bits_per_dim") or {}).get("value") is not None]
    tables = []
    for key, group in groupby(sorted(measured, key=_likelihood_key), key=_likelihood_key):
        data, _, family, kind, split, num_images = key
        ordered = sorted(group, key=lambda row: (row["bits_per_dim"]["value"], _identity(row)))
        tables.append(
            {"data": data, "family": family, "kind": kind, "split": split, "num_images": num_images, "rows": ordered}
        )
    return tables


def _likelihood_key(row: Row) -> tuple[str, str, str, str, str, int]:
    bits = row["bits_per_dim"]
    pixels = row.get("dataset_sha256") or ""
    return row["data"], pixels, row["family"], bits["kind"], bits["split"], bits["num_images"]


def _comparable(row: Row) -> tuple[str, str, str, str]:
    return row["data"], row.get("dataset_sha256") or "", row["protocol_hash"], row["metrics"]["frechet"]["name"]


def _identity(row: Row) -> tuple[str, str, str, str, str]:
    canonical = json.dumps(row, sort_keys=True)
    return row["data"], row["family"], row["backbone"], row["run"], canonical


def _require_runs(runs: Path) -> None:
    if not runs.is_dir():
        raise DataError(f"{runs}: no such folder of runs; train one with train_gen.py first")


def _result_files(runs: Path) -> list[Path]:
    return sorted([*runs.glob(FILE_NAME), *runs.glob(f"*/{FILE_NAME}")])


def _scan(runs: Path) -> tuple[list[Row], list[dict[str, str]]]:
    rows: dict[str, Row] = {}
    left_out: list[tuple[Path, str]] = []
    for path in _result_files(runs):
        try:
            record = read_record(path)
        except DataError as error:
            left_out.append((path, str(error).removeprefix(f"{path}: ")))
            continue
        kept, unfit = draws(path.parent, record)
        left_out += unfit
        folder = path.parent.relative_to(runs).as_posix()
        rows.setdefault(_canonical(record), record | {"folder": folder, "draws": kept})
    for path, why in left_out:
        log.warning("left out of the leaderboard: %s: %s", path, why)
    quarantined = [{"file": path.relative_to(runs).as_posix(), "why": why} for path, why in left_out]
    return sorted(rows.values(), key=_identity), quarantined


def _canonical(record: Record) -> str:
    return json.dumps(record, sort_keys=True)
