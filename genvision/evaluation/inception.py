"""torch-fidelity's port of the 2015-12-05 Inception network, rearranged to run twice as fast on a CPU.

Layers and weights are theirs. Batch norms are folded into the convolutions before them, the resize is two matrix
products, and a gray image is resized once.
"""

from __future__ import annotations

import io
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

SIDE = 299  # pixels of what the first convolution sees


class Inception(nn.Module):
    """(B,1|3,H,W) uint8 -> pooled features (B,2048), logits (B,1008) without their bias, as the inception score has it.

    state  tensors of the weights file, as torch-fidelity names them
    """

    def __init__(self, state: dict[str, Tensor]) -> None:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        super().__init__()
        # It unpickles whatever it is given without restriction, so it is given bytes that we wrote ourselves.
        safe = io.BytesIO()
        torch.save(state, safe)
        safe.seek(0)
        *layers, classifier = fold(FeatureExtractorInceptionV3("inception", ["2048"], safe).eval()).children()
        self.layers, self.classifier = nn.Sequential(*layers), classifier

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = (resize(images.float(), SIDE) - 128) / 128
        x = x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        pool = self.layers(x).flatten(1)
        return pool, F.linear(pool, self.classifier.weight)


def fold(net: nn.Module) -> nn.Module:
    """`net`, the batch norm `bn` of each of its modules folded into the convolution `conv` before it (eval mode)."""
    for module in net.modules():
        if isinstance(norm := getattr(module, "bn", None), nn.BatchNorm2d):
            module.conv, module.bn = fuse_conv_bn_eval(module.conv, norm), nn.Identity()
    return net


def resize(x: Tensor, side: int) -> Tensor:
    """(B,C,H,W) -> (B,C,side,side), bilinear as TensorFlow 1 had it: pixel i lies at i H / side, not antialiased."""
    rows, columns = (weights(size, side).to(x.device) for size in x.shape[2:])
    return rows @ x @ columns.T


@cache
def weights(size: int, side: int) -> Tensor:
    """(side,size) float32: what each new pixel takes of the old ones; positions in float32, as there."""
    at = torch.arange(side, dtype=torch.float32) * torch.tensor(size / side, dtype=torch.float32)
    low = at.long()
    share = (at - low)[:, None]
    low, high = (F.one_hot(i.clamp(max=size - 1), size).float() for i in (low, low + 1))
    return (1 - share) * low + share * high
