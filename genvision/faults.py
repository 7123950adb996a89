"""Points of writing at which a test has the process die or the disk fill up.

A promise that no crash loses a run is kept at every point or not at all, so the points are compiled in and counted.
Nothing happens at them unless GENVISION_FAULT is set:

    kill:N   SIGKILL at the N-th point that the process reaches (from 1)
    full:N   "No space left on device" there
    count    nothing; `reached` lists the points
"""

from __future__ import annotations

import errno
import os
import signal

reached: list[str] = []


def point(name: str) -> None:
    """What has just been done. Raises OSError, or kills the process, where GENVISION_FAULT says so."""
    fault = os.environ.get("GENVISION_FAULT")
    if fault is None:
        return
    reached.append(name)
    kind, _, number = fault.partition(":")
    if number and len(reached) == int(number):
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
