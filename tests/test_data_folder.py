"""A user's own folder: every odd file has a defined outcome, and splits and classes are what the page says."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from corpus import NOISE, RNG, header_only, png, sixteen_bit_rgb, truncated
from PIL import Image

from genvision.config.schema import DataConfig
from genvision.data import load, spec_of
from genvision.data.decode import UnusableImageError, decode
from genvision.errors import DataError
from genvision.spec import ImageSpec


def folder(path: Path, **changes) -> DataConfig:
    plain = DataConfig(
        "folder",
        str(path),
        download=False,
        labels=True,
        flip=False,
        crop_padding=0,
        validation_fraction=0,
        fraction=1,
        max_bad_fraction=0,
    )
    return replace(plain, **({"height": 8, "width": 8, "channels": 3} | changes))


def fill(path: Path, count: int, value: int = 0) -> None:
    """`count` gray 8x8 PNG files of rising value."""
    path.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        Image.new("L", (8, 8), value + k).save(path / f"{k:03}.png")


# One file: modes


def test_plain_images_come_back_exactly(tmp_path):
    for name in ("a.png", "a.bmp", "a.tiff", "a.ppm"):
        Image.fromarray(NOISE).save(tmp_path / name)
        assert np.array_equal(decode(tmp_path / name, 8, 8, 3), NOISE)
    png(tmp_path / "wrong.jpg", NOISE)  # a PNG in spite of its name
    assert np.array_equal(decode(tmp_path / "wrong.jpg", 8, 8, 3), NOISE)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    wide = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    for name in ("a.png", "a.tiff", "a.pgm"):
        Image.fromarray(wide).save(tmp_path / name)
        got = decode(tmp_path / name, 8, 8, 1)[..., 0]
        assert abs(got - wide / 257).max() <= 0.5
    # The conversion other tools make, kept here as a witness: nearly everything becomes white.
    assert (np.asarray(Image.open(tmp_path / "a.pgm").convert("I").convert("L")) == 255).mean() > 0.95
    colour = RNG.integers(0, 65536, (8, 8, 3), np.uint16)
    sixteen_bit_rgb(tmp_path / "rgb.png", colour)
    error = decode(tmp_path / "rgb.png", 8, 8, 3) - colour / 257
    assert abs(error.mean()) <= 0.5
    assert abs(error).max() <= 1


def test_alpha_is_composited_on_white_or_kept_when_asked(tmp_path):
    rgba = np.dstack([NOISE, np.repeat(np.array([[0, 255, 128, 64]], np.uint8), 8, 0).repeat(2, 1)])
    path = png(tmp_path / "rgba.png", rgba)
    alpha = rgba[..., 3:].astype(float) / 255
    expected = NOISE * alpha + 255 * (1 - alpha)
    assert abs(decode(path, 8, 8, 3) - expected).max() <= 1
    assert (decode(path, 8, 8, 3)[:, :2] == 255).all()
    assert np.array_equal(decode(path, 8, 8, 4), rgba)
    assert (decode(png(tmp_path / "rgb.png", NOISE), 8, 8, 4)[..., 3] == 255).all()
    Image.fromarray(rgba).convert("LA").save(tmp_path / "la.png")
    assert (
        abs(decode(tmp_path / "la.png", 8, 8, 1)[:, 2:4] - decode(tmp_path / "la.png", 8, 8, 2)[:, 2:4, :1]).max() == 0
    )
    assert (decode(tmp_path / "la.png", 8, 8, 1)[:, :2] == 255).all()


def test_palettes_bits_and_cmyk_are_converted(tmp_path):
    palette = Image.fromarray((np.indices((8, 8)).sum(0) % 2).astype(np.uint8))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.save(tmp_path / "p.png")
    palette.save(tmp_path / "p.gif")
    palette.save(tmp_path / "clear.png", transparency=0)
    for name in ("p.png", "p.gif"):
        assert decode(tmp_path / name, 8, 8, 3)[0, :2].tolist() == [[255, 0, 0], [0, 0, 255]]
    assert decode(tmp_path / "clear.png", 8, 8, 3)[0, :2].tolist() == [[255, 255, 255], [0, 0, 255]]
    assert decode(tmp_path / "p.png", 8, 8, 1)[0, :2, 0].tolist() == [76, 29]
    Image.new("1", (8, 8), 1).save(tmp_path / "bits.png")
    assert (decode(tmp_path / "bits.png", 8, 8, 3) == 255).all()
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg")
    assert abs(decode(tmp_path / "cmyk.jpg", 8, 8, 3) - np.array([255.0, 0, 0])).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    upright = np.zeros((8, 8), np.uint8)
    upright[:4, :4], upright[:4, 4:], upright[4:, :4] = 240, 160, 80  # four quadrants
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    png(tmp_path / "a.png", np.ascontiguousarray(stored), exif=exif)
    assert np.array_equal(decode(tmp_path / "a.png", 8, 8, 1)[..., 0], upright)
    Image.fromarray(np.ascontiguousarray(stored)).resize((32, 32), 0).save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert abs(decode(tmp_path / "a.jpg", 8, 8, 1)[..., 0].astype(int) - upright).mean() < 12


def test_animations_give_their_first_frame(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for name in ("a.gif", "a.png", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert abs(decode(tmp_path / name, 8, 8, 3) - np.array([255.0, 0, 0])).max() <= 2


# One file: geometry


@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 12), (30, 10)])
@pytest.mark.parametrize("size", [(40, 24), (17, 31), (50, 50)])
def test_resize_covers_and_crops_the_centre(tmp_path, size, height, width):
    smooth = np.add.outer(np.linspace(0, 120, size[1]), np.linspace(0, 120, size[0])).round().astype(np.uint8)
    path = png(tmp_path / "a.png", smooth)
    scale = max(height / size[1], width / size[0])
    rows = (np.arange(height) + 0.5 - height / 2) / scale / size[1]  # offsets from the centre, in image heights
    columns = (np.arange(width) + 0.5 - width / 2) / scale / size[0]
    step = [120 * n / (n - 1) for n in (size[1], size[0])]
    expected = 120 + np.add.outer(rows * step[0], columns * step[1])
    inner = decode(path, height, width, 1)[1:-1, 1:-1, 0]
    assert abs(inner - expected[1:-1, 1:-1]).max() <= 4
    assert abs(inner.mean() - 120) < 1  # centred


def test_downscaling_is_antialiased(tmp_path):
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    assert abs(decode(png(tmp_path / "a.png", stripes), 8, 8, 1).astype(int) - 127).max() <= 8


@pytest.mark.parametrize("size", [(1, 1), (1, 20000), (20000, 1)])
def test_extreme_shapes_stay_cheap(tmp_path, size):
    path = png(tmp_path / "a.png", np.full(size, 77, np.uint8))
    start = time.perf_counter()
    assert (decode(path, 32, 32, 3) == 77).all()
    assert time.perf_counter() - start < 1


# One file: refusals


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "zero": (lambda p: p.touch(), "zero bytes"),
    "text": (lambda p: p.write_text("not pixels"), "not an image"),
    "jpeg": (truncated("JPEG"), "truncated"),
    "png": (truncated("PNG"), "damaged|truncated"),
    "webp": (truncated("WEBP"), "damaged|not an image"),
    "bmp": (truncated("BMP"), "truncated"),
    "float": (lambda p: Image.new("F", (8, 8)).save(p, "TIFF"), "floating-point"),
    "int32": (lambda p: Image.new("I", (8, 8)).save(p, "TIFF"), "32-bit integer"),
    "eps": (lambda p: Image.new("RGB", (8, 8)).save(p, "EPS"), "not an image"),  # would start Ghostscript
    "9k": (header_only(9000), "9000x9000, more than 64 megapixels"),
    "10k": (header_only(10000), "more than 64 megapixels"),
    "60k": (header_only(60000), "more than 64 megapixels"),
    "fifo": (lambda p: os.mkfifo(p), "not a regular file"),
    "dangling": (lambda p: p.symlink_to("nowhere"), "no such file"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_unusable_files_are_named_in_one_line_at_once(tmp_path, kind):
    write, reason = REFUSED[kind]
    fill(tmp_path, 3)
    write(tmp_path / "bad\n1.png")
    start = time.perf_counter()
    with pytest.raises(DataError, match=rf"1 of 4 files cannot be used: bad\\n1.png \(.*({reason})") as caught:
        load(folder(tmp_path), "all")
    assert time.perf_counter() - start < 2
    assert "\n" not in str(caught.value)


def test_at_most_ten_faults_are_listed(tmp_path):
    fill(tmp_path, 2)
    for k in range(13):
        (tmp_path / f"bad{k:02}.png").touch()
    with pytest.raises(DataError, match=r"13 of 15 files .*bad09\.png \(zero bytes\), \.\.\.; repair") as caught:
        load(folder(tmp_path), "all")
    assert "bad10" not in str(caught.value)


def test_a_pixel_limit_is_kept_before_decoding(tmp_path):
    png(tmp_path / "ok.png", np.zeros((8000, 8000), np.uint8), compress_level=1)
    assert decode(tmp_path / "ok.png", 2, 2, 1).shape == (2, 2, 1)
    with pytest.raises(UnusableImageError, match="8000x8001"):
        decode(png(tmp_path / "big.png", np.zeros((8001, 8000), np.uint8), compress_level=1), 2, 2, 1)


# Layouts


def test_class_folders_with_train_and_test(tmp_path):
    for split, count in (("train", 4), ("test", 2)):
        fill(tmp_path / split / "dog", count, 100)
        fill(tmp_path / split / "cat/deeper", count, 10)
    here = folder(tmp_path, channels=1, validation_fraction=0.25)
    assert spec_of(here) == ImageSpec(1, 8, 8, 2)
    train, validation, test = (load(here, split) for split in ("train", "validation", "test"))
    assert train.class_names == ("cat", "dog")
    assert (len(train), len(validation)) == (6, 2)
    assert test.images[:, 0, 0, 0].tolist() == [10, 11, 100, 101]
    assert test.labels.tolist() == [0, 0, 1, 1]
    values = sorted(train.images[:, 0, 0, 0].tolist() + validation.images[:, 0, 0, 0].tolist())
    assert values == [10, 11, 12, 13, 100, 101, 102, 103]
    for part in (train, validation):
        assert torch.equal(part.labels, (part.images[:, 0, 0, 0] >= 100).long())
    everything = load(here, "all")
    assert len(everything) == 12
    assert everything.spec.classes == 0
    assert load(replace(here, labels=False), "train").spec == spec_of(replace(here, labels=False)) == ImageSpec(1, 8, 8)


def test_a_tenth_by_name_is_the_test_split(tmp_path):
    fill(tmp_path / "a", 100)
    fill(tmp_path / "b", 100, 100)
    here = folder(tmp_path, channels=1)
    train, test = load(here, "train"), load(here, "test")
    assert 10 <= len(test) <= 32
    before = {int(image[0, 0, 0]) for image in test.images}
    assert before | {int(image[0, 0, 0]) for image in train.images} == set(range(200))
    assert len(train) + len(test) == 200
    fill(tmp_path / "c", 30, 200)  # more files move none of the old ones
    assert {int(image[0, 0, 0]) for image in load(here, "test").images} & set(range(200)) == before


def test_a_train_folder_alone_gives_a_tenth_of_its_own(tmp_path):
    fill(tmp_path / "train/a", 100)
    here = folder(tmp_path, channels=1)
    assert spec_of(here).classes == 1
    parts = [load(here, split).images[:, 0, 0, 0].tolist() for split in ("train", "test")]
    assert sorted(parts[0] + parts[1]) == list(range(100))
    assert 2 <= len(parts[1]) <= 20


def test_images_directly_below_are_unlabelled(tmp_path):
    fill(tmp_path, 30)
    assert spec_of(folder(tmp_path)) == ImageSpec(3, 8, 8, 0)
    assert load(folder(tmp_path), "train").labels is None


def test_skipped_files_are_counted_and_hidden_ones_are_not_seen(tmp_path, caplog):
    fill(tmp_path, 3)
    fill(tmp_path / ".thumbnails", 3)
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "raw.CR2").touch()
    (tmp_path / "dir.png").mkdir()
    Image.new("L", (8, 8), 9).save(tmp_path / "UPPER.PNG")
    with caplog.at_level(logging.WARNING):
        found = load(folder(tmp_path, labels=False), "all")
    assert len(found) == 4
    assert "skipped 2 files that are no images: notes.txt, raw.CR2" in caplog.text


def test_what_systems_leave_is_neither_class_nor_image(tmp_path, caplog):
    for name in ("a", "b", "__MACOSX/a", "@eaDir", "b/@eaDir", ".ipynb_checkpoints"):
        fill(tmp_path / name, 20)
    (tmp_path / "a" / "Thumbs.db").touch()
    with caplog.at_level(logging.WARNING):
        train, test = (load(folder(tmp_path), split) for split in ("train", "test"))
    assert train.class_names == ("a", "b") and len(train) + len(test) == 40 and caplog.text == ""


def test_names_that_are_no_text_and_links_are_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    fill(elsewhere, 1, 50)
    here = tmp_path / "here"
    fill(here, 1)
    os.rename(os.fsencode(here / "000.png"), os.fsencode(here) + b"/\xff\xfe.png")
    (here / "link.png").symlink_to(elsewhere / "000.png")
    (here / "folder").symlink_to(elsewhere)
    found = load(folder(here, channels=1, labels=False), "all")
    assert sorted(found.images[:, 0, 0, 0].tolist()) == [0, 50, 50]
    (here / "loop").symlink_to(here)
    with pytest.raises(DataError, match="link to a folder above it"):
        load(folder(here), "all")


def test_layouts_that_cannot_be_told_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        load(folder(tmp_path / "none"), "train")
    with pytest.raises(DataError, match="no images for the train split"):
        load(folder(tmp_path), "train")
    fill(tmp_path / "few", 1)
    with pytest.raises(DataError, match=r"none of 1 falls into the test split, .* divide them into train/ and test/"):
        load(folder(tmp_path / "few"), "test")
    fill(tmp_path / "test/cat", 2)
    shutil.rmtree(tmp_path / "few")
    with pytest.raises(DataError, match="no train/"):
        load(folder(tmp_path), "train")
    fill(tmp_path / "train/dog", 2)
    with pytest.raises(DataError, match="cat/ is not one of the 1 training classes"):
        load(folder(tmp_path), "test")
    (tmp_path / "train/owl").mkdir()
    with pytest.raises(DataError, match="owl/ holds no images"):
        load(folder(tmp_path), "train")
    (tmp_path / "train/owl").rmdir()
    fill(tmp_path / "train", 1)
    with pytest.raises(DataError, match=r"000.png lies beside class folders"):
        load(folder(tmp_path), "train")


def test_threads_do_not_change_the_result(tmp_path, monkeypatch):
    for k in range(40):
        png(tmp_path / f"{k}.png", RNG.integers(0, 256, (5 + k, 9, 3), np.uint8))
    prints = []
    for cores in (1, 3):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cores: set(range(n)))
        prints.append(load(folder(tmp_path), "all").fingerprint)
    monkeypatch.delattr(os, "sched_getaffinity")  # macOS has none
    prints.append(load(folder(tmp_path), "all").fingerprint)
    assert len(set(prints)) == 1
