"""What may come out of an archive that somebody else has made: images and labels, into memory, none of them too large.

Nothing is ever extracted to a disk, so names with `..`, absolute ones, links and devices lead nowhere; what is left to
guard against is size. A few kilobytes of a sparse or compressed member can stand for terabytes.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipInfo

from genvision.data.decode import EXTENSIONS, MAX_PIXELS

MAX_BYTES = 4 * MAX_PIXELS  # what the largest image takes without any compression
MAX_RATIO = 100  # of what is large: images of a generator, even blank ones by the thousand, differ from each other
READ = {suffix[1:] for suffix in EXTENSIONS} | {"cls", "cls2", "label", "labels", "index", "inx", "id", "count"}

Members = Iterable[tuple[str, BinaryIO]]


def guarded(builder: Any) -> Any:
    """The builder of a Hugging Face set; where it reads tars, it is given no members but those of `bounded`."""
    if read := getattr(builder, "_get_pipeline_from_tar", None):
        builder._get_pipeline_from_tar = _with_bounds(read)
    return builder


def _with_bounds(read: Callable[[str, Members], Iterator[dict]]) -> Callable[[str, Members], Iterator[dict]]:
    return lambda path, members: read(path, bounded(members))


def bounded(members: Members) -> Members:
    """Images and labels alone: anything else that an example may hold is not even read, so that nothing decodes it.

    Raises ValueError for a member of more than MAX_BYTES.
    """
    for name, file in members:
        if name.rpartition(".")[2].lower() in READ:
            content = file.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise ValueError(f"{name[:60]} holds more than {MAX_BYTES // 10**6} MB")
            yield name, io.BytesIO(content)


def unzipped(path: Path) -> bytes:
    """The content of a gzip file. Raises ValueError where it is more than MAX_BYTES, and what gzip raises."""
    with gzip.open(path) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"holds more than {MAX_BYTES // 10**6} MB")
    return content


def is_bomb(member: ZipInfo) -> bool:
    """Whether a member of a zip archive claims a size out of all proportion to what it takes."""
    return member.file_size > MAX_BYTES and member.file_size > MAX_RATIO * member.compress_size
