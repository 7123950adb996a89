"""Small classifiers of a backbone: its encoder, the mean over positions, and the classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genvision.config.trunks import TRUNK_CONFIGS
from genvision.networks import Encoder
from genvision.probability.randomness import Stream, generator
from genvision.spec import ImageSpec

PATCH, DEPTH = 4, 2
# backbone -> trunk and options: 57,000 weights each on 1x28x28 images, within 3 %
CLASSIFIERS: dict[str, tuple[str, dict[str, Any]]] = {
    "convnet": ("conv", {"width": 30}),
    "vit": ("vit", {"width": 40, "head_width": 20, "mlp_ratio": 3.5}),
    "mixer": ("mixer", {"width": 40}),
}
RATE, BATCH = 3e-3, 64
Look = Callable[[int, nn.Module], None]  # shown the step and the model


class Classifier(nn.Module):
    """(B,C,H,W) uint8 -> (B,K) logits."""

    def __init__(self, backbone: str, spec: ImageSpec) -> None:
        super().__init__()
        trunk, options = CLASSIFIERS[backbone]
        whole = asdict(TRUNK_CONFIGS[trunk](depth=DEPTH, **options))
        unlabelled = spec._replace(classes=0)._asdict()
        self.encoder = Encoder(unlabelled, whole, spec.classes, PATCH)

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images.float() / 127.5 - 1).mean((2, 3))


def shifted(images: Tensor, down: int, right: int) -> Tensor:
    """Images (B,C,H,W) moved, their border continued where something must enter."""
    reach = max(abs(down), abs(right))
    padded = F.pad(images.float(), (reach,) * 4, mode="replicate")
    height, width = images.shape[2:]
    rows, columns = slice(reach - down, reach - down + height), slice(reach - right, reach - right + width)
    return padded[..., rows, columns].to(images.dtype)


def trained_classifier(backbone: str, *data_and_budget: Any, **options: Any) -> nn.Module:
    """A `Classifier` of a backbone, `fitted` under the arguments of that function."""
    return fitted(partial(Classifier, backbone), *data_and_budget, **options)


def fitted(
    make: Callable[[ImageSpec], nn.Module],
    images: Tensor,
    labels: Tensor,
    steps: int,
    seed: int,
    largest_shift: int = 0,
    *,
    anneal: bool = True,
    look: Look = lambda step, model: None,
) -> nn.Module:
    """A network, (B,C,H,W) uint8 -> (B,K) logits, after `steps` steps of AdamW on batches of BATCH, in eval mode.

    largest_shift  pixels by up to which each batch is moved
    anneal         under a one-cycle schedule; else at a constant rate, so that each step is worth the same
    look           is shown the model before the first step, as step 0, and after every step
    """
    spec = ImageSpec(*images.shape[1:], classes=int(labels.max()) + 1)
    rng = generator(seed, Stream.STUDY)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make(spec)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps) if anneal else None
    look(0, model)
    for step in range(steps):
        rows = torch.from_numpy(rng.integers(len(images), size=BATCH))
        down, right = rng.integers(-largest_shift, largest_shift + 1, size=2).tolist()
        loss = F.cross_entropy(model(shifted(images[rows], down, right)), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if schedule:
            schedule.step()
        look(step + 1, model)
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of images that are classified rightly."""
    right = [(model(x).argmax(1) == y).float() for x, y in zip(images.split(500), labels.split(500), strict=True)]
    return torch.cat(right).mean().item()
