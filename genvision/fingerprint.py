"""Weights, known by what they hold."""

from __future__ import annotations

import hashlib

from torch import nn


def weights_sha256(module: nn.Module) -> str:
    """Hex SHA-256 over names and bytes of all weights and kept buffers of a module, on whatever device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def short_hash(module: nn.Module) -> str:
    """Its first 16 digits: a model's name wherever another one is told by its weights, in protocols and codecs."""
    return weights_sha256(module)[:16]
