"""Feature extraction and its cache: blind to the caller's split, and impossible to go stale."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch

from genvision.data.image_set import ImageSet
from genvision.errors import DataError, NonFiniteError
from genvision.evaluation import features, frechet
from genvision.evaluation.protocol import build_protocol, protocol_hash


@dataclass
class Pixels:
    """An extractor whose features are the pixels, and which counts its batches."""

    name: str = "pixels"
    metric_name: str = "FD-Pixels"
    weights_sha256: str = "00"
    resize: str = "none"
    dim: int = 12
    source: str = ""
    calls: list[int] = field(default_factory=list)

    def __call__(self, images: torch.Tensor) -> features.Features:
        self.calls.append(len(images))
        flat = images.flatten(1).float()
        return features.Features(flat, flat[:, :3])


def image_set(n: int = 10, seed: int = 0, name: str = "toys") -> ImageSet:
    images = torch.randint(0, 256, (n, 3, 2, 2), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
    return ImageSet(name, "test", images, torch.arange(n) % 2, ("a", "b"))


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GENVISION_CACHE", str(tmp_path))
    return tmp_path / "features"


def test_batches_have_one_size_and_the_padding_is_cut():
    extractor, images = Pixels(), image_set(10).images
    found = features.extract(images, extractor, batch_size=4)
    assert extractor.calls == [4, 4, 4]
    assert torch.equal(found.pool, images.flatten(1).float())
    assert torch.equal(found.logits, found.pool[:, :3])


def test_the_real_network_sees_no_difference_between_splits():
    from genvision.evaluation.extractors import make_extractor

    extractor, images = make_extractor("efficientnet-lite0"), image_set(5).images
    together = features.extract(images, extractor, batch_size=4).pool
    alone = torch.cat([features.extract(images[:4], extractor, batch_size=4).pool,
                       features.extract(images[4:], extractor, batch_size=4).pool])  # fmt: skip
    assert torch.equal(together, alone)


def test_a_score_does_not_hang_on_how_many_images_an_extractor_sees_at_once():
    from genvision.evaluation.extractors import make_extractor

    extractor, images = make_extractor("efficientnet-lite0"), image_set(6).images
    alone, among = (frechet.fit(features.extract(images, extractor, batch_size=size).pool) for size in (1, 64))
    other = frechet.fit(features.extract(255 - images, extractor, batch_size=6).pool)
    assert frechet.distance(alone, among) <= 1e-3 < 1 < frechet.distance(alone, other)


def test_no_images_and_features_that_are_not_numbers_are_refused():
    with pytest.raises(DataError, match="no images"):
        features.extract(torch.empty(0, 3, 2, 2, dtype=torch.uint8), Pixels())

    class Broken(Pixels):
        def __call__(self, images):
            pool = super().__call__(images).pool
            pool[0, 0] = float("nan")
            return features.Features(pool, pool)

    with pytest.raises(NonFiniteError, match="not finite"):
        features.extract(image_set().images, Broken())


def test_the_cache_answers_the_second_time(cache):
    extractor = Pixels()
    first = features.reference_features(image_set(), extractor)
    again = features.reference_features(image_set(name="renamed"), extractor)
    assert len(extractor.calls) == 1 and torch.equal(first.pool, again.pool)
    assert [path.suffix for path in cache.iterdir()] == [".safetensors"]


def test_one_changed_pixel_is_another_entry_even_under_the_same_name():
    extractor, before = Pixels(), image_set()
    features.reference_features(before, extractor)
    images = before.images.clone()
    images[7, 1, 1, 0] ^= 1
    after = ImageSet(before.name, before.split, images, before.labels, before.class_names)
    found = features.reference_features(after, extractor)
    assert len(extractor.calls) == 2
    assert torch.equal(found.pool, images.flatten(1).float())


@pytest.mark.parametrize("change", [{"name": "x"}, {"weights_sha256": "01"}, {"resize": "bicubic"}])
def test_every_part_of_the_extractor_is_in_the_key(change):
    print_ = image_set().fingerprint
    assert features.reference_key(print_, Pixels()) != features.reference_key(print_, Pixels(**change))


def test_the_code_version_and_the_shape_are_in_the_key(monkeypatch):
    before = image_set()
    key = features.reference_key(before.fingerprint, Pixels())
    turned = ImageSet("toys", "test", before.images.reshape(10, 3, 4, 1), before.labels, before.class_names)
    assert features.reference_key(turned.fingerprint, Pixels()) != key
    monkeypatch.setattr(features, "CODE_VERSION", features.CODE_VERSION + 1)
    assert features.reference_key(before.fingerprint, Pixels()) != key


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "text"])
def test_a_damaged_cache_file_is_computed_again(cache, damage):
    extractor = Pixels()
    expected = features.reference_features(image_set(), extractor).pool
    (path,) = cache.iterdir()
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-3] ^= 4
    path.write_bytes({"truncate": data[: len(data) // 2], "flip": data, "empty": b"", "text": b"no"}[damage])
    assert torch.equal(features.reference_features(image_set(), extractor).pool, expected)
    assert len(extractor.calls) == 2
    features.reference_features(image_set(), extractor)
    assert len(extractor.calls) == 2  # and the file is whole again


def test_a_cache_that_cannot_be_written_costs_a_warning_only(cache, caplog):
    cache.write_text("a file where the folder should be")
    assert torch.equal(features.reference_features(image_set(), Pixels()).pool, image_set().images.flatten(1).float())
    assert "not cached" in caplog.text


def test_features_that_ship_with_the_package_are_used_first(monkeypatch, tmp_path, cache):
    extractor, marked = Pixels(), torch.full((10, 12), 7.0)
    monkeypatch.setattr(features, "BUNDLED", tmp_path / "bundled")
    key = features.reference_key(image_set().fingerprint, extractor)
    features.save_reference(marked, tmp_path / "bundled" / f"{key}.safetensors")
    assert torch.equal(features.reference_features(image_set(), extractor).pool, marked)
    assert extractor.calls == [] and not cache.exists()


def test_a_part_of_the_reference_is_fixed_and_not_its_first_class():
    whole = image_set(100)
    part = features.reference_subset(whole, 30)
    assert len(part) == 30 and torch.equal(part.images, features.reference_subset(image_set(100), 30).images)
    assert not torch.equal(part.images, whole.images[:30])
    assert features.reference_subset(whole, 100).fingerprint == whole.fingerprint
    for n in (0, 101):
        with pytest.raises(DataError, match="toys:test has 100 images"):
            features.reference_subset(whole, n)


def test_a_protocol_changes_with_anything_that_changes_the_number():
    sampling = {"scheduler": "euler", "steps": 50, "seed": 0}
    base = {"num_images": 8, "reference": image_set(), "extractor": Pixels(), "sampling": sampling}
    changes = [
        {},
        {"num_images": 9},
        {"reference": image_set(seed=1)},
        {"reference": features.reference_subset(image_set(), 6)},
        {"extractor": Pixels(weights_sha256="01")},
        {"extractor": Pixels(resize="x")},
        {"sampling": None},
        *({"sampling": sampling | {name: 3}} for name in ("steps", "guidance", "ema", "seed", "chunk_size", "pixels")),
        *({"sampling": sampling | {name: 3}} for name in ("guidance_interval", "guide")),
    ]
    hashes = [protocol_hash(build_protocol(**(base | change))) for change in changes]
    assert len(set(hashes)) == len(changes)
    assert hashes[0] == protocol_hash(build_protocol(**base))
    later = {"guidance_interval": None, "guide": None}  # not used: the protocol of before they existed
    assert build_protocol(**(base | {"sampling": sampling | later})) == build_protocol(**base)
    assert not later.keys() & build_protocol(**base)["sampling"].keys()
    plain = {
        name: part for name, part in build_protocol(**base).items() if name not in ("uncertainty", "extrapolation")
    }
    assert protocol_hash(plain) == hashes[0]  # a record of before there were intervals stays comparable
    assert build_protocol(**base)["uncertainty"]["kind"] == "bootstrap over features"
    with pytest.raises(TypeError, match="stpes"):
        build_protocol(**(base | {"sampling": {"stpes": 1}}))
