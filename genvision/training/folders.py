"""Folders that are either complete or absent: written beside, hashed, flushed, committed by one rename.

The order is what makes a crash harmless at any point: files and MANIFEST.json reach the disk under a temporary name,
then the folder is renamed, then the parent is flushed. Nothing that was committed is touched before that.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from genvision.errors import RunError
from genvision.faults import point
from genvision.storage import storage_error

MANIFEST = "MANIFEST.json"
FORMAT = 1
TEMPORARY = ".tmp-"


def commit(target: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    """Writes the files into the folder `target`, whole or not at all; a folder of that name is replaced.

    Leftovers of earlier crashes beside it are removed first. File modes follow the umask. Raises StorageError (disk
    full, permission, I/O) after removing what it had written.
    """
    needed = 0
    root, beside = target.parent, target.parent / f"{TEMPORARY}{target.name}-{os.getpid()}"
    try:
        if not root.is_dir():
            root.mkdir(parents=True)
            flush_folder(root.parent)
        for leftover in root.glob(f"{TEMPORARY}*"):
            shutil.rmtree(leftover)
        beside.mkdir()
        point("folder made")
        manifest = {}
        for name, content in files:
            needed = len(content)
            manifest[name] = write_file(beside / name, content)
        write_file(beside / MANIFEST, json.dumps({"format": FORMAT, "files": manifest}, indent=1).encode())
        flush_folder(beside)
        point("folder flushed")
        if target.exists():
            os.rename(target, beside.with_name(beside.name + "-replaced"))
            point("damaged one set aside")
        os.rename(beside, target)
        point("folder committed")
        flush_folder(root)
        point("parent flushed")
        shutil.rmtree(beside.with_name(beside.name + "-replaced"), ignore_errors=True)
    except OSError as fault:
        shutil.rmtree(beside, ignore_errors=True)
        raise storage_error(target, fault, needed) from fault
    return target


def write_file(path: Path, content: bytes) -> dict[str, int | str]:
    """Writes and flushes a new file; its line of the manifest."""
    with path.open("xb") as file:
        half = len(content) // 2
        file.write(memoryview(content)[:half])
        file.flush()
        point("half a file written")
        file.write(memoryview(content)[half:])
        file.flush()
        point("file written")
        os.fsync(file.fileno())
        point("file flushed")
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def flush_folder(folder: Path) -> None:
    """Makes the names in a folder durable, as fsync does for the contents of a file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard(folder: Path) -> None:
    """Removes a committed folder, renamed first so that no half of it is left under its name. Raises StorageError."""
    beside = folder.with_name(f"{TEMPORARY}{folder.name}-{os.getpid()}-discarded")
    try:
        os.rename(folder, beside)
        point("old folder set aside")
        shutil.rmtree(beside)
        point("old folder removed")
    except OSError as fault:
        raise storage_error(folder, fault) from fault


def verify(folder: Path, names: Iterable[str]) -> None:
    """Raises RunError unless the folder holds exactly these files as they were committed, byte for byte."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise RunError(f"{folder}: damaged or of another version ({MANIFEST} is not of format {FORMAT})")
        expected = manifest.get("files")
        if not isinstance(expected, dict) or set(expected) != set(names):
            raise RunError(f"{folder}: damaged ({MANIFEST} does not list its files)")
        for name in names:
            with (folder / name).open("rb") as file:
                found = {
                    "size": os.fstat(file.fileno()).st_size,
                    "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
                }
            if found != expected[name]:
                raise RunError(f"{folder}: damaged ({name} is not what was written)")
    except OSError as fault:
        raise RunError(f"{folder}: damaged ({Path(fault.filename or folder).name}: {fault.strerror})") from fault
    except (ValueError, RecursionError) as fault:
        raise RunError(f"{folder}: damaged ({MANIFEST} cannot be read)") from fault
