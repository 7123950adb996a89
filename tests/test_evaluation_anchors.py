"""Anchors: what real, blurred and random images score, and that they are measured once."""

from __future__ import annotations

import pytest
import torch
from test_evaluation_features import Pixels, image_set

from genvision.data.image_set import ImageSet
from genvision.errors import DataError
from genvision.evaluation.anchors import anchor_images, anchors, blurred, pixel_noise
from genvision.evaluation.features import extract, reference_subset
from genvision.evaluation.frechet import distance, fit


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GENVISION_CACHE", str(tmp_path))


def test_anchors_are_distances_of_as_many_images_to_the_same_reference():
    extractor, train = Pixels(), image_set(90)
    reference = extract(image_set(50, seed=1).images, extractor)
    found = anchors(train, reference, extractor, 40)
    assert [anchor["name"] for anchor in found] == [
        "real training images", "blurred training images", "per-pixel Gaussian",
    ]  # fmt: skip
    for anchor, images in zip(found, anchor_images(train, 40).values(), strict=True):
        assert len(images) == 40
        pool = extract(images.images, Pixels()).pool
        assert anchor["value"] == pytest.approx(distance(fit(pool), fit(reference.pool)), rel=1e-9)
    assert torch.equal(anchor_images(train, 40)["real training images"].images, reference_subset(train, 40).images)
    before = len(extractor.calls)
    assert anchors(train, reference, extractor, 40) == found and len(extractor.calls) == before  # from the cache


def test_more_anchors_than_training_images_are_refused():
    with pytest.raises(DataError, match="toys:test has 20 images; 40 were asked for"):
        anchor_images(image_set(20), 40)


def test_a_blur_keeps_flat_pictures_and_spreads_a_point_as_a_gaussian():
    flat = torch.full((2, 3, 9, 7), 200, dtype=torch.uint8)
    assert torch.equal(blurred(flat), flat)
    point = torch.zeros(1, 1, 33, 32, dtype=torch.uint8)
    point[0, 0, 16, 16] = 255
    spread = blurred(point)[0, 0].double()
    weights = torch.exp(-((torch.arange(33) - 16.0) ** 2) / (2 * 2.0**2))  # two pixels are a sixteenth of 32
    expected = 255 * (weights / weights.sum())[:, None] * (weights / weights.sum())[:32]
    assert (spread - expected).abs().max() <= 0.5 + 255 * 0.0001


def test_noise_has_the_mean_and_deviation_of_each_pixel_and_starts_alike():
    images = torch.stack([torch.full((500,), 100.0), torch.linspace(50, 150, 500)], 1).round().to(torch.uint8)
    images = images.reshape(500, 1, 1, 2)
    made = pixel_noise(images, 4000).double()
    assert (made[:, 0, 0, 0] == 100).all()
    assert made[:, 0, 0, 1].mean().item() == pytest.approx(100, abs=2)
    assert made[:, 0, 0, 1].std().item() == pytest.approx(100 / 12**0.5, rel=0.05)
    assert torch.equal(pixel_noise(images, 10), pixel_noise(images, 20)[:10])
    assert pixel_noise(images, 10).dtype == torch.uint8


def test_the_noise_is_of_all_training_images_not_only_of_those_shown():
    images = torch.cat([torch.zeros(50, 1, 2, 2), torch.full((50, 1, 2, 2), 200.0)]).to(torch.uint8)
    noise = anchor_images(ImageSet("toys", "train", images, None, ()), 60)["per-pixel Gaussian"]
    assert torch.equal(noise.images, pixel_noise(images, 60))
