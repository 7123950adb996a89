"""Named sets, splits, references and geometry."""

from __future__ import annotations

import gzip
import hashlib
import re
import struct
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from genvision.config.schema import DataConfig
from genvision.data import ImageSet, available, inspect, load, named, parse_reference, spec_of
from genvision.data.geometry import with_channels, with_size
from genvision.data.load import members
from genvision.errors import ConfigError, DataError, StorageError
from genvision.spec import ImageSpec


def config(name: str = "fashion_mnist_mini", **changes) -> DataConfig:
    usual = {"download": False, "labels": True, "flip": False, "crop_padding": 0}
    plain = DataConfig(name, **usual, validation_fraction=0.1, fraction=1.0, max_bad_fraction=0.0)
    return replace(plain, **changes)


@pytest.fixture(autouse=True)
def empty_home(monkeypatch, tmp_path):
    """No set of the user's may answer for one that a test made."""
    monkeypatch.delenv("GENVISION_DATA", raising=False)
    monkeypatch.setattr(named, "CACHE", tmp_path / "cache")


def write_idx(folder, split: str, images: np.ndarray, labels: np.ndarray, compress: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stem, array in zip(named.IDX_FILES[split], (images, labels), strict=True):
        data = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
        (folder / (stem + ".gz" * compress)).write_bytes(gzip.compress(data) if compress else data)


@pytest.fixture
def tiny_mnist(monkeypatch, tmp_path):
    """A root with 20 + 5 images under MNIST's name; returns the root, images and labels of both splits."""
    monkeypatch.setitem(named.NAMED, "mnist", replace(named.NAMED["mnist"], counts={"train": 20, "test": 5}))
    rng = np.random.default_rng(0)
    made = {}
    for split, n in (("train", 20), ("test", 5)):
        made[split] = rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8)
        write_idx(tmp_path / "root/MNIST/raw", split, *made[split], compress=split == "test")
    return tmp_path / "root", made


# The bundled set


def test_bundled_set_is_balanced_complete_and_the_one_that_was_made():
    train, test = load(config(validation_fraction=0.0), "train"), load(config(), "test")
    assert train.spec == test.spec == ImageSpec(1, 28, 28, 10)
    assert train.labels.bincount().tolist() == [1000] * 10
    assert test.labels.bincount().tolist() == [200] * 10
    assert train.fingerprint == "4a42ed9337ab555dc3549a949d7f12f521cb031f471907e2452bf7821a98ef46"
    assert test.fingerprint == "5fc4ade757eebb710e0011e61933a9d1dabace5d443138bb7f6d46b7f9e99ec7"
    assert train.labels[:8].tolist() == [9, 0, 0, 3, 0, 2, 7, 2]  # as the original begins


def test_bundled_set_is_a_subset_of_the_original():
    if named.find("fashion_mnist", None) is None:
        pytest.skip("the original is not installed")
    whole, mini = load(config("fashion_mnist"), "test"), load(config(), "test")
    expected = torch.cat([(whole.labels == label).nonzero()[:200, 0] for label in range(10)]).sort().values
    assert torch.equal(mini.images, whole.images[expected])
    assert torch.equal(mini.labels, whole.labels[expected])
    everything = load(config("fashion_mnist", validation_fraction=0.0), "train").images.numpy().tobytes()
    assert hashlib.md5(everything).hexdigest() == "f209073e486d5113ebe2cc431d4df862"


