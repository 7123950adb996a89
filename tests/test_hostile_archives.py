"""Archives made to do harm: nothing is written, nothing outside is read, and no few kilobytes become gigabytes."""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import datasets  # noqa: F401 - so that its import is not counted
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from payloads import payloads
from runs import tree
from shards import png
from test_data_stream import config_of

from genvision.data import archive
from genvision.data.idx import read_idx
from genvision.data.source import Source
from genvision.errors import DataError
from genvision.evaluation.images import read_images

GOOD = 3  # harmless examples before the harmful one
LIMIT = 10**6  # in place of 256 MB, so that a guard that fails does not take the machine with it


@contextlib.contextmanager
def little_memory():
    """No more than a few times the limit at any moment."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 8 * LIMIT
    finally:
        tracemalloc.stop()


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(archive, "MAX_BYTES", LIMIT)
    monkeypatch.setattr(archive, "MAX_OTHERS", 100)


def file(name: str, content: bytes, **changes) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in changes.items():
        setattr(member, key, value)
    return member, content


def example(stem: str, image: bytes) -> list:
    return [file(f"{stem}.png", image), file(f"{stem}.cls", b"1")]


def link(kind: bytes, target: str = "") -> list:
    return [file(f"bad.{suffix}", b"", type=kind, linkname=target) for suffix in ("png", "cls")]


def sparse(size: int) -> list:
    """A member of one written byte that says it has `size`, as GNU tar's version 1.0 of sparse files has it."""
    table = b"1\n%d\n1\n" % (size - 1)
    content = table.ljust(512, b"\0") + b"x"
    said = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "bad.png"}
    return [file("bad.png", content, pax_headers=said | {"GNU.sparse.realsize": str(size)}), file("bad.cls", b"1")]


def write_tar(path: Path, members: list) -> Path:
    path.parent.mkdir()
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w", format=tarfile.PAX_FORMAT) as out:
        for k in range(GOOD):
            for member, content in example(f"{k:03d}", png(k)):
                out.addfile(member, io.BytesIO(content))
        for member, content in members:
            out.addfile(member, io.BytesIO(content))
    return path


TARS = {  # what is added, and what becomes of it: so many more examples, or a refusal
    "above": (example("../../outside", png(9)), 1),
    "absolute": (example("/tmp/outside", png(9)), 1),
    "symbolic link": (link(tarfile.SYMTYPE, "/etc/passwd"), 0),
    "link above": (link(tarfile.SYMTYPE, "../../outside"), 0),
    "hard link": (link(tarfile.LNKTYPE, "000.png"), 0),
    "device": (link(tarfile.CHRTYPE), 0),
    "pipe": (link(tarfile.FIFOTYPE), 0),
    "folder": (link(tarfile.DIRTYPE), 0),
    "sparse": (sparse(2 * 10**7), "bad.png holds more than"),
    "large": (example("bad", b"\0" * (LIMIT + 1)), "bad.png holds more than"),
    "label": ([file("bad.png", png(9)), file("bad.cls", b"1" * (LIMIT + 1))], "bad.cls holds more than"),
    "nested": ([*example("bad", png(9)), file("bad.json.gz", gzip.compress(b"0" * (100 * LIMIT)))], 1),
    "twice": (example("002", png(9)), "Duplicate field"),
    "crowd of folders": (link(tarfile.DIRTYPE) * 400, "701 entries are neither image nor label, and 6 are; pack"),
    "crowd of links": (link(tarfile.SYMTYPE, "x") * 400, "701 entries are neither"),
    "crowd of captions": ([file(f"{k}.txt", b"a cat") for k in range(800)], "701 entries are neither"),
    "crowd of hidden": ([file(f".{k}.png", b"") for k in range(800)], "701 entries are neither"),
    "many": ([file(f".hidden{k}.png", b"") for k in range(600)], 0),
}


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [*((kind, "tar") for kind in TARS), *((kind, "tar.gz") for kind in ("above", "sparse", "large"))],
)
def test_a_tar_gives_images_or_is_refused_and_reaches_nothing(tmp_path, monkeypatch, kind, suffix):
    members, outcome = TARS[kind]
    path = write_tar(tmp_path / "a" / f"train-000.{suffix}", members)
    monkeypatch.chdir(path.parent)
    before = tree(tmp_path)
    with little_memory():
        if isinstance(outcome, int):
            found = list(Source(config_of(path), "train").read(0))
            assert len(found) == GOOD + outcome and {each.image[:4] for each in found} == {b"\x89PNG"}
        else:
            with pytest.raises(DataError, match=rf"^stream:.* cannot be (opened|read): {outcome}") as caught:
                list(Source(config_of(path), "train").read(0))
            assert "\n" not in str(caught.value)
    assert tree(tmp_path) == before and not Path("/tmp/outside.png").exists()


