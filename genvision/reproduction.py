"""A row of the leaderboard once more, from the data on."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from genvision.config import load_config
from genvision.config.schema import Config
from genvision.errors import RunError
from genvision.evaluation.record import FILE_NAME, Record, read_record
from genvision.experiment import run as train
from genvision.run_folder import RunFolder
from genvision.training.budget import frozen

CIRCUMSTANCES = ("device", "processes", "threads", "precision")


def reproduce(row: Path, out: Path) -> str:
    """Train, sample and score what a record tells of, in `out`, and say for each score whether it came out again.

    row  a run folder, or one that holds nothing but a result.json: its command is then read
    out  run.dir of the new run, which keeps its name; an interrupted one is gone on with
    Raises RunError where a new value lies outside the interval of the old one, or where a value without an interval is
    another one.
    """
    record = read_record(row / FILE_NAME)
    if not _values(record):
        raise RunError(f"{row / FILE_NAME} has neither a score nor bits/dim that could come out again")
    config = _configuration(row, record, [f"run.dir={out}", f"run.name={record['run']}"])
    again = read_record(train(config, resume="auto", command=record["command"] or "").result)
    told = [_told(name, was, again) for name, was in _values(record).items()]
    changed = [f"{name} {record[name]}, now {again[name]}" for name in CIRCUMSTANCES if record[name] != again[name]]
    lines = [line for line, _ in told] + (["not equal: " + "; ".join(changed)] if changed else [])
    if missed := [line for line, holds in told if not holds]:
        raise RunError(f"{row / FILE_NAME} is not reproduced: {'; '.join(missed + lines[len(told) :])}")
    return "\n".join([*lines, f"reproduced: {len(told)} of {len(told)} values lie within their intervals"])


def _configuration(row: Path, record: Record, where: list[str]) -> Config:
    if RunFolder(row).config.is_file():
        return RunFolder(row).read_config(where)
    command = argparse.ArgumentParser(add_help=False)
    command.add_argument("keys", nargs="*")
    command.add_argument("--config")
    command.add_argument("--resume")
    command.add_argument("--debug", action="store_true")
    words, _ = command.parse_known_intermixed_args(shlex.split(record["command"] or "")[2:])
    if words.resume not in (None, "auto") or not record["command"]:
        raise RunError(f"{row} holds neither a config.yaml nor the whole command of its run; there is nothing to go by")
    config = load_config(words.config, words.keys + where)
    return config if config.train.minutes is None else frozen(config, record["steps"])


def _values(record: Record) -> dict[str, dict[str, Any]]:
    """name -> {"value", and perhaps "interval"} of every score and of bits/dim."""
    bits = record["bits_per_dim"]
    scores = {metric["name"]: metric for metric in (record["metrics"] or {}).values()}
    return scores | ({f"bits/dim ({bits['kind']})": bits} if bits else {})


def _told(name: str, was: dict[str, Any], again: Record) -> tuple[str, bool]:
    """A line on one value, and whether it came out again."""
    found = _values(again).get(name, {}).get("value")
    low, high = was.get("interval") or 2 * [was["value"]]
    holds = found is not None and low <= found <= high
    now = "missing" if found is None else f"{found:.6g}"
    return f"{name} {was['value']:.6g} [{low:.6g}, {high:.6g}], now {now}", holds
