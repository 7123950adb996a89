"""Settings of every test session: no network, one thread per worker, reproducible property tests."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores; must be set before torch is imported
    os.environ["OMP_NUM_THREADS"] = "1"

from hypothesis import settings

settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")

OFFLINE = Path(__file__).with_name("offline")  # on the path of every process that a test starts, and run in this one
os.environ["PYTHONPATH"] = os.pathsep.join([str(OFFLINE), *filter(None, [os.environ.get("PYTHONPATH")])])
runpy.run_path(str(OFFLINE / "sitecustomize.py"))
