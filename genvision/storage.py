"""Files and folders that are either whole or absent: write beside the target, then rename over it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genvision.errors import StorageError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what was written there, a file or a folder, replaces `path` at the end.

    A reader sees the old one or the new one, never a part. Raises StorageError (exit 6) when the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            if temporary.is_file():
                with temporary.open("rb") as written:
                    os.fsync(written.fileno())
            os.replace(temporary, path)
        finally:
            if temporary.is_dir():
                shutil.rmtree(temporary)
            temporary.unlink(missing_ok=True)
    except OSError as error:
        why = error.strerror or error
        raise StorageError(f"cannot write {path}: {why}; free space or choose another folder") from error


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, with the same bytes on every platform."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())
