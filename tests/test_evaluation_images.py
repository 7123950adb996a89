"""Images from a folder or an NPZ file: exact bytes, and a one-line refusal that names the file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from genvision.errors import DataError
from genvision.evaluation.images import read_images, require_count


def pixels(n: int, channels: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (n, channels, 4, 6), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def save(folder, images, start: int = 0) -> None:
    for k, image in enumerate(images, start):
        array = image.permute(1, 2, 0).numpy()
        Image.fromarray(array.squeeze(2) if array.shape[2] == 1 else array).save(folder / f"{k:06d}.png")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_reads_back_in_the_order_of_its_names(tmp_path, channels):
    images = pixels(12, channels)
    save(tmp_path, images.flip(0))
    (tmp_path / "notes.txt").write_text("ignored")
    assert torch.equal(read_images(tmp_path), images.flip(0))


@pytest.mark.parametrize("last", [False, True])
def test_an_npz_reads_back_from_both_layouts(tmp_path, last):
    images = pixels(5)
    array = images.permute(0, 2, 3, 1).numpy() if last else images.numpy()
    np.savez(tmp_path / "x.npz", images=array)
    assert torch.equal(read_images(tmp_path / "x.npz"), images)


def refused(path, match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        read_images(path)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 3


def test_odd_folders_are_refused_by_name(tmp_path):
    refused(tmp_path / "nowhere", "nowhere: neither a folder")
    refused(tmp_path, "no PNG files")
    save(tmp_path, pixels(3))
    Image.new("RGB", (9, 9)).save(tmp_path / "grid.png")
    refused(tmp_path, r"grid\.png: 3x9x9")
    Image.new("L", (6, 4)).save(tmp_path / "grid.png")
    refused(tmp_path, r"grid\.png: 1x4x6")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "I;16"])
def test_other_modes_are_refused(tmp_path, mode):
    Image.new(mode, (6, 4)).save(tmp_path / "a.png")
    refused(tmp_path, rf"a\.png: mode {mode}")


def test_lossy_files_are_refused(tmp_path):
    save(tmp_path, pixels(2))
    Image.new("RGB", (6, 4)).save(tmp_path / "a.jpg")
    refused(tmp_path, r"a\.jpg: scores need lossless")


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "jpeg"])
def test_a_damaged_file_is_named(tmp_path, damage):
    save(tmp_path, pixels(3))
    path = tmp_path / "000001.png"
    if damage == "jpeg":
        Image.new("RGB", (6, 4)).save(path, format="JPEG")
    else:
        path.write_bytes({"truncated": path.read_bytes()[:60], "text": b"hello", "empty": b""}[damage])
    refused(tmp_path, r"000001\.png: not a readable PNG")


def test_a_huge_header_is_refused_before_it_is_decoded(tmp_path):
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side, match in ((9_000, "more than 64,000,000"), (60_000, "not a readable PNG")):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
        refused(tmp_path, rf"a\.png.*{match}")


def test_the_same_picture_twice_is_refused(tmp_path):
    images = pixels(4)
    save(tmp_path, images)
    save(tmp_path, images[1:2], start=9)
    refused(tmp_path, r"000009\.png and 000001\.png have the same pixels")
    np.savez(tmp_path / "x.npz", images=images[[0, 1, 0]].numpy())
    refused(tmp_path / "x.npz", r"x\.npz\[2\] and x\.npz\[0\]")


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"pictures": np.zeros((2, 3, 4, 4), np.uint8)}, 'no array "images"'),
        ({"images": np.zeros((2, 3, 4, 4), np.float32)}, "float32; it must be uint8"),
        ({"images": np.zeros((2, 4, 4), np.uint8)}, "2x4x4"),
        ({"images": np.zeros((0, 3, 4, 4), np.uint8)}, "N >= 1"),
        ({"images": np.zeros((2, 4, 5, 4), np.uint8)}, "one or three channels"),
        ({"images": np.array([object()])}, "not a readable"),
    ],
)
def test_odd_npz_files_are_refused(tmp_path, arrays, match):
    np.savez(tmp_path / "x.npz", **arrays)
    refused(tmp_path / "x.npz", match)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY"])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    refused(tmp_path / "x.npz", "not a readable")


@pytest.mark.parametrize("found", [1984, 2001, 0])
def test_a_wrong_count_is_refused(found):
    require_count(2000, 2000)
    with pytest.raises(DataError, match=f"found {found} images where 2000"):
        require_count(found, 2000)
