"""Further scores of a run's weights, drawn again with another seed or other steps, and kept beside its record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genvision.errors import DataError
from genvision.evaluation.record import Record, read_record

FOLDER = "scores"  # below a run: a record for each protocol, named by its hash
FIELDS = (
    *("protocol", "protocol_hash", "metrics"),
    *("network_evaluations_per_image", "sample_seconds", "sampled_images"),
)

HELD = ("num_images", "reference", "extractor", "scores")  # of a protocol, whatever the sampler does


def draws(run: Path, record: Record) -> tuple[list[dict[str, Any]], list[tuple[Path, str]]]:
    """(FIELDS of each further score, by protocol), (file, why it was left out).

    They must be of the same run, and of a protocol that differs in its sampling alone.
    """
    kept, left_out = [], []
    for path, again in read_draws(run):
        if isinstance(again, DataError):
            left_out.append((path, str(again).removeprefix(f"{path}: ")))
        elif _origin(again) != _origin(record):
            left_out.append((path, "no further score of the run beside it"))
        elif ((again["metrics"] or {}).get("frechet") or {}).get("value") is None:
            left_out.append((path, "it holds no score"))
        else:
            kept.append({name: again[name] for name in FIELDS})
    return kept, left_out


def read_draws(run: Path) -> Iterator[tuple[Path, Record | DataError]]:
    """Every file of RUN/scores and the record in it, or what is wrong with it."""
    for path in sorted((run / FOLDER).glob("*.json")):
        try:
            yield path, read_record(path)
        except DataError as error:
            yield path, error


def _origin(record: Record) -> tuple[Any, ...]:
    """What a draw shares with its run."""
    protocol = {name: part for name, part in (record["protocol"] or {}).items() if name in HELD}
    return record["run"], record["config_hash"], record["dataset_sha256"], protocol
