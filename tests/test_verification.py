"""`genvision leaderboard verify`, `reproduce`, `resample`, `diff`: an edited number is found, a row comes out again."""

from __future__ import annotations

import json
import shutil

import pytest
from runs import fresh_launch, genvision, pictures, train, trained  # noqa: F401

from genvision.errors import RunError
from genvision.evaluation.difference import difference
from genvision.evaluation.record import FILE_NAME, read_record
from genvision.fingerprint import weights_sha256
from genvision.pipelines import load
from genvision.reproduction import _configuration
from genvision.run_folder import RunFolder
from genvision.verification import Check


@pytest.fixture(scope="module")
def scored(tmp_path_factory, pictures):
    """A finished run with a score: ten images against the twelve of its test split."""
    runs = tmp_path_factory.mktemp("scored")
    words = ("family=vae", "backbone=mixer", "run.name=row", "score.num_images=6", "score.extractor=efficientnet-lite0")
    said = train(pictures, runs, *words)
    assert said.code == 0, said.err
    return runs / "row"


def edited(run, to, change):
    """A copy of a run whose record was changed by hand."""
    copy = shutil.copytree(run, to / "edited")
    record = json.loads((copy / FILE_NAME).read_text())
    change(record)
    (copy / FILE_NAME).write_text(json.dumps(record))
    return copy


def test_an_honest_record_is_verified_field_by_field(scored):
    said = genvision("leaderboard", "verify", scored)
    record = read_record(scored / FILE_NAME)
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert f"parameters {record['parameters']}" in lines and f"macs_per_image {record['macs_per_image']}" in lines
    assert f"metrics.frechet.value {record['metrics']['frechet']['value']}" in lines
    assert f"bits_per_dim.value {record['bits_per_dim']['value']}" in lines
    assert lines[-1] == f"verified: all {len(lines) - 1} fields"


def test_a_record_names_the_weights_that_drew_its_images(scored):
    named = read_record(scored / FILE_NAME)["weights_sha256"]
    (newest,) = RunFolder(scored).checkpoints.glob("step-*6")
    averaged, before = (load(folder).generator for folder in (newest, newest.with_name("step-000000003")))
    assert weights_sha256(averaged) == weights_sha256(load(scored).generator) == named != weights_sha256(before)


def test_scored_images_that_were_not_kept_and_other_steps_are_drawn_again(pictures, tmp_path):
    words = ("family=diffusion", "backbone=mixer", "run.name=row", "score.num_images=6", "sample.num_images=4")
    said = train(pictures, tmp_path, *words, "score.extractor=efficientnet-lite0")
    assert said.code == 0, said.err
    record, run = read_record(tmp_path / "row" / FILE_NAME), tmp_path / "row"
    assert genvision("leaderboard", "resample", run, "--steps", "3,2").code == 0  # three are the run's own
    (path,) = (run / "scores").iterdir()
    again = read_record(path)
    assert (record["network_evaluations_per_image"], again["network_evaluations_per_image"]) == (3, 2)
    said = genvision("leaderboard", "verify", run)
    assert said.code == 0, said.err
    value, other = (each["metrics"]["frechet"]["value"] for each in (record, again))
    assert f"metrics.frechet.value {value}" in said.out.splitlines() and value != other
    assert f"scores/{path.name}: metrics.frechet.value {other}" in said.out.splitlines()


EDITS = {
    "parameters": lambda record: record.update(parameters=record["parameters"] - 1),
    "macs_per_image": lambda record: record.update(macs_per_image=1),
    "network_evaluations_per_image": lambda record: record.update(network_evaluations_per_image=2),
    "images_seen": lambda record: record.update(images_seen=record["images_seen"] + 8),
    "steps": lambda record: record.update(steps=5),
    "learning_rate": lambda record: record.update(learning_rate=1e-2),
    "seed": lambda record: record.update(seed=1),
    "backbone": lambda record: record.update(backbone="vit"),
    "cell_hash": lambda record: record.update(cell_hash="0" * 64),
    "validation.validation_loss": lambda record: record["validation"].update(validation_loss=1.0),
    "config_hash": lambda record: record.update(config_hash="0" * 64),
    "dataset_sha256": lambda record: record.update(dataset_sha256="0" * 64),
    "weights_sha256": lambda record: record.update(weights_sha256="0" * 64),
    "bits_per_dim.value": lambda record: record["bits_per_dim"].update(value=record["bits_per_dim"]["value"] - 1e-4),
    "metrics.frechet.value": lambda record: record["metrics"]["frechet"].update(value=1.0),
    "metrics.kid.std": lambda record: record["metrics"]["kid"].update(std=0.5),
    "metrics.frechet.interval": lambda record: record["metrics"]["frechet"].update(interval=[1.0, 2.0]),
}


