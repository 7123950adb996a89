"""The errors a user can meet: one line each (what, where, what to do) and the exit code that goes with it."""

from __future__ import annotations

import sys
from collections.abc import Callable


class GenvisionError(Exception):
    """Base of every error that the command line prints as one line; `exit_code` is what the process returns."""

    exit_code = 1


class ConfigError(GenvisionError):
    """A key, value or argument is wrong, or the asked cell cannot be built."""

    exit_code = 2


class DataError(GenvisionError):
    """A dataset, an image, a reference or an extractor is missing, damaged or of the wrong count."""

    exit_code = 3


class RunError(GenvisionError):
    """A run folder, checkpoint or exported model is missing, damaged or refused."""

    exit_code = 4


class NonFiniteError(GenvisionError):
    """A loss, gradient or sample is not finite."""

    exit_code = 5


class StorageError(GenvisionError):
    """Writing or reading failed: disk full, permission, I/O."""

    exit_code = 6


class PeerError(GenvisionError):
    """Another process of the same run failed or hangs."""

    exit_code = 8


class SignalError(GenvisionError):
    """A signal ended the command; `signal` is its name."""

    exit_code = 143

    def __init__(self, signal: str) -> None:
        super().__init__(f"interrupted by {signal}")
        self.signal = signal


def is_out_of_memory(error: Exception) -> bool:
    """Of Python, of torch on an accelerator, or of torch on the CPU, which has no type of its own for it."""
    on_accelerator, on_cpu = type(error).__name__ == "OutOfMemoryError", "DefaultCPUAllocator" in str(error)
    return isinstance(error, MemoryError) or on_accelerator or on_cpu


def is_of_a_peer(error: Exception) -> bool:
    """Of a collective call that another process took no part in: NCCL has a type for it, Gloo only its name."""
    return type(error).__name__.startswith("Dist") or "gloo" in str(error).lower()


def one_line(message: str) -> str:
    """What stderr says of an error."""
    return f"genvision: error: {' '.join(message.split())}"


def run_script(main: Callable[[], None]) -> None:
    """Run a script's `main`; an error that a user can meet becomes its line on stderr and its exit code."""
    try:
        main()
    except GenvisionError as error:
        print(one_line(str(error)), file=sys.stderr)
        raise SystemExit(error.exit_code) from None
