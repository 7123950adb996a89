"""What is here, as `genvision doctor` prints it: devices, precisions, versions, launch, datasets, extractors."""

from __future__ import annotations

import os
import platform

from genvision.errors import ConfigError
from genvision.machine import available_cores, installed_version

PACKAGES = (
    *("genvision", "torch", "torchvision", "diffusers", "accelerate", "torch-fidelity", "timm"),
    *("einops", "omegaconf", "safetensors", "huggingface-hub", "numpy", "pillow", "matplotlib", "scipy"),
)
OPTIONAL = ("datasets", "tensorboard")
_LAUNCH_VARIABLES = ("ACCELERATE_", "WORLD_SIZE", "RANK", "LOCAL_", "MASTER_", "OMP_NUM_THREADS")
_HIDDEN = ("TOKEN", "KEY", "SECRET", "PASSWORD")


def check_torchvision() -> None:
    """Raises ConfigError with the remedy where torch and torchvision were built for different torches."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        pair = f"torch {installed_version('torch')} and torchvision {installed_version('torchvision')}"
        raise ConfigError(
            f"{pair} are builds that do not fit together; run: pip install -U 'torch>=2.14' 'torchvision>=0.29'"
        ) from error


def doctor_text() -> str:
    """The report, one section after the other, a fact a line. Raises ConfigError for a mismatched torchvision."""
    check_torchvision()
    sections = {
        "machine": _machine(),
        "devices": _devices(),
        "versions": [f"{name} {installed_version(name)}" for name in (*PACKAGES, *OPTIONAL)],
        "launch": _launch(),
        "datasets": _datasets(),
        "extractors": _extractors(),
    }
    return "\n".join(f"{title}\n" + "\n".join(f"  {line}" for line in lines) for title, lines in sections.items())


def _machine() -> list[str]:
    import torch

    from genvision.training.precision import cpu_capabilities, has_bf16

    native = [name for name, has in cpu_capabilities().items() if has and name in ("avx512_bf16", "amx_bf16")]
    bf16 = (
        f"native ({', '.join(native)})" if has_bf16(torch.device("cpu")) else "emulated, so precision auto is float32"
    )
    return [
        f"Python {platform.python_version()} on {platform.system()} {platform.machine()}",
        f"CPU cores {available_cores()} usable of {os.cpu_count()}; torch threads {torch.get_num_threads()}",
        f"CPU capability {torch.backends.cpu.get_cpu_capability()}; bf16 {bf16}",
    ]


def _devices() -> list[str]:
    import torch

    from genvision.training.precision import has_bf16

    lines = []
    for i in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(i)
        bf16 = "bf16" if has_bf16(torch.device("cuda", i)) else "no bf16"
        lines.append(f"cuda:{i} {properties.name}, {properties.total_memory / 2**30:.0f} GiB, {bf16}, fp16")
    if torch.backends.mps.is_available():
        lines.append("mps (Apple)")
    return lines or ["no accelerator; everything runs on the CPU"]


def _launch() -> list[str]:
    """The launcher's variables; whatever could hold a secret is left out."""
    names = sorted(name for name in os.environ if name.startswith(_LAUNCH_VARIABLES))
    shown = [name for name in names if not any(word in name for word in _HIDDEN)]
    return [f"{name}={os.environ[name]}" for name in shown] or ["one process, started without a launcher"]


def _datasets() -> list[str]:
    from genvision.data import available

    rows = available()
    return [f"{row.name}: {row.where}" if row.where else f"{row.name}: not here; {row.get}" for row in rows]


def _extractors() -> list[str]:
    from genvision.evaluation.extractors import available

    return [f"{row.name}: {'ready, ' if row.ready else 'not ready, '}{row.reason}" for row in available()]
