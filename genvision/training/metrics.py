"""metrics.jsonl: one strict JSON object a line, and the same numbers for TensorBoard where asked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from genvision.errors import ConfigError
from genvision.storage import storage_error, write_text


class MetricsLog:
    """Appends records to `path`; for the main process only.

    path         metrics.jsonl; its folder is made
    tensorboard  also write scalars to `tensorboard/` beside it
    step         where training goes on: later lines, left by an attempt that was interrupted, are dropped, so that the
                 file ends up as an uninterrupted run's (timings aside)
    Raises ConfigError where TensorBoard is asked for and not installed, StorageError where the file cannot be written.
    """

    def __init__(self, path: Path, tensorboard: bool = False, step: int = 0) -> None:
        self.path = path
        self._board = _summary_writer(path.parent / "tensorboard", step) if tensorboard else None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                _keep_until(path, step)
            self._file = path.open("a", encoding="utf-8")
        except OSError as fault:
            raise storage_error(path, fault) from fault

    def write(self, record: Mapping[str, float]) -> None:
        """Appends one record, which holds "step"; a value that is not finite becomes null."""
        clean = {name: value if math.isfinite(value) else None for name, value in record.items()}
        try:
            self._file.write(json.dumps(clean, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as fault:
            raise storage_error(self.path, fault) from fault
        if self._board is not None:
            for name, value in clean.items():
                if name != "step" and value is not None:
                    self._board.add_scalar(name, value, int(record["step"]))

    def close(self) -> None:
        """Closes the file and TensorBoard's. Raises StorageError for a line that still finds no room."""
        try:
            self._file.close()
        except OSError as fault:
            raise storage_error(self.path, fault) from fault
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _keep_until(path: Path, step: int) -> None:
    """Drops lines of later steps, and a last line that a crash cut short."""
    kept = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if _step_of(line) <= step]
    write_text(path, "".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, TypeError, KeyError):
        return math.inf


def require_tensorboard() -> None:
    """Raises ConfigError where TensorBoard is not installed: to be asked before anything is written."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as fault:
        raise ConfigError(
            "log.tensorboard: TensorBoard is not installed; pip install 'genvision[tensorboard]' or set it to false"
        ) from fault


def _summary_writer(folder: Path, step: int):
    require_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)
