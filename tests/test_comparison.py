"""`genvision compare`: a grid is read, trained, resumed; failed cells stay; tuning is shown."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from runs import TINY, fresh_launch, genvision, pictures  # noqa: F401

from genvision import comparison
from genvision.config import CONFIG_DIR, load_config
from genvision.config.grid import Axes, cells, read_grid
from genvision.config.typed import field_names
from genvision.evaluation.numbers import MISSING
from genvision.evaluation.record import FILE_NAME, read_record
from genvision.evaluation.tuning import tuning_table
from genvision.run_folder import RunFolder

GRID = """
shared: [size=tiny]
families:
  vae: [train.steps=3, train.batch_size=8]
  diffusion: [train.steps=5]
backbones: [convnet, mixer]
seeds: [0, 4]
fractions: [0.25, 1]
learning_rates: [1e-3, 0.004]
"""


def write_grid(folder, text):
    path = folder / "grid.yaml"
    path.write_text(text)
    return path


def test_a_grid_is_every_combination_once(tmp_path):
    found = cells(read_grid(str(write_grid(tmp_path, GRID))), tmp_path / "runs", ["log.every_steps=7"])
    assert len(found) == len({cell.name for cell in found}) == 2 * 2 * 2 * 2 * 2
    assert [cell.name for cell in found[:3]] == [
        "vae-convnet-data0.25-lr0.001-seed0",
        "vae-convnet-data0.25-lr0.001-seed4",
        "vae-convnet-data0.25-lr0.004-seed0",
    ]
    assert found[-1].words == [
        *("size=tiny", "family=diffusion", "backbone=mixer", "train.steps=5", "data.fraction=1.0", "train.seed=4"),
        *("train.learning_rate=0.004", "log.every_steps=7", f"run.dir={tmp_path / 'runs'}"),
        "run.name=diffusion-mixer-data1-lr0.004-seed4",
    ]


def test_the_example_of_the_page_is_a_grid(tmp_path, monkeypatch, pictures):
    page = Path(__file__).parents[1] / "docs" / "COMPARE.md"
    (example,) = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(pictures)
    found = cells(read_grid(str(write_grid(tmp_path, example))), tmp_path)
    assert len(found) == 2 * 3 * 3 * 2 * 2 and "vae-vit-data0.1-lr0.002-seed1" in {cell.name for cell in found}
    assert set(re.findall(r"^(\w+):", example, re.MULTILINE)) == {*field_names(Axes), "families"}


def test_numbers_of_a_grid_are_passed_on_as_they_are(tmp_path):
    text = "families: {vae: []}\nbackbones: [vit]\nfractions: [0.3333333333]\nlearning_rates: [1.23456789e-4]\n"
    (found,) = cells(read_grid(str(write_grid(tmp_path, text))), tmp_path)
    train = load_config(None, found.words)
    assert (train.data.fraction, train.train.learning_rate) == (0.3333333333, 1.23456789e-4)


def test_an_axis_of_one_value_names_no_run(tmp_path):
    found = cells(read_grid(str(write_grid(tmp_path, "families: {vae: []}"))), tmp_path)
    assert [cell.name for cell in found] == ["vae-convnet", "vae-vit", "vae-mixer"]


@pytest.mark.parametrize("name", [path.stem for path in (CONFIG_DIR / "compare").glob("*.yaml")])
def test_every_shipped_grid_can_be(name, tmp_path):
    assert cells(read_grid(name), tmp_path)


def test_a_name_that_is_no_grid_lists_those_that_are(tmp_path):
    said = genvision("compare", "ten", "--out", tmp_path / "runs")
    assert (
        said.code == 2 and said.error == "command line: no comparison ten; write FILE.yaml, or one of nine, nine-small"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("backbones: [vit]", "grid.yaml: no family; write `families:` with words for some of vae"),
        ("families: {vae: []}\nseed: [1]", "grid.yaml:2: unknown key seed; did you mean seeds?"),
        ("families: {vea: []}", "grid.yaml:1: unknown key families.vea; did you mean families.vae?"),
        ("families: {vae: []}\nseeds: [one]", "grid.yaml:2: seeds: expected a list of whole numbers, got [one]"),
        ("families: {vae: [train.setps=3]}", "command line: unknown key train.setps; did you mean train.steps?"),
        ("families: {vae: []}\nbackbones: [vti]", "backbone=vti is unknown (did you mean vit?)"),
        (
            "families: {vae: []}\nfractions: [2]",
            "command line: data.fraction: must be more than 0 and at most 1, not 2",
        ),
    ],
)
def test_a_grid_that_makes_no_sense_is_one_line_and_trains_nothing(tmp_path, text, message):
    said = genvision("compare", write_grid(tmp_path, text), "--out", tmp_path / "runs")
    assert said.code == 2 and message in said.error.replace(str(tmp_path) + "/", "")
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def compared(tmp_path_factory, pictures):
    """A grid of two cells, one of which diverges."""
    folder = tmp_path_factory.mktemp("compared")
    words = [f"data=folder:{pictures}", *(word for word in TINY if "steps" not in word), "log.grid_every_steps=0"]
    text = f"shared: {words}\nfamilies: {{vae: [train.steps=2]}}\n"
    grid = write_grid(folder, text.replace("'", "") + "backbones: [vit]\nlearning_rates: [1e-3, 1e9]\n")
    return grid, folder / "runs", genvision("compare", grid, "--out", folder / "runs")


def test_a_comparison_trains_its_cells_and_keeps_those_that_fail(compared):
    _, runs, said = compared
    assert said.code == 0, said.err
    states = {path.parent.name: read_record(path)["status"] for path in runs.glob(f"*/{FILE_NAME}")}
    assert states == {"vae-vit-lr0.001": "finished", "vae-vit-lr1e09": "diverged"}
    assert said.out.splitlines()[-1] == str(runs / "leaderboard" / "index.html")
    assert (runs / "leaderboard" / "tuning.md").read_text() in said.out


def test_a_finished_cell_is_not_started_again(compared, monkeypatch):
    grid, runs, _ = compared
    path = runs / "vae-vit-lr0.001" / FILE_NAME
    before, started = path.stat().st_mtime_ns, []
    start = comparison._Children.start
    monkeypatch.setattr(comparison._Children, "start", lambda *given: started.append(given[1]) or start(*given))
    assert genvision("compare", grid, "--out", runs).code == 0
    assert path.stat().st_mtime_ns == before
    (command,) = started
    assert "run.name=vae-vit-lr1e09" in command


def test_a_cell_that_cannot_start_is_recorded_with_its_reason(tmp_path):
    text = "families: {vae: [train.steps=2, data=folder:none, data.height=8, data.width=8]}\nbackbones: [convnet]\n"
    grid = write_grid(tmp_path, text)
    said = genvision("compare", grid, "--out", tmp_path / "runs", "backbone=vit")
    assert said.code == 0, said.err
    record = read_record(tmp_path / "runs" / "vae-convnet" / FILE_NAME)
    assert (
        record["status"] == "failed"
        and record["reason"].startswith("genvision: error: ")
        and "none" in record["reason"]
    )


def test_a_cell_that_is_killed_says_by_what(tmp_path, monkeypatch):
    dies = "import os; print('step 10/400 |##', file=__import__('sys').stderr, flush=True); os.kill(os.getpid(), 9)"
    start = comparison._Children.start
    monkeypatch.setattr(
        comparison._Children,
        "start",
        lambda self, _, environment: start(self, [sys.executable, "-c", dies], environment),
    )
    grid = write_grid(tmp_path, "families: {vae: [size=tiny]}\nbackbones: [vit]\n")
    said = genvision("compare", grid, "--out", tmp_path / "runs")
    assert said.code == 0 and "step 10/400 |##" in said.err  # its progress is passed on
    assert read_record(tmp_path / "runs" / "vae-vit" / FILE_NAME)["reason"] == "killed by SIGKILL"


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_ends_the_cells_with_a_checkpoint_and_the_same_command_goes_on(tmp_path, pictures, number):
    words = [f"data=folder:{pictures}", *(word for word in TINY if "steps" not in word), "log.grid_every_steps=0"]
    words += ["train.steps=100000", "train.save_every_steps=100000", "log.every_steps=1", "sample.steps=3"]
    text = f"shared: {words}\nfamilies: {{vae: []}}\nbackbones: [vit, mixer]\n".replace("'", "")
    command = [*(sys.executable, "-m", "genvision.cli", "compare"), str(write_grid(tmp_path, text))]
    cell = RunFolder(tmp_path / "runs" / "vae-vit")
    with subprocess.Popen([*command, "--out", tmp_path / "runs"], stderr=subprocess.PIPE) as launched:
        deadline = time.monotonic() + 120
        while not (cell.metrics.is_file() and cell.metrics.stat().st_size > 500):
            assert launched.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        children = psutil.Process(launched.pid).children(recursive=True)
        launched.send_signal(number)
        _, said = launched.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=0)
    assert launched.returncode == 143 and not alive
    name = signal.Signals(number).name
    assert said.decode().endswith(f"genvision: error: interrupted by {name}; the same command goes on\n")
    told = json.loads((cell.path / "status.json").read_text())
    assert told["state"] == "preempted" and told["reason"] == "interrupted by SIGTERM"
    assert [path.name for path in cell.checkpoints.iterdir()] == [f"step-{told['step']:09d}"]
    assert not (tmp_path / "runs" / "vae-mixer").exists()  # no further cell has been started
    said = genvision(*command[3:], "--out", tmp_path / "runs", f"train.steps={told['step'] + 2}")
    assert said.code == 0 and f"step {told['step']}, " in said.err  # where its progress begins
    assert read_record(cell.result)["status"] == "finished"


@pytest.mark.parametrize(("asked", "together"), [([], False), (["--at-once", "2"], True)])
def test_cells_share_a_device_where_that_is_asked_for(tmp_path, monkeypatch, asked, together):
    meeting, met = threading.Barrier(2), []

    def run(cell, free, _children):
        device = free.get()
        try:
            met.append(meeting.wait(timeout=1) >= 0)
        except threading.BrokenBarrierError:
            met.append(False)
        free.put(device)
        return "was not run"

    monkeypatch.setattr(comparison, "_run", run)
    grid = write_grid(tmp_path, "families: {vae: [size=tiny]}\nbackbones: [vit, mixer]\n")
    assert genvision("compare", grid, "--out", tmp_path / "runs", *asked).code == 0
    assert met == [together, together]


def record(family, backbone, rate, loss, score, status="finished"):
    metrics = None if score is None else {"frechet": {"value": score}}
    return {
        **{"family": family, "backbone": backbone, "learning_rate": rate, "seed": 1, "data_fraction": 0.5},
        **{"status": status, "validation": {"validation_loss": loss}, "metrics": metrics},
    }


def test_the_best_rate_is_chosen_by_the_held_out_loss():
    table = tuning_table(
        [
            record("vae", "vit", 1e-3, 3.5, 50.0),
            record("vae", "vit", 2e-3, 3.25, 80.0),
            record("vae", "vit", 4e-3, 3.75, 90.0),
            record("vae", "vit", 8e-3, None, None, status="diverged"),
            record("vae", "mixer", 1e-3, None, None, status="diverged"),
        ]
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    assert rows[2] == ["vae", "mixer", "0.5", "1", "0 of 1", *[MISSING] * 4]
    assert rows[3] == ["vae", "vit", "0.5", "1", "3 of 4", "0.002", "3.250", "80.00", "80.00"]
    assert len(rows) == 4
