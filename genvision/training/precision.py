"""Which number format the networks compute in."""

from __future__ import annotations

from typing import Literal

import torch

from genvision.errors import ConfigError

Precision = Literal["no", "bf16", "fp16"]


def resolve_precision(choice: Literal["auto"] | Precision, device: torch.device) -> Precision:
    """The mixed precision to train in: `auto` is bf16 where the hardware multiplies it, else none.

    Weights, optimizer and EMA stay in float32 always. Raises ConfigError for fp16 without an accelerator: its loss
    scaling and its speed exist only there.
    """
    if choice == "auto":
        return "bf16" if has_bf16(device) else "no"
    if choice == "fp16" and device.type == "cpu":
        raise ConfigError("train.precision=fp16: needs an accelerator, this device is the CPU; use bf16, no or auto")
    return choice


def has_bf16(device: torch.device) -> bool:
    """Whether the device has bf16 arithmetic of its own; emulation is slower than float32 and does not count."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return any(cpu_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16"))
    return False


def cpu_capabilities() -> dict[str, bool]:
    """The instruction sets that matter here, by torch's names; older releases answer through separate questions."""
    if hasattr(torch.cpu, "get_capabilities"):
        return dict(torch.cpu.get_capabilities())
    asked = {"avx512_bf16": "_is_avx512_bf16_supported", "amx_bf16": "_is_amx_tile_supported"}
    return {name: getattr(torch.cpu, question, bool)() for name, question in asked.items()}
