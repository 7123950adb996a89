"""DINOv2 and CLIP as torch-fidelity's FD measures use them: features without classes.

DINOv2: Oquab et al. 2023, "DINOv2: learning robust visual features without supervision". torch-fidelity runs the
network's own repository as it is on that day; here it is timm's, fed with the same tensors. CLIP: Radford et al. 2021,
"Learning transferable visual models from natural language supervision"; torch-fidelity's own network is used.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genvision.evaluation.inception import resize

SIDE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


class DinoV2(nn.Module):
    """(B,1|3,H,W) uint8 -> the class token after the last norm, (B,D).

    architecture  of timm
    state         tensors of the weights file, as the network's publisher names them
    """

    net: Any

    def __init__(self, architecture: str, state: dict[str, Tensor]) -> None:
        import timm

        super().__init__()
        with torch.device("meta"):  # the largest has a billion weights, which nobody needs at random first
            self.net = timm.create_model(architecture, pretrained=False, num_classes=0, img_size=SIDE)
        grid = self.net.patch_embed.grid_size[0]
        renamed = {
            name.replace(".mlp.w12.", ".mlp.fc1.").replace(".mlp.w3.", ".mlp.fc2."): tensor
            for name, tensor in state.items()
            if name != "mask_token"  # of training
        }
        renamed["pos_embed"] = positions(renamed["pos_embed"], grid)
        self.net.load_state_dict(renamed, strict=True, assign=True)
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, 255 * torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        x = (resize(images.float(), SIDE) - self.mean) / self.std
        return self.net(x)


def positions(learned: Tensor, grid: int) -> Tensor:
    """Position embeddings (1,1+n*n,D) at another grid, (1,1+grid*grid,D), as the network's publisher resizes them.

    The scale is that of a grid a tenth of a patch larger: without it the features are others.
    """
    n = math.isqrt(learned.shape[1] - 1)
    if n == grid:
        return learned
    patches = learned[:, 1:].mT.unflatten(2, (n, n))  # (1,D,n,n)
    scaled = F.interpolate(patches.float(), scale_factor=(grid + 0.1) / n, mode="bicubic")
    return torch.cat([learned[:, :1], scaled.flatten(2).mT], 1)


class Clip(nn.Module):
    """(B,1|3,H,W) uint8 -> the embedding of the image, (B,D).

    name  as torch-fidelity calls the network
    path  of the published archive; torch reads archives of this kind as programs, so its hash has to be checked before
    """

    def __init__(self, name: str, path: Path) -> None:
        from torch_fidelity.feature_extractor_clip import FeatureExtractorCLIP

        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch will give up such archives; they were published so
            self.net = FeatureExtractorCLIP(name, ["clip"], str(path))

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images.expand(-1, 3, -1, -1))[0]
