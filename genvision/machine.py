"""What a process finds on its machine: the cores it may use, the packages that are installed."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version


def available_cores() -> int:
    """Cores this process may run on: containers and batch systems often grant fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def installed_version(package: str) -> str:
    """The version of a package, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
