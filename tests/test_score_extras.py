"""Scores beside training images: anchors and memorisation, by the command and by a run that asks for them."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from runs import fresh_launch, genvision, one_run, pictures, train, trained, write_pictures  # noqa: F401
from test_evaluation_features import Pixels

from genvision import data, load
from genvision.config import load_config
from genvision.evaluation.anchors import anchors
from genvision.evaluation.coherence import coherence
from genvision.evaluation.features import extract
from genvision.evaluation.memorisation import memorisation
from genvision.evaluation.record import read_record
from genvision.evaluation.scores import SEED
from genvision.sampling import draw_images

OFFLINE = ("--extractor", "efficientnet-lite0")


@pytest.fixture(autouse=True)
def pixels(monkeypatch, tmp_path):
    """Features are the pixels of 8x8 images: nothing here depends on a real network."""
    monkeypatch.setenv("GENVISION_CACHE", str(tmp_path / "cache"))
    made = Pixels(dim=64)
    monkeypatch.setattr("genvision.scoring.make_extractor", lambda *_: made)
    return made


def test_a_score_can_bring_its_anchors_and_look_for_copies(trained, tmp_path):
    folder, report = trained("vae"), tmp_path / "report.json"
    real = write_pictures(tmp_path / "real", 30, seed=1)
    words = ("--num-images", 20, *OFFLINE, "--anchors", "--memorisation")
    said = genvision("score", folder.path, "--reference", f"folder:{real}", *words, "--json", report)
    assert said.code == 0, said.err
    told, config = json.loads(report.read_text()), folder.read_config().data
    train_set = data.load(config, "train")
    drawn = draw_images(load(folder.path).generator, 20, seed=0, chunk_size=4, precision="no")
    reference = data.load(dataclasses.replace(config, path=str(real), labels=False), "all").images
    pools = [extract(images, Pixels(dim=64)) for images in (drawn, train_set.images, reference)]
    assert told["anchors"] == anchors(train_set, pools[2], Pixels(dim=64, weights_sha256="01"), 20)
    expected = memorisation(*(features.pool for features in pools), SEED)
    assert {key: told["metrics"][key] for key in expected} == expected
    assert told["metrics"]["total_variation"]["value"] == coherence(drawn, reference)["total_variation"]["value"]
    for line in ("real training images", "near copies", "FD-Pixels-infinity", "total variation"):
        assert line in said.out


def test_images_drawn_elsewhere_are_compared_with_the_training_split_of_their_reference(tmp_path, pixels):
    pixels.dim, report = 784, tmp_path / "report.json"
    images = np.random.default_rng(0).integers(0, 256, (12, 1, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    words = ("--reference", "fashion_mnist_mini:test", *OFFLINE, "--anchors", "--memorisation", "--json", report)
    said = genvision("score", tmp_path / "images.npz", *words)
    assert said.code == 0, said.err
    told = json.loads(report.read_text())
    config = data.parse_reference("fashion_mnist_mini:test", load_config(None, ["data=fashion_mnist_mini"]).data)[0]
    config = dataclasses.replace(config, validation_fraction=0.0)
    train_set, reference = data.load(config, "train"), data.load(config, "test")
    pools = [extract(each, Pixels(dim=784)) for each in (torch.from_numpy(images), train_set.images, reference.images)]
    assert told["anchors"] == anchors(train_set, pools[2], Pixels(dim=784, weights_sha256="01"), 12)
    expected = memorisation(*(features.pool for features in pools), SEED)
    assert {key: told["metrics"][key] for key in expected} == expected and len(train_set) == 10_000


def test_a_run_with_anchors_is_verified_and_an_edited_one_found(pictures, tmp_path):
    real = write_pictures(tmp_path / "real", 30, seed=1)
    words = ("family=vae", "backbone=vit", "score.num_images=20", "sample.num_images=20", "train.steps=1")
    words += (f"score.reference=folder:{real}", "score.extractor=efficientnet-lite0", "run.name=one")
    said = train(pictures, tmp_path / "runs", *words, "score.anchors=true", "score.memorisation=true")
    assert said.code == 0, said.err
    file = tmp_path / "runs" / "one" / "result.json"
    said = genvision("leaderboard", "verify", file.parent)
    assert said.code == 0 and "metrics.near_copies.value" in said.out and "anchors [" in said.out, said.err
    record = json.loads(file.read_text())
    record["anchors"][1]["value"] += 1
    file.write_text(json.dumps(record))
    said = genvision("leaderboard", "verify", file.parent)
    assert said.code == 4 and "anchors is " in said.last_error


def test_what_cannot_be_compared_with_training_images_is_refused(trained, pictures, tmp_path):
    folder, real = trained("vae"), write_pictures(tmp_path / "real", 30, seed=1)
    said = genvision(
        "score", folder.path, "--reference", f"folder:{pictures}", "--num-images", 20, *OFFLINE, "--memorisation"
    )
    assert said.code == 2 and "of 60 images were trained on" in said.error
    said = genvision("score", folder.path, "--reference", f"folder:{real}", "--num-images", 90, *OFFLINE, "--anchors")
    assert said.code == 3 and "90 were asked for" in said.error
    genvision("sample", folder.path, "--num-images", 20, "--out", tmp_path / "png")
    said = genvision("score", tmp_path / "png", "--reference", f"folder:{real}", *OFFLINE, "--anchors")
    assert said.code == 2 and "has none beside itself" in said.error
    said = genvision("score", folder.path, "--reconstruct", *OFFLINE, "--anchors")
    assert said.code == 2 and "--anchors is about drawn images" in said.error


def test_a_run_is_scored_against_its_own_test_split_and_a_reference_that_was_trained_on_is_told(
    trained, pictures, tmp_path, caplog
):
    folder, words = trained("vae"), ("--num-images", 6, *OFFLINE, "--json", tmp_path / "report.json")
    said = genvision("score", folder.path, *words)
    assert said.code == 0 and caplog.text == "", said.err
    real = json.loads((tmp_path / "report.json").read_text())["protocol"]["reference"]
    test = data.load(folder.read_config().data, "test")
    assert (real["name"], real["split"], real["num_images"]) == (test.name, "test", len(test))
    by_name = genvision("score", folder.path, "--reference", f"folder:{pictures}:test", *words)
    assert by_name.out == said.out
    assert genvision("score", folder.path, "--reference", f"folder:{pictures}", *words).code == 0
    assert "images were trained on; name a reference of images that were not" in caplog.text


def test_a_run_is_not_judged_by_a_set_that_has_changed(pictures, tmp_path):
    moved = shutil.copytree(pictures, tmp_path / "moved")
    said = train(moved, tmp_path / "runs", "family=vae", "backbone=vit", "run.name=run", "train.steps=1")
    assert said.code == 0, said.err
    real, run = write_pictures(tmp_path / "real", 30, seed=1), tmp_path / "runs" / "run"
    trained_on = data.load(load_config(run / "config.yaml").data, "train").files[0]
    Image.fromarray(255 - np.array(Image.open(moved / trained_on))).save(moved / trained_on)
    score = ("score", run, *OFFLINE)
    for words in (("nll", run), (*score, "--num-images", 6), (*score, "--reconstruct")):
        said = genvision(*words)
        assert said.code == 3 and f"the training images are no longer those of {run}" in said.last_error
    assert genvision(*score, "--num-images", 6, "--reference", f"folder:{real}").code == 0  # which these are not


def test_a_run_records_its_anchors_and_the_next_one_finds_them(pictures, tmp_path, pixels):
    real = write_pictures(tmp_path / "real", 30, seed=1)
    words = ("family=vae", "backbone=vit", "score.num_images=20", "score.extractor=efficientnet-lite0")
    words += (f"score.reference=folder:{real}", "score.anchors=true", "score.memorisation=true")
    said = train(pictures, tmp_path / "runs", *words, "run.name=one")
    assert said.code == 0, said.err
    record = read_record(tmp_path / "runs" / "one" / "result.json")
    assert len(record["anchors"]) == 3 and record["anchors"][0]["name"] == "real training images"
    assert {"nearest_ratio", "near_copies", "patch_edges", "coverage", "frechet_infinity"} <= record["metrics"].keys()
    assert "For scale: " in (tmp_path / "runs" / "leaderboard" / "index.html").read_text()
    before = len(pixels.calls)
    assert train(pictures, tmp_path / "runs", *words, "run.name=two").code == 0
    assert len(pixels.calls) == before + 1  # a batch of its own images, nothing else
    again = read_record(tmp_path / "runs" / "two" / "result.json")
    assert again["anchors"] == record["anchors"] and again["metrics"] == record["metrics"]


def test_a_run_that_asks_for_too_many_anchors_ends_before_it_begins(pictures, tmp_path):
    words = ("score.num_images=90", "score.extractor=efficientnet-lite0", "score.anchors=true")
    said = train(pictures, tmp_path / "runs", *words)
    assert said.code == 3 and "90 were asked for" in said.error and not (tmp_path / "runs").exists()
