"""What may come out of an archive that somebody else has made: images and labels, into memory, none of them too large.

Nothing is ever extracted to a disk, so names with `..`, absolute ones, links and devices lead nowhere; what is left to
guard against is size. A few kilobytes of a sparse or compressed member can stand for terabytes, and a megabyte of an
archive for a million entries that are nothing.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from genvision.data.decode import EXTENSIONS, MAX_PIXELS

MAX_BYTES = 4 * MAX_PIXELS  # what the largest image takes without any compression
MAX_RATIO = 100  # of what is large: images of a generator, even blank ones by the thousand, differ from each other
READ = {suffix[1:] for suffix in EXTENSIONS} | {"cls", "cls2", "label", "labels", "index", "inx", "id", "count"}

MAX_OTHERS = 10_000  # entries that give nothing: folders, captions; those of an example stand beside it, and are few
MAX_OTHERS_EACH = 100  # and as many more for each image or label that was given
MAX_DIRECTORY = 2**20  # bytes of a zip's list of its members: about ten thousand of them

Members = Iterable[tuple[str, BinaryIO]]


def guarded(builder: Any) -> Any:
    """The builder of a Hugging Face set; where it reads tars, it is given no members but those of `bounded`."""
    if read := getattr(builder, "_get_pipeline_from_tar", None):
        builder._get_pipeline_from_tar = _with_bounds(read)
    return builder


def _with_bounds(read: Callable[[str, Members], Iterator[dict]]) -> Callable[[str, Any], Iterator[dict]]:
    """The library passes over folders, links and devices without a word: `bounded` has to stand below that."""
    from datasets.utils.file_utils import ArchiveIterable

    class Archive(ArchiveIterable):
        @staticmethod
        def _iter_tar(f: BinaryIO) -> Members:
            return bounded(f)

    return lambda path, members: read(path, Archive._iter_from_urlpath(*members.args))


def bounded(file: BinaryIO) -> Members:
    """Images and labels of a tar alone: anything else that it may hold is not even read, so that nothing decodes it.

    Raises ValueError for a member of more than MAX_BYTES, and where too many entries are neither image nor label.
    """
    given = others = 0
    with _tar(file) as archive:
        for member in archive:
            archive.members = []  # it keeps them all
            if not _is_wanted(member):
                others += 1
                if others > MAX_OTHERS + MAX_OTHERS_EACH * given:
                    raise ValueError(f"{others:,} entries are neither image nor label, and {given:,} are; pack it anew")
                continue
            given += 1
            content = archive.extractfile(member).read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise ValueError(f"{member.name[:60]} holds more than {MAX_BYTES // 10**6} MB")
            yield member.name, io.BytesIO(content)


def _tar(file: BinaryIO) -> Any:
    return tarfile.open(fileobj=file, mode="r|*")


def _is_wanted(member: tarfile.TarInfo) -> bool:
    hidden = member.name.rpartition("/")[2].startswith((".", "__"))
    return member.isreg() and not hidden and member.name.rpartition(".")[2].lower() in READ


def unzipped(path: Path) -> bytes:
    """The content of a gzip file. Raises ValueError where it is more than MAX_BYTES, and what gzip raises."""
    with gzip.open(path) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"holds more than {MAX_BYTES // 10**6} MB")
    return content


def is_crowded(path: Path) -> bool:
    """Whether a zip archive lists more members than anything that is read here has, told before the list is read."""
    library: Any = zipfile
    with path.open("rb") as file:
        end = library._EndRecData(file)  # the same record, of 32 or 64 bits, that ZipFile goes by
    return bool(end) and end[5] > MAX_DIRECTORY


def is_bomb(member: zipfile.ZipInfo) -> bool:
    """Whether a member of a zip archive claims a size out of all proportion to what it takes."""
    return member.file_size > MAX_BYTES and member.file_size > MAX_RATIO * member.compress_size
