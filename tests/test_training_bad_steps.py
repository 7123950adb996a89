"""Steps whose numbers are not finite: who is named, what is passed over, what that leaves, and when it ends."""

from __future__ import annotations

import logging

import pytest
import torch
from runs import train as train_run
from runs import write_pictures
from test_training_toy import ToyBatches, ToyFamily, accelerator, fingerprint, toy_config, toy_state  # noqa: F401

from genvision.data import Batches, ImageSet
from genvision.errors import NonFiniteError
from genvision.evaluation.record import read_record
from genvision.spec import Draw
from genvision.training import checkpoint
from genvision.training.loop import train
from genvision.training.optimizer import learning_rate


class Poisoned(ToyFamily):
    """Its loss is not a number at some steps, for the image of the last slot of a window."""

    def __init__(self, bad: set[int]) -> None:
        super().__init__()
        self.bad = bad

    def loss(self, batch, draw):
        self.poison = draw.step if draw.step in self.bad else None
        return super().loss(batch, draw)


def poisoned(config, accelerator, bad):
    state = toy_state(config, accelerator)
    state.family.__class__, state.family.bad = Poisoned, set(bad)
    return state


def parts(state):
    """Everything that training changes but the counters."""
    moments = [value.clone() for entry in state.optimizer.state.values() for value in entry.values()]
    return [v.clone() for m in (state.family, state.ema.module) for v in m.state_dict().values()] + moments


def test_one_bad_step_of_a_hundred_changes_its_counters_alone(accelerator, caplog):
    config = toy_config(steps=100, micro_batch_size=3, max_bad_steps=10)
    state, reports = poisoned(config, accelerator, {50}), []
    with caplog.at_level(logging.WARNING):
        for report in train(state, ToyBatches(), config, accelerator):
            reports.append(report)
            if report.step == 50:
                before, updates = parts(state), state.ema.updates
            if report.step == 51:
                assert all(map(torch.equal, before, parts(state))) and state.ema.updates == updates
    assert [report.step for report in reports] == list(range(1, 101))  # the step is counted, and not made again
    assert [report.images_seen for report in reports] == list(range(8, 801, 8))
    assert [report.lr for report in reports] == [learning_rate(step, 100, config.train) for step in range(100)]
    assert [report.skipped_steps for report in reports] == [0] * 50 + [1] * 50
    assert state.ema.updates == 99 and {int(e["step"]) for e in state.optimizer.state.values()} == {99}
    assert "skipped_steps" not in reports[49].record() and reports[50].record()["skipped_steps"] == 1
    assert [record.message for record in caplog.records] == [
        "step 51: loss is nan, error is nan, grad_norm is nan; images: toy 50.2, toy 50.5, toy 50.7; "
        "passed over, 1 so far"
    ]


def test_without_a_bad_step_the_option_changes_no_bit(accelerator):
    prints = set()
    for allowed in (0, 10):
        config = toy_config(max_bad_steps=allowed)
        state = poisoned(config, accelerator, set())
        list(train(state, ToyBatches(), config, accelerator))
        prints.add(fingerprint(state))
    assert len(prints) == 1


def test_the_eleventh_bad_step_in_a_row_ends_it(accelerator):
    config = toy_config(steps=40, max_bad_steps=10)
    state = poisoned(config, accelerator, {2, *range(5, 15), *range(20, 31)})
    with pytest.raises(NonFiniteError, match="^step 31: .*; the 10 steps before were passed over too; stopped before"):
        list(train(state, ToyBatches(), config, accelerator))
    assert (state.step, state.skipped_steps, state.skipped_in_a_row) == (30, 21, 10)
    assert torch.cat([p.flatten() for p in state.family.parameters()]).isfinite().all()


@pytest.mark.parametrize("stop", [6, 7, 8, 9])
def test_a_resumed_run_has_counted_too(accelerator, tmp_path, stop):
    """Stopped before, in and after a row of bad steps: it ends where the straight run does, on the same bits."""
    config = toy_config(steps=12, max_bad_steps=3)
    straight = poisoned(config, accelerator, {6, 7, 8})
    list(train(straight, ToyBatches(), config, accelerator))
    first, second = (poisoned(config, accelerator, {6, 7, 8}) for _ in range(2))
    for report in train(first, ToyBatches(), config, accelerator):
        if report.step == stop:
            break
    checkpoint.load(second, checkpoint.save(first, tmp_path, "hash", keep=1), "hash")
    assert second.skipped_in_a_row == first.skipped_in_a_row == max(0, min(stop, 9) - 6)
    list(train(second, ToyBatches(), config, accelerator))
    assert fingerprint(second) == fingerprint(straight) and second.skipped_steps == 3
    tight, again = toy_config(steps=12, max_bad_steps=2), poisoned(config, accelerator, {6, 7, 8})
    checkpoint.load(again, tmp_path / f"step-{stop:09d}", "hash")
    if stop < 9:
        with pytest.raises(NonFiniteError, match="^step 9: "):
            list(train(again, ToyBatches(), tight, accelerator))


def test_fp16_passes_a_step_over_and_goes_on(accelerator):
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    accelerator.native_amp, accelerator.state._mixed_precision = True, "fp16"
    config = toy_config(max_bad_steps=1)
    state = poisoned(config, accelerator, {4})
    state.model.forward = type(state.family).forward.__get__(state.family)  # the CPU has no fp16 to cast to
    reports = list(train(state, ToyBatches(), config, accelerator))
    assert len(reports) == 12 and state.skipped_steps == 1 and state.ema.updates == 11


def test_images_are_named_by_file_or_number():
    images = torch.zeros(5, 1, 4, 4, dtype=torch.uint8)
    usual = {"batch_size": 5, "seed": 3, "flip": False, "crop_padding": 0, "device": "cpu"}
    draw = Draw(0, 2, torch.tensor([4, 0]))
    for files in ((), ("a.png", "b.png", "c.png", "d.png", "e.png")):
        batches = Batches(ImageSet("toy", "train", images, None, (), files), **usual)
        ids = batches.indices(draw).tolist()
        assert batches.named(draw) == [files[k] if files else str(k) for k in ids] and len(set(ids)) == 2


def test_a_run_names_the_file_and_records_what_it_passed_over(tmp_path, monkeypatch):
    pictures, runs = write_pictures(tmp_path / "pictures", n=16), tmp_path / "runs"
    real = Batches.at

    def at(self, draw):
        batch = real(self, draw)
        return batch._replace(images=batch.images * float("nan")) if draw.step == 2 else batch

    monkeypatch.setattr(Batches, "at", at)
    plain = ("train.steps=4", "data.validation_fraction=0", "log.every_steps=1", "train.save_every_steps=1")
    for more in (("run.name=x",), ("run.name=x", "--resume", "auto")):  # it is the same step again
        said = train_run(pictures, runs, *plain, *more)
        assert said.code == 5 and "images: " in said.last_error and ".png" in said.last_error
    said = train_run(pictures, runs, *plain, *more, "train.max_bad_steps=1")
    assert said.code == 0, said.err
    record = read_record(runs / "x" / "result.json")
    assert record["skipped_steps"] == 1 and "1 of 4 steps were not finite and were passed over" in record["note"]
    lines = (runs / "x" / "metrics.jsonl").read_text().splitlines()
    assert ['"loss": null' in line for line in lines] == [False, False, True, False]
    assert ['"skipped_steps": 1' in line for line in lines] == [False, False, True, True]
