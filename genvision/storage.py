"""Files that are either whole or absent: write beside the target, then rename over it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genvision.errors import StorageError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what was written there replaces `path` when the block ends well.

    A reader sees the old file or the new one, never a part. Raises StorageError (exit 6) when the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        why = error.strerror or error
        raise StorageError(f"cannot write {path}: {why}; free space or choose another folder") from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, with the same bytes on every platform."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())
