"""What numbers depend on beside the settings that they are of: versions, and the kind of device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from genvision import __version__

CPU = "cpu"


def conditions() -> dict[str, Any]:
    """{"versions": {"genvision", "torch"}, "device"} of this process, in JSON's types."""
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device(CPU)
    return {"versions": {"genvision": __version__, "torch": _release(torch.__version__)}, "device": device.type}


def differ(record: Mapping[str, Any]) -> str | None:
    """In words, the conditions that a run's record tells of, where they are not those of this process; else None.

    A record holds the model of an accelerator, of which one is as good as another here.
    """
    packages, device, here = record.get("packages") or {}, record.get("device"), conditions()
    versions = {name: _release(str(packages.get(name))) for name in here["versions"]}
    if versions == here["versions"] and (device == CPU) == (here["device"] == CPU):
        return None
    return f"{' and '.join(f'{name} {version}' for name, version in versions.items())} on {device}"


def _release(version: str) -> str:
    """Without what it was built for: 2.9.1 of 2.9.1+cpu."""
    return version.split("+")[0]
