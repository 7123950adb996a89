"""What several processes make of shared work, one after another in this process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import TypeVar
from unittest.mock import patch

from genvision.sampling import sharing

T = TypeVar("T")


class HeardError(Exception):
    """A process has said what it did, and would now wait for the others."""


def every_process(n: int, job: Callable[[], T]) -> list[T]:
    """What `job()` returns in each of n processes; it runs once to hear what each says, then to tell them all of it."""
    said: list = []

    def hear(done: list) -> list:
        said.extend(done)
        raise HeardError

    def run(rank: int, gather: Callable[[list], list]) -> T:
        state = SimpleNamespace(num_processes=n, process_index=rank, is_main_process=rank == 0)
        with patch.object(sharing, "processes", lambda: state), patch.object(sharing, "gather_object", gather):
            return job()

    for rank in range(n):
        with suppress(HeardError):
            run(rank, hear)
    return [run(rank, lambda _: said) for rank in range(n)]
