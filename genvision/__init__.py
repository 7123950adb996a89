"""genvision: ConvNet, Vision Transformer or MLP-Mixer for generating images, with everything else held still.

`genvision.load(path_or_hub_id)` gives a trained model as a pipeline; training and scoring are commands: `genvision -h`.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("genvision")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+checkout"

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """`load`, imported when first asked for: a wrong key on the command line must answer before torch is read."""
    if name == "load":
        from genvision.doctor import check_torchvision

        check_torchvision()
        from genvision.pipelines import load

        return load
    raise AttributeError(f"module 'genvision' has no attribute {name!r}")
