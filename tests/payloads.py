"""Files that would run a command where anything unpickles them."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch


class Reduced:
    """Runs a command as it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


class Restored:
    """Runs it as its state is put back, which no list of forbidden functions would find."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __setstate__(self, state: dict) -> None:
        os.system(state["command"])


def payloads(sentinel: Path) -> dict[str, bytes]:
    """name -> the bytes of a file; each makes `sentinel` if it is ever unpickled."""
    command = f"touch {sentinel}"
    reduced, objects = pickle.dumps(Reduced(command)), np.array([Reduced(command)], dtype=object)
    return {
        "reduce": reduced,
        "setstate": pickle.dumps(Restored(command)),
        "pt": _written(torch.save, Reduced(command)),
        "nested pt": _written(torch.save, {"state": [Reduced(command)]}),
        "legacy pt": _written(torch.save, Reduced(command), _use_new_zipfile_serialization=False),
        "tar pt": _tar({"pickle": reduced, "tensors": b"", "storages": b""}),
        "npy": _written(lambda array, file: np.save(file, array), objects),
        "npz": _written(lambda array, file: np.savez(file, images=array, mu=array, pool=array), objects),
        "zip of pickles": _zip({"archive/data.pkl": reduced, "archive/version": b"3\n"}),
        "joblib": b"ZF" + reduced,
        "metadata": pickle.dumps({"state_dict_metadata": Reduced(command), "storage_data": None}),
        "header and pickle": (2).to_bytes(8, "little") + b"{}" + reduced,
    }


def _written(save: Callable, thing: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    save(thing, buffer, **options)
    return buffer.getvalue()


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
