"""Files and folders that are either whole or absent: write beside the target, then rename over it."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from genvision.errors import ConfigError, StorageError
from genvision.faults import point

REMEDIES = {  # of a refusal to write; any other may have several causes
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space or choose another folder"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "mend the permissions or choose another folder"),
    **dict.fromkeys((errno.EROFS, errno.ENOENT, errno.ENOTDIR), "choose another folder"),
}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what was written there, a file or a folder, replaces `path` at the end.

    A reader sees the old one or the new one, never a part. What writers of `path` on this machine left that were killed
    is removed. Raises StorageError (exit 6) when the disk refuses.
    """
    temporary = path.parent / f".{path.name}.{platform.node()}-{os.getpid()}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in _left_behind(path):
            with suppress(FileNotFoundError):  # another writer may do the same
                _remove(left)
        try:
            yield temporary
            point("temporary written")
            if temporary.is_file():
                with temporary.open("rb") as written:
                    os.fsync(written.fileno())
            os.replace(temporary, path)
            point("target replaced")
        finally:
            if temporary.is_dir():
                shutil.rmtree(temporary)
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process after another into a folder, which is made where it is not there.

    The lock is on the folder itself: it ends with its process and leaves nothing behind. A file system that cannot lock
    lets everybody in. Raises StorageError where the folder cannot be made.
    """
    with _opened(folder) as handle:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Have a folder to oneself, and free it of what writers that were killed have left below it.

    The lock is that of `one_at_a_time`, but nobody waits: raises ConfigError where another process holds it.
    """
    with _opened(folder) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{folder} is in use by another process; let that one end, or set another run.name"
            ) from error
        except OSError:  # a file system without locks
            pass
        sweep(folder, ".*.tmp", ".tmp-*")
        yield


def sweep(folder: Path, *patterns: str) -> None:
    """Remove files and folders of these names below a folder. Raises StorageError where they cannot be."""
    try:
        for left in [path for pattern in patterns for path in folder.rglob(pattern)]:
            _remove(left)
    except OSError as error:
        raise StorageError(f"cannot clear {folder}: {error.strerror}; mend its permissions") from error


def _left_behind(path: Path) -> Iterator[Path]:
    """The temporaries beside `path` whose process, here on this machine, is no more."""
    ours = re.compile(re.escape(f".{path.name}.{platform.node()}-") + r"(\d+)\.tmp")
    for other in list(path.parent.iterdir()):
        if (named := ours.fullmatch(other.name)) and (int(named[1]) == os.getpid() or not _lives(int(named[1]))):
            yield other


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        pass
    return True


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise storage_error(folder, error) from error
    try:
        yield handle
    finally:
        os.close(handle)


def require_writable(path: Path) -> None:
    """StorageError where no file or folder can be made at `path`, before hours go into it; the trial leaves nothing."""
    place = _nearest_there(path.absolute().parent)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise storage_error(path, error) from error


def storage_error(path: Path, fault: OSError, needed: int = 0) -> StorageError:
    """One line: what could not be written, why, what to do; of a disk without room what it needed and what is free."""
    remedy = REMEDIES.get(fault.errno or 0, "free some space, mend the permissions or choose another folder")
    why = fault.strerror or str(fault)
    if "free some space" in remedy:
        room = f"{shutil.disk_usage(_nearest_there(path.absolute())).free / 2**20:.1f} MiB free"
        why += f" ({needed / 2**20:.1f} MiB needed, {room})" if needed else f" ({room})"
    return StorageError(f"cannot write {path}: {why}; {remedy}")


def _nearest_there(path: Path) -> Path:
    """The path, or the nearest folder above it that is there; one above, too, where one may not look."""
    return next(place for place in (path, *path.parents) if os.path.exists(place))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, with the same bytes on every platform."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode())
