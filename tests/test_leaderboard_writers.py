"""Many processes write records and build leaderboards at once, some are killed: no row is lost, none is half there."""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
import time
from pathlib import Path

import pytest
from test_evaluation_record import scored

from genvision.evaluation.leaderboard import build, collect
from genvision.evaluation.record import write_record

FORK = multiprocessing.get_context("fork")  # a fresh interpreter would spend its time on imports


def write(runs: Path, writer: int, rows: int) -> None:
    """Rows one after another, each acknowledged once it is written."""
    with (runs.parent / f"acknowledged-{writer}").open("w", buffering=1) as acknowledged:
        for k in range(rows):
            name = f"run-{writer}-{k}"
            write_record(scored(50.0 + k, run=name, note="x" * 20_000), runs / name / "result.json")
            acknowledged.write(f"{name}\n")


def read(runs: Path, stop, faults) -> None:
    while not stop.is_set():
        for path in runs.glob("*/result.json"):
            try:
                json.loads(path.read_text())
            except ValueError as error:
                faults.put(f"{path}: {error}")


@pytest.mark.parametrize(("writers", "rows", "killed"), [(12, 40, 4), pytest.param(64, 40, 10, marks=pytest.mark.slow)])
def test_no_acknowledged_row_is_lost_or_doubled_and_none_is_ever_half_written(tmp_path, caplog, writers, rows, killed):
    runs = tmp_path / "runs"
    runs.mkdir()
    stop, faults = FORK.Event(), FORK.Queue()
    reader = FORK.Process(target=read, args=(runs, stop, faults))
    doomed = random.Random(0).sample(range(writers), killed)  # they would write on and on
    crowd = [FORK.Process(target=write, args=(runs, k, 10**6 if k in doomed else rows)) for k in range(writers)]
    for process in (reader, *crowd):
        process.start()
    for k in doomed:
        time.sleep(0.01)
        crowd[k].kill()
    for process in crowd:
        process.join()
    stop.set()
    reader.join()
    assert faults.empty()
    assert [process.exitcode for process in crowd].count(-signal.SIGKILL) == killed
    acknowledged = {line for path in tmp_path.glob("acknowledged-*") for line in path.read_text().splitlines()}
    found = [row["run"] for row in collect(runs)]
    assert len(found) == len(set(found)) and acknowledged <= set(found)
    assert len(found) - len(acknowledged) <= killed  # a killed writer may have written a row it could not acknowledge
    assert not caplog.records  # nothing had to be left out


def test_who_builds_last_shows_every_row(tmp_path):
    runs = tmp_path / "runs"

    def one(k: int) -> None:
        write_record(scored(50.0 + k, run=f"run-{k}"), runs / f"run-{k}" / "result.json")
        build(runs, tmp_path / "out")

    crowd = [FORK.Process(target=one, args=(k,)) for k in range(8)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join()
    assert [process.exitcode for process in crowd] == [0] * len(crowd)
    (ranking,) = json.loads((tmp_path / "out" / "leaderboard.json").read_text())["rankings"]
    assert [row["run"] for row in ranking["rows"]] == [f"run-{k}" for k in range(8)]
    assert all(f"run-{k}" in (tmp_path / "out" / "index.html").read_text() for k in range(8))
