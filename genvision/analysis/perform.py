"""Perform a study: measure, judge, draw, and write what came of it."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genvision.analysis.conditions import conditions
from genvision.analysis.figures import new_figure, save
from genvision.analysis.runs import Runs
from genvision.analysis.study import PRESETS, Rows, Study
from genvision.analysis.table import STUDIES
from genvision.config.typed import nearest
from genvision.errors import ConfigError
from genvision.storage import write_text

VERDICT = "verdict.json"


def study_named(name: str) -> Study:
    """Raises ConfigError, naming the nearest, for a name that is none."""
    if name not in STUDIES:
        near = nearest(name, STUDIES)
        meant = f"did you mean {near}? " if near else ""
        raise ConfigError(f"no study {name}; {meant}`genvision study list` has them all")
    return STUDIES[name]


def list_text() -> str:
    """Every study with its question and the rows of the articles that it answers."""
    lines = []
    for study in STUDIES.values():
        rows = f" ({', '.join(study.rows)})" if study.rows else ""
        lines.append(f"{study.name:<14} {study.question}{rows}")
    return "\n".join(
        [*lines, "\nIn brackets: the claims of the articles that it answers, as docs/STUDIES.md numbers them."]
    )


def perform(study: Study, preset: str, out: Path, *, given: Sequence[Path] | None = None, command: str = "") -> str:
    """Write table.csv, figure.png, figure.svg and verdict.json below out/preset/NAME/; returns what they say.

    given    runs to read in place of those that would be trained below out/preset/runs/
    Raises ConfigError where runs are given to a study that reads none, and what training and measuring raise.
    """
    if preset not in PRESETS:
        raise ConfigError(f"no preset {preset}; presets are {', '.join(PRESETS)}")
    if given is not None and not study.reads:
        raise ConfigError(f"study {study.name} reads no runs: it builds what it needs; leave out --runs")
    folder = out / preset / study.name
    runs = Runs(out / preset / "runs", preset, given)
    table = study.measure(study.presets[preset], runs)
    write_text(folder / "table.csv", as_csv(table))
    figure = new_figure()
    study.draw(table, figure)
    save(figure, folder / "figure")
    told = judged(study, table) | {"command": command, "protocol": protocol(study, preset) | {"runs": runs.read}}
    write_text(folder / VERDICT, json.dumps(told, indent=2, allow_nan=False) + "\n")
    return summary(told) + f"\nwritten to {folder}"


def perform_all(preset: str, out: Path, *, command: str = "") -> str:
    """Every study that has no verdict under this very protocol yet; the same command goes on where it was stopped."""
    said = []
    for study in STUDIES.values():
        known = _verdict(out / preset / study.name / VERDICT)
        done = known is not None and {**known["protocol"], "runs": None} == {**protocol(study, preset), "runs": None}
        said.append(summary(known) if known and done else perform(study, preset, out, command=command))
    return "\n".join(said)


def judged(study: Study, table: Rows) -> dict[str, Any]:
    """What a study makes of its table, in JSON's types: question, measurement, and a verdict for each claim."""
    claims = []
    for claim in study.claims:
        estimates = claim.estimates(table) if table else []
        numbers = [
            {"of": e.of, "value": e.value, "interval": [e.low, e.high], "n": e.n}
            for e in estimates
            if all(map(math.isfinite, e[1:4]))
        ]
        claims.append(
            {
                "rows": list(claim.rows),
                "claim": claim.says,
                "quantity": claim.rule.quantity,
                "rule": str(claim.rule),
                "verdict": claim.rule.verdict(estimates),
                "estimates": numbers,
            }
        )
    return {"study": study.name, "question": study.question, "measurement": study.measurement, "claims": claims}


def protocol(study: Study, preset: str) -> dict[str, Any]:
    """What the numbers depend on; seeds and n of everything are among the settings."""
    return {"preset": preset, "settings": json.loads(json.dumps(dict(study.presets[preset]))), **conditions()}


def summary(told: dict[str, Any]) -> str:
    """A line per claim."""
    lines = [f"{told['study']}: {told['question']}"]
    for claim in told["claims"]:
        numbers = claim["estimates"]
        first = ""
        if numbers:
            low, high = numbers[0]["interval"]
            more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
            first = f" ({numbers[0]['of']} {numbers[0]['value']:.4g} [{low:.4g}, {high:.4g}]{more})"
        lines.append(f"  {claim['verdict']:<14} {claim['claim']}{first}")
    return "\n".join(lines)


def as_csv(table: Rows) -> str:
    """The table with every column that any row has, in order of appearance."""
    columns = list(dict.fromkeys(name for row in table for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def from_csv(text: str) -> Rows:
    """The table again: what looks like a number is one, and an empty cell was no entry."""
    return [{name: _typed(cell) for name, cell in row.items() if cell} for row in csv.DictReader(io.StringIO(text))]


def _typed(cell: str) -> Any:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return {"True": True, "False": False}.get(cell, cell)


def _verdict(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
