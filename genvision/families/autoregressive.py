"""The autoregressive family: every pixel given those before it, in raster order (van den Oord et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from genvision.config.schema import AutoregressiveConfig, Config
from genvision.families.base import Family, drop_labels, require_finite
from genvision.probability.randomness import Stream, uniform
from genvision.probability.units import to_unit
from genvision.spec import Batch, Draw


class Autoregressive(Family):
    """log p(x) = sum_i log p(x_i | x_{<i}), channels of a pixel in order too: an exact likelihood."""

    roles = ("predictor",)
    likelihood = "exact"
    options: AutoregressiveConfig

    @staticmethod
    def network_options(config: Config) -> Mapping[str, dict]:
        return {"predictor": {"likelihood": {"name": config.family.likelihood, "mixtures": config.family.mixtures}}}

    def loss(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        labels = drop_labels(batch.labels, self.spec.classes, self.options.label_dropout, draw)
        return {"loss": self.bits_per_dim(batch._replace(labels=labels), draw)}

    def log_prob(self, batch: Batch, draw: Draw) -> Tensor:
        features = self.predictor(to_unit(batch.images, self.spec.levels, self.dtype), batch.labels)
        head = self.predictor.head
        return head.log_prob(head.params(features, batch.images), batch.images)

    def complete(self, images: Tensor, known: Tensor, y: Tensor | None, draw: Draw) -> Tensor:
        """Draw the pixels of images (B,C,H,W) where `known` (H,W) is False, in raster order; the others stay."""
        u = uniform(draw, Stream.SAMPLE + Stream.PIXELS, *self.spec.shape)
        x = torch.where(known, images, 0).to(torch.uint8)
        for i, j in (~known).nonzero().tolist():
            features = self.predictor(to_unit(x, self.spec.levels, self.dtype), y)[:, :, i : i + 1, j : j + 1]
            require_finite(features, "the predictor's output")
            x[:, :, i, j] = self.predictor.head.sample(features, u[:, :, i : i + 1, j : j + 1])[..., 0, 0]
        return x

    def _sample(self, draw: Draw, y: Tensor | None) -> Tensor:
        nothing = torch.zeros(self.spec.height, self.spec.width, dtype=torch.bool, device=draw.slots.device)
        empty = torch.zeros(len(draw.slots), *self.spec.shape, dtype=torch.uint8, device=draw.slots.device)
        return self.complete(empty, nothing, y, draw)

    def network_evaluations(self) -> int:
        return self.spec.height * self.spec.width
