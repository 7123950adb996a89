"""Odd files in a folder: each of the corpus has its outcome, and what may be left out is counted and named."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from corpus import ODD, SIDE, png, write_corpus
from runs import genvision, one_run, train, write_pictures

from genvision.config.schema import DataConfig
from genvision.data import inspect, load, parse_reference
from genvision.errors import DataError
from genvision.evaluation.record import read_record

REFUSED = [os.fsdecode(name) for name, odd in ODD.items() if odd.refused]


def folder(path: Path, **changes) -> DataConfig:
    usual = {"download": False, "labels": False, "flip": False, "crop_padding": 0, "max_bad_fraction": 0.0}
    plain = DataConfig("folder", str(path), **usual, validation_fraction=0.0, fraction=1.0)
    return replace(plain, height=SIDE, width=SIDE, channels=3, **changes)


@pytest.fixture(scope="module")
def corpus():
    place = Path(tempfile.mkdtemp())  # not in pytest's folder, which is closed to other users
    place.chmod(0o755)
    write_corpus(place / "odd")
    yield place / "odd"
    shutil.rmtree(place)


@contextlib.contextmanager
def another_user():
    """No mode stops root."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_every_odd_file_has_its_outcome(corpus):
    assert len(ODD) == 24 and len(REFUSED) == 8
    with another_user():
        found = load(folder(corpus, max_bad_fraction=0.5), "all")
    given = dict(zip(found.files, found.images.permute(0, 2, 3, 1).numpy(), strict=True))
    refused = {fault.partition(" (")[0]: fault for fault in found.left_out}
    seen = 0
    for name, odd in ODD.items():
        shown = r"\xff\xfe.png" if isinstance(name, bytes) else name
        if odd.refused:
            assert re.search(rf"\((.*)({odd.refused})", refused[shown]), (name, refused[shown])
        else:
            pixels = given[f"{name}/inside.png" if name == "folder.png" else shown]
            assert abs(pixels - odd.pixels).max() <= odd.error, name
            assert abs((pixels - odd.pixels).mean()) <= 0.5 + (odd.error > 1), name
        seen += 1
    assert seen == 24 == len(given) + len(refused)


def test_the_corpus_ends_a_command_in_one_line(corpus):
    said = genvision("data", "check", f"folder:{corpus}", "data.height=8", "data.width=8", "data.labels=false")
    assert said.code == 3 and re.search(r"\d of \d+ files cannot be used: ", said.error)


def some(path: Path, good: int, bad: int) -> DataConfig:
    path.mkdir()
    for k in range(good):
        png(path / f"good{k:03}.png", np.full((SIDE, SIDE), k, np.uint8))
    for k in range(bad):
        (path / f"bad{k:03}.png").write_text("torn")
    return folder(path)


def test_one_unusable_file_is_an_error_unless_some_may_be_left_out(tmp_path, caplog):
    here = some(tmp_path / "a", 198, 2)
    with pytest.raises(DataError, match=r"2 of 200 files cannot be used: bad000.png \(not an image\), bad001.png"):
        load(here, "all")
    with pytest.raises(DataError, match=r"repair or remove them; data.max_bad_fraction=0.001 leaves out no more$"):
        load(replace(here, max_bad_fraction=0.001), "all")
    with caplog.at_level(logging.WARNING):
        found = load(replace(here, max_bad_fraction=0.01), "all")
    assert re.search(r"2 of 200 files cannot be used: bad000.png .*; left out$", caplog.text.strip())
    assert found.images[:, 0, 0, 0].tolist() == list(range(198))
    assert found.left_out == ("bad000.png (not an image)", "bad001.png (not an image)")
    assert found.files[0] == "good000.png" and len(found.files) == 198


def test_a_folder_of_nothing_else_is_an_error(tmp_path):
    with pytest.raises(DataError, match="3 of 3 files cannot be used"):
        load(replace(some(tmp_path / "a", 0, 3), max_bad_fraction=0.99), "all")


def test_what_is_left_out_moves_no_other_file(tmp_path):
    """Splits and labels are those of all files: a damaged one only leaves a gap, in whichever process."""
    whole = replace(some(tmp_path / "a", 100, 0), validation_fraction=0.25, max_bad_fraction=0.2, fraction=0.5)
    before = {split: load(whole, split) for split in ("train", "validation", "test")}
    victims = {found.files[1] for found in before.values()}
    for name in victims:
        (tmp_path / "a" / name).write_text("torn")
    for split, found in before.items():
        after = load(whole, split)
        assert after.files == tuple(name for name in found.files if name not in victims)
        assert torch.equal(after.images, found.images[[k for k in range(len(found)) if k != 1]])
        assert len(after.left_out) == 1


def test_labels_stay_with_their_images(tmp_path):
    for name, value in (("a", 10), ("b", 20)):
        some(tmp_path / name, 5, 1)
        for k in range(5):
            png(tmp_path / name / f"good{k:03}.png", np.full((SIDE, SIDE), value + k, np.uint8))
    found = load(folder(tmp_path, labels=True, max_bad_fraction=0.4), "train")
    assert torch.equal(found.labels, (found.images[:, 0, 0, 0] >= 20).long()) and found.left_out


def test_inspection_names_what_is_left_out_and_a_reference_leaves_out_nothing(tmp_path):
    here = replace(some(tmp_path / "a", 60, 4), max_bad_fraction=0.5)
    text = inspect.check(here)
    assert sorted(re.findall(r"left out: (bad00\d).png \(not an image\)", text)) == [f"bad00{k}" for k in range(4)]
    config, split = parse_reference(f"folder:{tmp_path / 'a'}", here)
    with pytest.raises(DataError, match="4 of 64 files"):
        load(config, split)


def test_a_record_names_what_was_left_out(tmp_path):
    pictures, runs = tmp_path / "pictures", tmp_path / "runs"
    write_pictures(pictures / "train"), write_pictures(pictures / "test", seed=1)
    for k in range(3):
        (pictures / "train" / "a" / f"bad{k}.png").write_text("torn")
    words = ("train.steps=1", "data.validation_fraction=0")
    assert "3 of 63 files cannot be used" in train(pictures, runs, *words).error
    said = train(pictures, runs, *words, "data.max_bad_fraction=0.2")
    assert said.code == 0, said.err
    record = read_record(one_run(runs).result)
    assert set(record["left_out"]) == {f"a/bad{k}.png (not an image)" for k in range(3)}
    assert "3 files could not be used and were left out" in record["note"]
