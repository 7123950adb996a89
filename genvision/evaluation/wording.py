"""What the report's page says of rows and rankings, in words."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from genvision.evaluation import columns
from genvision.evaluation.numbers import MISSING, written

Row = dict[str, Any]

FACTS = {  # field of a record -> how it is written
    "seed": None,
    "learning_rate": None,
    "data_fraction": None,
    "classes": "whole",
    "parameters": "whole",
    "macs_per_image": "whole",
    "images_seen": "whole",
    "steps": "whole",
    "train_seconds": "seconds",
    "network_evaluations_per_image": "whole",
    "config_hash": None,
    "dataset_sha256": None,
}


def anchors(ranking: dict[str, Any]) -> list[tuple[str, float]]:
    """Scores that give a ranking its scale (such as that of real training images), nearest first."""
    found = {(anchor["name"], anchor["value"]) for row in ranking["rows"] for anchor in row.get("anchors") or []}
    return sorted(found, key=lambda anchor: (anchor[1], anchor[0]))


def share(value: float, worst: float) -> str:
    """Length of a score's bar in percent of the worst one's, at least two."""
    return f"{100 * min(1.0, max(0.02, value / worst)):.1f}" if worst > 0 else "2.0"


def machine(row: Row) -> str:
    """What a run was trained on: "cpu, 1 process, 2 threads, bf16"."""
    return ", ".join(part for part in (row.get("device"), columns.processes(row)) if part)


def machines_differ(rows: list[Row]) -> bool:
    """Whether the seconds of these rows were measured on different machines."""
    return len({machine(row) for row in rows}) > 1


def real(metric: dict[str, Any]) -> float | None:
    """What real images score, where that stands beside a score."""
    value = metric.get("real")
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def grid_caption(row: Row) -> str:
    """What a sample grid shows; the columns are classes where these are few enough (`sampling.write.grid_columns`)."""
    classes = row.get("classes")
    if not classes:
        return "Samples" + ("" if classes is None else ", drawn without labels")
    return f"Samples of {classes} classes" + (", one a column" if 2 <= classes <= 16 else "")


def facts(row: Row) -> Iterator[tuple[str, Any]]:
    """(name, value) of what a record says beside its scores."""
    for name, kind in FACTS.items():
        if row.get(name) is not None:
            yield name.replace("_", " "), written(kind, row[name]) if kind else row[name]
    for name, value in (row.get("validation") or {}).items():
        if "_nats_" not in name:  # one for each channel of a latent
            yield f"held out: {name.replace('_', ' ')}", MISSING if value is None else f"{value:.4g}"
    yield "trained on", machine(row) or MISSING
    git = row.get("git") or {}
    if git.get("commit"):
        yield "commit", f"{git['commit']}{' with changes' if git.get('dirty') else ''}"
    if row.get("packages"):
        yield "packages", ", ".join(f"{name} {version}" for name, version in row["packages"].items())


def reproducing(row: Row) -> str:
    """The command that makes the row again, typed in the folder that holds the runs."""
    return f"genvision leaderboard reproduce {shlex.quote(row['folder'])}"