def test_a_changed_byte_in_the_bundle_is_refused(monkeypatch, tmp_path):
    for file in (named.BUNDLED / "fashion_mnist_mini").iterdir():
        (tmp_path / "fashion_mnist_mini").mkdir(exist_ok=True)
        (tmp_path / "fashion_mnist_mini" / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(named, "BUNDLED", tmp_path)
    assert len(load(config(), "test")) == 2000
    for name in ("test-images.png", "test-labels-idx1-ubyte.gz"):
        target = tmp_path / "fashion_mnist_mini" / name
        data = bytearray(original := target.read_bytes())
        data[len(data) // 2] ^= 1
        target.write_bytes(data)
        with pytest.raises(DataError, match=f"{name}: missing, or not what SHA256SUMS says"):
            load(config(), "test")
        target.write_bytes(original)


def test_the_bundle_carries_its_licence():
    text = (named.BUNDLED / "LICENSE.fashion_mnist_mini").read_text()
    assert text.startswith("The MIT License (MIT)\n\nCopyright (c) 2017 Zalando SE")


# Splits and labels


def test_validation_is_held_out_fixed_and_disjoint(tiny_mnist):
    root, made = tiny_mnist
    here = config("mnist", root=str(root), validation_fraction=0.25)
    train, validation, test = (load(here, split) for split in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (15, 5, 5)
    rows = [row.tobytes() for row in torch.cat([train.images, validation.images]).numpy()]
    assert sorted(rows) == sorted(row.tobytes() for row in made["train"][0])
    assert torch.equal(test.images[:, 0], torch.from_numpy(made["test"][0]))
    assert test.labels.tolist() == made["test"][1].tolist()
    by_pixels = {row.tobytes(): label for row, label in zip(*made["train"], strict=True)}
    for part in (train, validation):
        assert [by_pixels[row.tobytes()] for row in part.images.numpy()] == part.labels.tolist()
    first = [
        k for k, row in enumerate(made["train"][0]) if row.tobytes() in {r.tobytes() for r in validation.images.numpy()}
    ]
    assert first == [3, 5, 16, 18, 19]  # whatever train.seed is: pinned
    with pytest.raises(DataError, match=r"validation_fraction=0\.0 and data\.fraction=1\.0 leave no validation images"):
        load(replace(here, validation_fraction=0.0), "validation")


@pytest.mark.parametrize("total", [2, 3, 6, 60, 199, 5000])
@pytest.mark.parametrize(
    ("split", "changes"),
    [
        ("validation", {"validation_fraction": 1e-6}),
        ("train", {"validation_fraction": 1 - 1e-6}),
        ("train", {"validation_fraction": 0.1, "fraction": 1e-6}),
    ],
)
def test_shares_that_leave_nothing_are_answered_with_one_that_does(split, changes, total):
    here = replace(config("mnist"), **changes)
    with pytest.raises(DataError, match=f"leave no {split} images of {total}; set data.") as caught:
        members(here, split, total)
    key, value = re.search(r"set data\.(\w+)=([0-9.]+\d)", str(caught.value)).groups()
    assert len(members(replace(here, **{key: float(value)}), split, total)) >= 1


def test_one_image_can_be_no_two_splits():
    with pytest.raises(DataError, match="leave no validation images of 1; add images"):
        members(config("mnist", validation_fraction=0.5), "validation", 1)


def test_a_fraction_is_part_of_a_larger_one_and_leaves_other_splits_alone(tiny_mnist):
    root, _ = tiny_mnist
    here = config("mnist", root=str(root), validation_fraction=0.25)
    rows = [
        {row.tobytes() for row in load(replace(here, fraction=fraction), "train").images.numpy()}
        for fraction in (0.2, 0.6, 1.0)
    ]
    assert [len(part) for part in rows] == [3, 9, 15] and rows[0] < rows[1] < rows[2]
    for split in ("validation", "test"):
        assert torch.equal(load(replace(here, fraction=0.2), split).images, load(here, split).images)
    for reference in ("mnist:train", "mnist:validation"):  # what a score is held against stays whole
        asked, split = parse_reference(reference, replace(here, fraction=0.2))
        assert torch.equal(load(asked, split).images, load(here, split).images)


def test_labels_can_be_dropped_without_touching_pixels():
    with_labels, without = load(config(), "test"), load(config(labels=False), "test")
    assert without.labels is None
    assert without.spec.classes == 0
    assert without.fingerprint == with_labels.fingerprint


def test_fingerprint_reads_every_pixel_and_the_shape_but_no_label():
    images = torch.arange(48, dtype=torch.uint8).reshape(2, 1, 4, 6)
    made = ImageSet("a", "train", images, torch.tensor([0, 1]), ("x", "y"))
    assert made.fingerprint == ImageSet("b", "test", images, None, ()).fingerprint
    changed = images.clone()
    changed[1, 0, 3, 5] += 1
    assert made.fingerprint != ImageSet("a", "train", changed, None, ()).fingerprint
    assert made.fingerprint != ImageSet("a", "train", images.reshape(2, 1, 6, 4), None, ()).fingerprint
    by_hand = hashlib.sha256(b"(2, 1, 4, 6)" + bytes(range(48))).hexdigest()
    assert made.fingerprint == by_hand


@pytest.mark.parametrize(
    ("images", "labels", "names", "message"),
    [
        (torch.zeros(0, 1, 2, 2, dtype=torch.uint8), None, (), "expected"),
        (torch.zeros(1, 1, 2, 2), None, (), "uint8"),
        (torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([0]), ("x",), "2 images but labels"),
        (torch.zeros(1, 1, 2, 2, dtype=torch.uint8), torch.tensor([1]), ("x",), "outside the 1 classes"),
    ],
)
def test_image_sets_that_do_not_fit_are_refused(images, labels, names, message):
    with pytest.raises(DataError, match=message):
        ImageSet("a", "train", images, labels, names)


# Where sets are found


def test_a_missing_set_names_the_places_and_the_ways(tmp_path):
    with pytest.raises(DataError) as caught:
        load(config("mnist", root=str(tmp_path)), "train")
    assert str(tmp_path / "MNIST/raw") in str(caught.value)
    assert "data.download=true" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "apt install dataset-fashion-mnist" in named.how_to_get("fashion_mnist")


def test_the_environment_names_a_root(tiny_mnist, monkeypatch):
    monkeypatch.setenv("GENVISION_DATA", str(tiny_mnist[0]))
    assert len(load(config("mnist"), "test")) == 5
    assert {row.name: row.where for row in available()}["mnist"] == tiny_mnist[0] / "MNIST/raw"
    assert f"found in {tiny_mnist[0]}" in inspect.list_text()


@pytest.mark.parametrize("damage", ["magic", "short", "gzip", "count"])
def test_damaged_idx_files_are_named(tiny_mnist, damage):
    root, made = tiny_mnist
    folder = root / "MNIST/raw"
    images = folder / "train-images-idx3-ubyte"
    data = images.read_bytes()
    if damage == "count":
        write_idx(folder, "train", made["train"][0][:19], made["train"][1][:19])
    else:
        images.write_bytes(
            {"magic": b"\0\0\x0d\3" + data[4:], "short": data[:-1], "gzip": gzip.compress(data)[:-9]}[damage]
        )
    with pytest.raises(DataError, match=r"MNIST/raw"):
        load(config("mnist", root=str(root)), "train")


class FakeCifar:
    """Stands for torchvision's class: 5 random colour images, the files 'downloaded' into the root."""

    classes = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    def __init__(self, root, train, download):
        if download:
            (Path(root) / "cifar-10-batches-py").mkdir(parents=True)
            (Path(root) / "cifar-10-batches-py/batches.meta").touch()
        self.data = np.random.default_rng(int(train)).integers(0, 256, (5, 32, 32, 3), np.uint8)
        self.targets = [0, 1, 2, 3, 9]


def test_cifar_comes_from_torchvision_channels_first(monkeypatch, tmp_path):
    monkeypatch.setitem(named.NAMED, "cifar10", replace(named.NAMED["cifar10"], counts={"train": 5, "test": 5}))
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", FakeCifar)
    with pytest.raises(DataError, match="not found in"):
        load(config("cifar10", root=str(tmp_path)), "test")
    test = load(config("cifar10", root=str(tmp_path), download=True), "test")
    original = FakeCifar(tmp_path, train=False, download=False)
    assert torch.equal(test.images, torch.from_numpy(original.data).permute(0, 3, 1, 2))
    assert test.labels.tolist() == original.targets
    assert test.class_names == FakeCifar.classes


@pytest.mark.parametrize("fault", [URLError("no network"), RuntimeError("Dataset not found or corrupted.\nmore")])
def test_a_failed_download_is_one_line(monkeypatch, tmp_path, fault):
    def refuse(*_, **__):
        raise fault

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", refuse)
    with pytest.raises(DataError, match="check the network") as caught:
        load(config("cifar10", root=str(tmp_path), download=True), "test")
    assert "\n" not in str(caught.value)


# Geometry


def test_spec_of_says_what_load_gives_without_reading():
    assert spec_of(config("cifar100", root="/nowhere")) == ImageSpec(3, 32, 32, 100)
    asked = config(height=20, width=36, channels=3, labels=False)
    assert spec_of(asked) == load(asked, "test").spec == ImageSpec(3, 20, 36, 0)


def test_channels_replicate_weigh_and_add_an_opaque_alpha():
    rgb = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for k, gray in enumerate(with_channels(rgb, 1)):
        pillow = np.asarray(Image.fromarray(rgb[k].permute(1, 2, 0).numpy()).convert("L"))
        assert np.array_equal(gray[0].numpy(), pillow)
    gray = rgb[:, :1]
    assert torch.equal(with_channels(gray, 3), torch.cat([gray] * 3, 1))
    assert torch.equal(with_channels(rgb, 4)[:, :3], rgb)
    assert (with_channels(rgb, 4)[:, 3] == 255).all()
    assert torch.equal(with_channels(gray, 2), torch.cat([gray, torch.full_like(gray, 255)], 1))


@pytest.mark.parametrize(("height", "width"), [(14, 14), (56, 56), (16, 40), (9, 7)])
def test_resizing_agrees_with_pillow_and_keeps_the_centre(height, width):
    images = load(config(), "test").images[:20]
    scale = max(height, width) / 28
    tall = wide = round(28 * scale)
    got = with_size(images, height, width)
    for k in range(20):
        whole = Image.fromarray(images[k, 0].numpy()).resize((wide, tall), Image.Resampling.BICUBIC)
        top, left = (tall - height) // 2, (wide - width) // 2
        expected = np.asarray(whole)[top : top + height, left : left + width].astype(int)
        assert abs(got[k, 0].numpy() - expected).max() <= 1


# References and inspection


def test_references_name_a_set_a_split_or_a_folder(tmp_path):
    run = config("cifar10", validation_fraction=0.2)
    assert parse_reference("cifar10", run) == (run, "test")
    assert parse_reference("cifar10:validation", run) == (run, "validation")
    other, split = parse_reference("fashion_mnist:train", run)
    assert (other.name, other.channels, other.height, other.width, split) == ("fashion_mnist", 3, 32, 32, "train")
    folder, split = parse_reference("folder:a/b:c", run)
    assert (folder.name, folder.path, folder.height, folder.labels, split) == ("folder", "a/b:c", 32, False, "all")
    part, split = parse_reference("folder:a/b:test", run)
    assert (part.path, part.validation_fraction, split) == ("a/b", 0.2, "test")
    (tmp_path / "odd:test").mkdir()
    there, split = parse_reference(f"folder:{tmp_path}/odd:test", run)
    assert (there.path, split) == (f"{tmp_path}/odd:test", "all")  # a folder that has such a name
    assert parse_reference("mnist", DataConfig(download=False, labels=True))[0].height is None
    for wrong in ("cifra10", "cifar10:tset", "folder:", "cifar10:all", ""):
        with pytest.raises(ConfigError, match="write"):
            parse_reference(wrong, run)


def test_check_counts_classes_and_finds_leaks(tiny_mnist):
    root, made = tiny_mnist
    images, labels = made["test"][0].copy(), made["test"][1]
    images[:2] = made["train"][0][7]
    write_idx(root / "MNIST/raw", "test", images, labels, compress=True)
    here = config("mnist", root=str(root))
    text = inspect.check(here)
    assert "test images whose pixels are also a training image's: 2" in text
    assert "repeated within train: 0" in text
    assert "repeated within test: 1" in text
    assert load(here, "test").fingerprint in text
    counts = inspect.class_counts(load(replace(here, validation_fraction=0.0), "train"))
    assert list(counts.values()) == np.bincount(made["train"][1], minlength=10).tolist()
    assert f"{counts['3']:>8,} 3" in text


def test_show_writes_a_grid_of_64(tmp_path):
    path = inspect.show(config(), "test", tmp_path / "new/grid.png")
    grid = np.asarray(Image.open(path))
    assert grid.shape == (8 * 30 + 2, 8 * 30 + 2, 3)
    images = load(config(), "test").images
    assert np.array_equal(grid[2:30, 32:60, 0], images[2000 // 64, 0].numpy())
    (tmp_path / "file").touch()
    for out in (tmp_path / "file/grid.png", "."):
        with pytest.raises(StorageError, match="cannot write"):
            inspect.show(config(), "test", out)
