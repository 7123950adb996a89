"""`genvision leaderboard verify`, `reproduce` and `diff`: an edited number is found, a row comes out again."""

from __future__ import annotations

import json
import shutil

import pytest
from runs import fresh_launch, genvision, pictures, train, trained  # noqa: F401

from genvision.evaluation.difference import difference
from genvision.evaluation.record import FILE_NAME, read_record
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


def test_scored_images_that_were_not_kept_are_drawn_again(pictures, tmp_path):
    words = ("family=diffusion", "backbone=mixer", "run.name=row", "score.num_images=6", "sample.num_images=4")
    said = train(pictures, tmp_path, *words, "score.extractor=efficientnet-lite0")
    assert said.code == 0, said.err
    record = read_record(tmp_path / "row" / FILE_NAME)
    said = genvision("leaderboard", "verify", tmp_path / "row")
    assert said.code == 0, said.err
    assert f"metrics.frechet.value {record['metrics']['frechet']['value']}" in said.out.splitlines()


EDITS = {
    "parameters": lambda record: record.update(parameters=record["parameters"] - 1),
    "macs_per_image": lambda record: record.update(macs_per_image=1),
    "config_hash": lambda record: record.update(config_hash="0" * 64),
    "dataset_sha256": lambda record: record.update(dataset_sha256="0" * 64),
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


@pytest.mark.parametrize("with_config", [True, False])
def test_a_row_comes_out_again(scored, tmp_path, with_config):
    row = edited(scored, tmp_path, lambda record: None)
    if not with_config:
        (row / "config.yaml").unlink()
    said = genvision("leaderboard", "reproduce", row, "--out", tmp_path / "again")
    assert said.code == 0, said.err
    again, record = read_record(tmp_path / "again" / "row" / FILE_NAME), read_record(row / FILE_NAME)
    assert again["metrics"] == record["metrics"] and again["bits_per_dim"] == record["bits_per_dim"]
    changed = {field.partition(".")[0] for field, *_ in difference(record, again)}
    assert changed <= {"train_seconds", "sample_seconds", "command", "git", "config_hash"}


def test_a_row_that_does_not_come_out_again_is_an_error(scored, tmp_path):
    row = edited(scored, tmp_path, lambda record: record["metrics"]["frechet"].update(value=1.0, interval=[0.5, 1.5]))
    said = genvision("leaderboard", "reproduce", row, "--out", tmp_path / "again")
    assert said.code == 4 and "is not reproduced: FD-EffNetLite0 1 [0.5, 1.5], now " in said.last_error


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