class Endless(io.RawIOBase):
    """A tar of folders that has no end, and how many of them were taken from it."""

    HEADER, taken = tarfile.TarInfo("a/").tobuf(), 0

    def read(self, size: int = -1) -> bytes:
        self.taken += size // len(self.HEADER)
        return self.HEADER * (size // len(self.HEADER))


def test_a_million_entries_that_are_nothing_are_not_read_to_their_end(monkeypatch):
    monkeypatch.undo()
    source = Endless()
    with pytest.raises(ValueError, match="^10,001 entries are neither image nor label, and 0 are; pack it anew$"):
        list(archive.bounded(source))
    assert 10_001 <= source.taken < 10_100


def test_a_shard_of_many_images_is_no_crowd(monkeypatch):
    """A hundred companions of each image, at any length of the archive."""
    monkeypatch.setattr(archive, "MAX_OTHERS", 0)
    one = b"".join(header.tobuf() + content.ljust(512, b"\0") for header, content in [file("a.png", b"x" * 512)])
    companions = tarfile.TarInfo("a.txt").tobuf() * 100
    assert len(list(archive.bounded(io.BytesIO((one + companions) * 20 + bytes(1024))))) == 20
    with pytest.raises(ValueError, match="101 entries"):
        list(archive.bounded(io.BytesIO(one + companions + companions)))


def test_an_npz_of_thousands_of_arrays_is_refused_before_they_are_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_DIRECTORY", 4000)
    for count in (50, 100):
        with zipfile.ZipFile(tmp_path / f"{count}.npz", "w") as out:
            for k in range(count):
                out.writestr(f"{k}.npy", b"")
    with pytest.raises(DataError, match=r'no array "images"'):
        read_images(tmp_path / "50.npz")
    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", lambda self: pytest.fail("the list was read"))
    with pytest.raises(DataError, match="100.npz: lists thousands of arrays; not a set of images"):
        read_images(tmp_path / "100.npz")


def test_no_member_but_images_and_labels_is_even_read(tmp_path):
    sentinel = tmp_path / "sentinel"
    suffixes = ("pth", "pt", "npy", "npz", "pickle", "pkl", "pyd", "msgpack", "json", "txt")
    for k, payload in enumerate(payloads(sentinel).values()):
        others = [file(f"bad.{suffix}", payload) for suffix in suffixes]
        path = write_tar(tmp_path / str(k) / "train-000.tar", [*example("bad", png(9)), *others])
        assert len(list(Source(config_of(path), "train").read(0))) == GOOD + 1
    assert not sentinel.exists()


@pytest.mark.parametrize("name", ["inside", "above", "absolute", "link"])
def test_a_row_that_names_a_file_instead_of_holding_one_gets_none_from_outside(tmp_path, name):
    """Bytes of the reader's own files would end up in what is trained, and drawn."""
    root, secret = tmp_path / "shards", tmp_path / "secret.png"
    root.mkdir()
    for place in (secret, root / "own.png"):
        place.write_bytes(png(200))
    (root / "link.png").symlink_to(secret)
    named = {"inside": root / "own.png", "above": root / "../secret.png", "absolute": secret, "link": root / "link.png"}
    table = pa.table({"image": [{"bytes": None, "path": str(named[name])}] * 3, "label": [0, 1, 2]})
    pq.write_table(table, root / "train-000.parquet")
    read = Source(config_of(root), "train").read(0)
    if name == "inside":
        assert next(read).image == str(named[name])
    else:
        with pytest.raises(DataError, match="example 0: its image is dict, not the bytes of a file"):
            next(read)


def zeros(path: Path, count: int) -> None:
    """An .npz whose array `images` is `count` zero bytes, compressed."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (count // 64, 1, 8, 8)}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out, out.open("images.npy", "w") as member:
        member.write(header.getvalue())
        for _ in range(count // LIMIT):
            member.write(bytes(LIMIT))


def test_a_compressed_bomb_among_drawn_images_is_refused_before_it_is_read(tmp_path):
    zeros(tmp_path / "bomb.npz", 64 * LIMIT)
    assert (tmp_path / "bomb.npz").stat().st_size < LIMIT
    with little_memory(), pytest.raises(DataError, match="claims a size a hundred times its own"):
        read_images(tmp_path / "bomb.npz")


def test_a_compressed_set_of_digits_is_no_bomb_either(tmp_path):
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(struct.pack(">I3I", 0x803, 10**6, 8, 8) + bytes(64 * LIMIT)))
    with little_memory(), pytest.raises(DataError, match="bomb.gz: cannot be read .holds more than"):
        read_idx(tmp_path / "bomb.gz", 3)