def test_a_record_of_before_later_scores_existed_is_verified_in_what_it_says(scored, tmp_path):
    def aged(record):
        record["metrics"].pop("coverage")
        record["protocol"].pop("uncertainty")

    said = genvision("leaderboard", "verify", edited(scored, tmp_path, aged))
    assert said.code == 0, said.err
    assert "metrics.precision.value" in said.out and "coverage" not in said.out


def test_a_recomputed_interval_may_differ_in_its_last_digits_alone():
    for found, holds in (([1.0, 2.0 + 1e-9], True), ([1.0, 2.1], False), ([1.0], False), (None, False)):
        assert Check("metrics.kid.interval", [1.0, 2.0], found).holds is holds


@pytest.mark.parametrize("field", EDITS)
def test_an_edited_number_is_found(scored, tmp_path, field):
    said = genvision("leaderboard", "verify", edited(scored, tmp_path, EDITS[field]))
    assert (
        said.code == 4
        and f"{FILE_NAME}: {field} is " in said.last_error
        and "comes out of the files" in said.last_error
    )


def test_an_edited_protocol_does_not_even_read(scored, tmp_path):
    copy = edited(scored, tmp_path, lambda record: record["protocol"].update(num_images=5))
    said = genvision("leaderboard", "verify", copy)
    assert said.code == 3 and "protocol_hash does not fit" in said.last_error


def test_other_samples_than_those_that_were_scored_are_found(scored, tmp_path, trained):
    copy = edited(scored, tmp_path, lambda record: None)
    shutil.copy(trained("diffusion").samples / "final.npz", copy / "samples" / "final.npz")
    said = genvision("leaderboard", "verify", copy)
    assert said.code == 4 and "metrics.frechet.value is " in said.last_error


def test_another_sampling_seed_gives_the_score_of_a_run_that_had_it(scored, tmp_path, pictures):
    run = edited(scored, tmp_path, lambda record: None)
    said = genvision("leaderboard", "resample", run, "--seeds", "0,5")
    assert said.code == 0, said.err
    (path,) = (run / "scores").iterdir()
    record, again = read_record(run / FILE_NAME), read_record(path)
    assert again["protocol"]["sampling"] == record["protocol"]["sampling"] | {"seed": 5}
    assert path.stem == again["protocol_hash"] != record["protocol_hash"]
    words = (
        "family=vae",
        "backbone=mixer",
        "run.name=five",
        "score.num_images=6",
        "score.extractor=efficientnet-lite0",
    )
    assert train(pictures, tmp_path, *words, "sample.seed=5").code == 0
    five = read_record(tmp_path / "five" / FILE_NAME)
    assert again["metrics"] == five["metrics"] != record["metrics"] and again["protocol"] == five["protocol"]
    first, second = (each["metrics"]["frechet"]["value"] for each in (record, again))
    lines = [f"seed 0: FD-EffNetLite0 {first:.4f}", f"seed 5: FD-EffNetLite0 {second:.4f}"]
    assert said.out.splitlines()[:2] == lines
    assert said.out.splitlines()[2].startswith(
        f"over 2 sampling seeds: mean FD-EffNetLite0 {(first + second) / 2:.4f} ["
    )


def test_a_kept_draw_is_made_once_and_an_edited_one_is_found(scored, tmp_path):
    run = edited(scored, tmp_path, lambda record: None)
    said = genvision("leaderboard", "resample", run, "--seeds", "1")
    (path,) = (run / "scores").iterdir()
    before = path.stat().st_mtime_ns
    assert genvision("leaderboard", "resample", run, "--seeds", "1").out == said.out
    assert path.stat().st_mtime_ns == before
    record = json.loads(path.read_text())
    record["metrics"]["frechet"]["value"] *= 1.01
    path.write_text(json.dumps(record))
    said = genvision("leaderboard", "verify", run)
    assert said.code == 4 and f"scores/{path.name}: metrics.frechet.value is " in said.last_error
    path.write_text("{")
    said = genvision("leaderboard", "verify", run)
    assert said.code == 3 and path.name in said.last_error


