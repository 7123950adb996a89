"""metrics.jsonl, TensorBoard and the progress bar."""

from __future__ import annotations

import errno
import json
import re
import sys

import pytest
from test_training_toy import ToyBatches, accelerator, toy_config, toy_state  # noqa: F401

from genvision.errors import ConfigError, StorageError
from genvision.training.checkpoint import latest, load, save
from genvision.training.loop import train
from genvision.training.metrics import MetricsLog
from genvision.training.progress import Progress
from genvision.training.report import StepReport

REPORT = StepReport(7, 56, 0.1, {"loss": 0.123456, "error": 2.0}, 0.5, 40.0, 0.2)


def lines(path, timings=True):
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in r.items() if timings or k not in ("seconds", "images_per_second")} for r in records]


def test_a_line_is_strict_json(tmp_path):
    path = tmp_path / "run" / "metrics.jsonl"
    with MetricsLog(path) as log:
        log.write(REPORT.record())
        log.write({"step": 8, "loss": float("nan"), "bits_per_dim": float("inf"), "score": 1e-300})
        assert path.read_text() == (
            '{"step": 7, "images_seen": 56, "loss": 0.123456, "error": 2.0, "lr": 0.1, "grad_norm": 0.5, '
            '"images_per_second": 40.0, "seconds": 0.2}\n'
            '{"step": 8, "loss": null, "bits_per_dim": null, "score": 1e-300}\n'
        )


def test_a_resumed_file_equals_an_uninterrupted_one(accelerator, tmp_path):
    """Interrupted at step 9 with the checkpoint at 5, and the last line cut short by the crash."""
    config = toy_config()
    state = toy_state(config, accelerator)
    with MetricsLog(tmp_path / "straight.jsonl") as log:
        for report in train(state, ToyBatches(), config, accelerator):
            log.write(report.record())
    state = toy_state(config, accelerator)
    with MetricsLog(tmp_path / "resumed.jsonl") as log:
        for report in train(state, ToyBatches(), config, accelerator):
            log.write(report.record())
            if state.step == 5:
                save(state, tmp_path, "hash", keep=1)
            if state.step == 9:
                break
    with (tmp_path / "resumed.jsonl").open("a") as file:
        file.write('{"step": 3, "los')
    state = toy_state(config, accelerator)
    load(state, latest(tmp_path), "hash")
    with MetricsLog(tmp_path / "resumed.jsonl", step=state.step) as log:
        for report in train(state, ToyBatches(), config, accelerator):
            log.write(report.record())
    straight, resumed = (lines(tmp_path / f"{name}.jsonl", timings=False) for name in ("straight", "resumed"))
    assert resumed == straight and [record["step"] for record in resumed] == list(range(1, 13))


def test_a_new_run_drops_what_an_attempt_left(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0, "val": 1}\n{"step": 1}\n3\nnull\n{"loss": 1}\n')
    with MetricsLog(path):
        assert lines(path) == [{"step": 0, "val": 1}]


def test_tensorboard_on_request(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    with MetricsLog(tmp_path / "metrics.jsonl", tensorboard=True) as log:
        log.write(REPORT.record())
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert "step" not in board.Tags()["scalars"]
    assert [(event.step, event.value) for event in board.Scalars("error")] == [(7, 2.0)]


def test_a_missing_tensorboard_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"^log.tensorboard: .* pip install 'genvision\[tensorboard\]'"):
        MetricsLog(tmp_path / "metrics.jsonl", tensorboard=True)


def test_a_full_disk_is_a_storage_error(tmp_path, monkeypatch):
    class Full:
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    with MetricsLog(tmp_path / "metrics.jsonl") as log:
        log._file.close()
        monkeypatch.setattr(log, "_file", Full())
        with pytest.raises(StorageError, match=r"cannot write .*metrics.jsonl: No space left .* MiB free"):
            log.write({"step": 1})
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*metrics.jsonl"):
        MetricsLog(tmp_path / "file" / "metrics.jsonl")


def test_the_bar_shows_step_loss_speed_and_time_left(capsys):
    with Progress(None, start=5) as bar:
        bar.update(REPORT, None)
        bar._bar.refresh()
        unmeasured = capsys.readouterr().err
        bar.update(REPORT, 12)
        bar._bar.refresh()
    out, err = capsys.readouterr()
    assert re.search(r"step 7, 00:\d\d gone, loss 0\.1235, 40 images/s *$", unmeasured)
    assert out == "" and re.search(r"step 7/12 \|.+\| 00:\d\d gone, \d\d:\d\d left, loss 0\.1235, 40 images/s\s*$", err)


def test_only_one_process_shows_a_bar(capsys):
    with Progress(12, enabled=False) as bar:
        bar.update(REPORT, 12)
    assert capsys.readouterr() == ("", "")
