"""The grid of nearest neighbours: whose neighbours they are, that copies come first, and where a run puts it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from runs import fresh_launch, genvision, pictures, train, trained, write_pictures  # noqa: F401
from test_evaluation_features import Pixels

from genvision.evaluation.nearest import nearest_grid, write_nearest
from genvision.evaluation.pictures import NEAREST, NEAREST_CAPTION

COLUMNS = 13  # twice an image and its five neighbours, and a gap


def noise(n: int, seed: int, size: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 1, size, size), generator=generator).to(torch.uint8)


def test_each_row_is_an_image_and_its_neighbours_and_the_nearest_come_first():
    training, images = noise(40, 0), noise(30, 1)
    images[17], images[23] = training[5], training[8] ^ 1  # a copy, and nearly one
    rows = nearest_grid(images, images.flatten(1).float(), training, training.flatten(1).float())
    assert rows.shape == (10, COLUMNS, 1, 6, 6) and rows.dtype == torch.uint8
    distances = (images.flatten(1).float()[:, None] - training.flatten(1).float()[None]).norm(dim=2)
    order = distances.amin(1).argsort()[:10]
    assert order[:2].tolist() == [17, 23]
    for panel, shown in ((0, order), (7, range(10))):
        for r, k in enumerate(shown):
            row = rows[r, panel : panel + 6]
            assert torch.equal(row[0, :, 1:5, 1:5], images[k]) and row[0, 0, 0].eq(0).all()
            expected = training[distances[k].argsort()[:5]]
            assert torch.equal(row[1:, :, 1:5, 1:5], expected) and row[1:, :, 0].eq(255).all()
    assert rows[:, 6].eq(255).all()


@pytest.mark.parametrize(("n", "known"), [(3, 40), (30, 2)])
def test_few_images_make_a_small_grid_that_can_be_written(tmp_path, n, known):
    images, training = noise(n, 0), noise(known, 1)
    found = nearest_grid(images, images.flatten(1).float(), training, training.flatten(1).float())
    beside = min(5, known)
    assert found.shape[:2] == (min(n, 10), 3 + 2 * beside)
    picture = np.asarray(Image.open(write_nearest(found, tmp_path / "n.png")))
    cell = 2 * 6 + 2
    assert picture.shape[:2] == (min(n, 10) * cell + 2, (3 + 2 * beside) * cell + 2)
    assert (picture[2:4, 2 : cell - 2] == 0).all()  # the frame of the first image, two pixels for one


@pytest.fixture
def pixels(monkeypatch, tmp_path):
    monkeypatch.setenv("GENVISION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("genvision.scoring.make_extractor", lambda *_: Pixels(dim=64))


def test_a_score_that_looks_for_copies_leaves_the_picture_and_the_report_shows_it(trained, pixels, tmp_path):
    folder = trained("vae")
    picture, real = folder.path / NEAREST, write_pictures(tmp_path / "real", 30, seed=1)
    words = ("score", folder.path, "--reference", f"folder:{real}", "--num-images", 20)
    words += ("--extractor", "efficientnet-lite0")
    assert genvision(*words).code == 0 and not picture.exists()
    assert genvision(*words, "--memorisation", "--seed", 9).code == 0 and not picture.exists()  # not the run's images
    assert genvision(*words, "--memorisation").code == 0
    with Image.open(picture) as image:
        assert image.size == (COLUMNS * 22 + 2, 10 * 22 + 2)
    said = genvision("leaderboard", "build", folder.path.parent, "--out", tmp_path / "board")
    assert NEAREST_CAPTION in (tmp_path / "board" / "index.html").read_text(), said
    picture.unlink()


def test_a_run_that_looks_for_copies_leaves_the_picture(pictures, pixels, tmp_path):
    real = write_pictures(tmp_path / "real", 30, seed=1)
    words = ("family=vae", "backbone=vit", "score.num_images=20", "sample.num_images=20", "train.steps=1")
    words += (f"score.reference=folder:{real}", "score.extractor=efficientnet-lite0", "score.memorisation=true")
    assert train(pictures, tmp_path / "runs", *words, "run.name=one").code == 0
    assert Image.open(tmp_path / "runs" / "one" / NEAREST).size == (COLUMNS * 22 + 2, 10 * 22 + 2)