def test_what_cannot_be_drawn_again_is_said_in_one_line(scored, trained):
    unscored = trained("vae").path
    for code, said, *words in (
        (2, "needs --seeds or --steps", "resample", scored),
        (2, "steps means nothing to family=vae", "resample", scored, "--steps", "5"),
        (2, "'x' is not a whole number", "resample", scored, "--seeds", "1,x"),
        (
            2,
            "--seeds and --steps are of genvision leaderboard resample, not of verify",
            "verify",
            scored,
            "--seeds",
            "1",
        ),
        (4, "has no score", "resample", unscored, "--seeds", "1"),
    ):
        found = genvision("leaderboard", *words)
        assert found.code == code and said in found.last_error


@pytest.mark.parametrize("with_config", [True, False])
def test_a_row_comes_out_again(scored, tmp_path, with_config):
    row = edited(scored, tmp_path, lambda record: None)
    if not with_config:
        (row / "config.yaml").unlink()
    said = genvision("leaderboard", "reproduce", row, "--out", tmp_path / "again")
    assert said.code == 0, said.err
    again, record = read_record(tmp_path / "again" / "row" / FILE_NAME), read_record(row / FILE_NAME)
    told = len(record["metrics"]) + 1
    assert said.out.splitlines()[-1] == f"reproduced: {told} of {told} values lie within their intervals"
    assert again["metrics"] == record["metrics"] and again["bits_per_dim"] == record["bits_per_dim"]
    changed = {field.partition(".")[0] for field, *_ in difference(record, again)}
    assert changed <= {"train_seconds", "sample_seconds", "command", "git", "config_hash"}


@pytest.mark.parametrize("option", ["--config=recipe.yaml", "--conf recipe.yaml", "--debug --config recipe.yaml"])
def test_a_command_is_read_as_it_was_given(tmp_path, monkeypatch, option):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text("family: vae\nbackbone: mixer\ntrain: {minutes: 2, warmup_steps: 20}\n")
    record = {"command": f"genvision train data.height=8 {option} data.width=12", "steps": 7}
    config = _configuration(tmp_path, record, ["run.name=again"])
    found = (config.family.name, config.backbone, config.data.height, config.data.width, config.run.name)
    assert found == ("vae", "mixer", 8, 12, "again")
    assert (config.train.minutes, config.train.steps) == (
        None,
        7,
    )  # a budget in minutes is as many steps as it was then


@pytest.mark.parametrize(
    "command", [None, "genvision train --resume runs/other", "genvision train --resume=runs/other"]
)
def test_a_command_that_is_not_the_whole_one_is_nothing_to_go_by(tmp_path, command):
    with pytest.raises(RunError, match="neither a config.yaml nor the whole command"):
        _configuration(tmp_path, {"command": command, "steps": 7}, [])


def test_a_row_that_does_not_come_out_again_is_an_error(scored, tmp_path):
    row = edited(scored, tmp_path, lambda record: record["metrics"]["frechet"].update(value=1.0, interval=[0.5, 1.5]))
    said = genvision("leaderboard", "reproduce", row, "--out", tmp_path / "again")
    assert said.code == 4 and "is not reproduced: FD-EffNetLite0 1 [0.5, 1.5], now " in said.last_error


def test_a_row_without_a_value_cannot_be_reproduced(scored, tmp_path):
    row = edited(scored, tmp_path, lambda record: record.update(metrics=None, bits_per_dim=None))
    said = genvision("leaderboard", "reproduce", row, "--out", tmp_path / "again")
    assert said.code == 4 and "has neither a score nor bits/dim" in said.error and not (tmp_path / "again").exists()


def test_diff_names_what_differs_and_nothing_else(scored, tmp_path):
    other = edited(scored, tmp_path, lambda record: (record.update(seed=7, note=None), record["metrics"].pop("kid")))
    said = genvision("leaderboard", "diff", scored, other)
    record = read_record(scored / FILE_NAME)
    kid = [f"metrics.kid.{part}: {json.dumps(value)} | nothing" for part, value in record["metrics"]["kid"].items()]
    assert said.code == 0 and said.out.splitlines() == ["seed: 0 | 7", *kid]
    assert genvision("leaderboard", "diff", scored, scored).out == "the records are equal\n"


def test_the_number_of_runs_is_checked(scored):
    for words in (["diff", scored], ["verify", scored, scored]):
        said = genvision("leaderboard", *words)
        assert said.code == 2 and f"genvision leaderboard {words[0]} takes" in said.error
