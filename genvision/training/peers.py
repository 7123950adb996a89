"""Which of several processes has stopped answering, and where: asked in a group of its own, once a call has failed."""

from __future__ import annotations

import faulthandler
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist
from accelerate import PartialState

from genvision.errors import PeerError, is_of_a_peer

T = TypeVar("T")
ANSWER = timedelta(seconds=10)


class Peers:
    """The other processes of a run. A group whose call has failed can no longer be used, so there is one to ask in."""

    def __init__(self, timeout_minutes: float) -> None:
        self._patience = 0.8 * 60 * timeout_minutes  # seconds in one step, before a collective call gives up
        self._group: Any = dist.new_group(backend="gloo") if PartialState().num_processes > 1 else None

    def watched(self, steps: Iterator[T]) -> Iterator[T]:
        """The steps as they come. A process of several that is in one for most of the time-out, because it hangs or
        waits for another that does, writes to stderr where it stands, and goes on."""
        if self._group is None:
            yield from steps
            return
        while True:
            faulthandler.dump_traceback_later(self._patience, file=sys.__stderr__ or sys.stderr)
            try:
                step = next(steps, None)
            finally:
                faulthandler.cancel_dump_traceback_later()
            if step is None:
                return
            yield step

    def explained(self, error: BaseException) -> BaseException:
        """The error itself; or, of a collective call that failed, a PeerError that names who does not answer."""
        if self._group is None or not isinstance(error, Exception) or not is_of_a_peer(error):
            return error
        try:
            dist.monitored_barrier(self._group, timeout=ANSWER, wait_all_ranks=True)
        except RuntimeError as fault:  # which only the first process is told in full
            found = re.search(r"Ranks ([\d, ]+) failed", str(fault))
            return PeerError(f"process {found[1]} does not answer" if found else "another process does not answer")
        return PeerError(f"a collective call failed, though every process answers: {str(error).splitlines()[0]}")
