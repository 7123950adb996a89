"""Which of several processes has stopped answering: asked in a group of its own, once a collective call has failed."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from accelerate import PartialState

from genvision.errors import PeerError, is_of_a_peer

ANSWER = timedelta(seconds=10)


class Peers:
    """The other processes of a run. A group whose call has failed can no longer be used, so there is one to ask in."""

    def __init__(self) -> None:
        self._group: Any = dist.new_group(backend="gloo") if PartialState().num_processes > 1 else None

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
