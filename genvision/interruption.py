"""Signals that end a run: Control-C, a batch system's SIGTERM, Slurm's warning SIGUSR1.

A command ends with one line at once. Training ends between two steps, on all processes at the same one, so that a
checkpoint can be written; nothing but a flag is set in the handler itself.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType

from genvision.errors import SignalError

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name))
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Signals:
    """Raises SignalError wherever the process is, or notes them inside `deferred()`.

    received  the name of the first signal; None before
    A second Control-C is never deferred: it raises KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._waits = False

    @contextmanager
    def caught(self) -> Iterator[Signals]:
        """Handle the signals in here. Only a process's main thread can; elsewhere this does nothing."""
        mine = threading.current_thread() is threading.main_thread()
        before = {number: signal.signal(number, self._handle) for number in SIGNALS if mine}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def deferred(self) -> AbstractContextManager[None]:
        """Note a signal instead of raising."""
        return self._waiting(True)

    def at_once(self, alone: bool) -> AbstractContextManager[None]:
        """Inside `deferred()`, raise again; not so where other processes wait in the same collective call."""
        return self._waiting(False) if alone else nullcontext()

    @contextmanager
    def _waiting(self, waits: bool) -> Iterator[None]:
        before, self._waits = self._waits, waits
        try:
            yield
        finally:
            self._waits = before

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if name == self.received == "SIGINT":
            raise KeyboardInterrupt
        self.received = self.received or name
        if not self._waits:
            raise SignalError(self.received)


def follow_launcher() -> None:
    """Have Linux send SIGTERM when the launcher dies: `accelerate launch` does not pass on the one that ends it."""
    if sys.platform == "linux" and "ACCELERATE_MIXED_PRECISION" in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
