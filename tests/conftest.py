"""Settings of every test session: no network, one thread per worker, reproducible property tests."""

from __future__ import annotations

import os
import socket

os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores; must be set before torch is imported
    os.environ["OMP_NUM_THREADS"] = "1"

from hypothesis import settings

settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")

_connect = socket.socket.connect


def _connect_here(self: socket.socket, address: object) -> None:
    """Whatever a test does, it does without the network: only this machine may be talked to."""
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError("tests have no network")
    _connect(self, address)


socket.socket.connect = _connect_here
