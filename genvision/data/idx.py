"""IDX, the format of the MNIST family: magic number, big-endian sizes, bytes. Plain or gzip-compressed."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from genvision.data.archive import unzipped
from genvision.errors import DataError


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """The uint8 array of `ndim` axes in an IDX file. Raises DataError where it is damaged or is not one."""
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = unzipped(path)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); install or download the set again") from error
    start = 4 + 4 * ndim
    if len(data) < start or data[:4] != bytes((0, 0, 8, ndim)):  # 8: unsigned bytes
        raise DataError(f"{path}: is not an IDX file of {ndim} axes of bytes; install or download the set again")
    shape = struct.unpack(f">{ndim}I", data[4:start])
    array = np.frombuffer(data, np.uint8, offset=start)
    if array.size != np.prod(shape, dtype=np.int64):
        raise DataError(f"{path}: holds {array.size} values where its header says {shape}; get the set again")
    return array.reshape(shape)
