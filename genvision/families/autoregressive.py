"""The autoregressive family: every pixel given those before it (van den Oord et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genvision.config.schema import AutoregressiveConfig, Config
from genvision.errors import ConfigError
from genvision.families.base import Family, drop_labels, require_finite
from genvision.probability.randomness import Stream, uniform
from genvision.probability.shaping import Shaping
from genvision.probability.units import pixel_dtype, stem_input
from genvision.spec import Batch, Draw


class Autoregressive(Family):
    """log p(x) = sum_i log p(x_i | x_{<i}), channels of a pixel in order too: an exact likelihood."""

    roles = ("predictor",)
    likelihood = "exact"
    codes = "tokens"
    sample_options = ("temperature", "top_k", "top_p", "guidance")
    options: AutoregressiveConfig

    @staticmethod
    def network_options(config: Config) -> Mapping[str, dict]:
        family = config.family
        return {
            "predictor": {"likelihood": {"name": family.likelihood, "mixtures": family.mixtures}, "order": family.order}
        }

    def loss(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        labels = drop_labels(batch.labels, self.spec.classes, self.options.label_dropout * self.training, draw)
        return {"loss": self.bits_per_dim(batch._replace(labels=labels), draw)}

    def log_prob(self, batch: Batch, draw: Draw) -> Tensor:
        x, head = self.codec.tokens(batch), self.predictor.head
        features = self.predictor(stem_input(x, self.codec.spec, self.dtype), batch.labels)
        return head.log_prob(head.params(features, x), x)

    def complete(self, images: Tensor, known: Tensor, y: Tensor | None, draw: Draw, **shape: Any) -> Tensor:
        """Draw the pixels of images (B,C,H,W) where `known` (H,W) is False, in the predictor's order; the others stay.

        Each pixel costs one step of the predictor's cached trunk, in the weights' own precision: steps are too small to
        gain from another. A drawn pixel listens to those before it in that order, given and drawn, and to none after.

        shape  of each channel's distribution: fields of `Shaping`
        """
        shaping = self._shaping(y is not None, shape)
        with torch.inference_mode(), torch.autocast(images.device.type, enabled=False):
            pixels = self._complete(images, known, y, draw, shaping)
        return pixels.clone()  # what inference mode made could not be trained on

    def _complete(self, images: Tensor, known: Tensor, y: Tensor | None, draw: Draw, shaping: Shaping) -> Tensor:
        predictor, copies = self.predictor, self._passes(shaping)
        if y is not None and copies == 2:
            y = torch.cat([y, torch.full_like(y, self.spec.classes)])
        cache, before = predictor.start(copies * len(images), y), None
        u = uniform(draw, Stream.SAMPLE + Stream.PIXELS, *self.codec.spec.shape)
        x = images.to(pixel_dtype(self.codec.spec.levels), copy=True)
        given, places = known.tolist(), list(predictor.places)
        while places and given[places[-1][0]][places[-1][1]]:
            places.pop()
        dtype = self.dtype  # looked up once: it walks the modules
        total = torch.zeros((), dtype=dtype, device=x.device)
        for i, j in places:
            features = predictor.step(before, cache)
            total = total + features  # a value that is not finite stays so, and one look at the end finds it
            if not given[i][j]:
                x[:, :, i, j] = predictor.head.sample(features, u[:, :, i : i + 1, j : j + 1], shaping)[..., 0, 0]
            before = stem_input(x[:, :, i, j], self.codec.spec, dtype)
            before = before.repeat(copies, 1) if copies > 1 else before
        require_finite(total, "the predictor's output")
        return x

    def _sample(self, draw: Draw, y: Tensor | None, **shape: Any) -> Tensor:
        empty = torch.zeros(len(draw.slots), *self.codec.spec.shape, dtype=torch.uint8, device=draw.slots.device)
        x = self.complete(empty, torch.zeros_like(empty[0, 0]).bool(), y, draw, **shape)
        return self.codec.from_tokens(x, y, draw)

    def sampling_precision(self, asked: str) -> str:
        return "no"

    def network_evaluations(self, **shape: Any) -> int:
        """One step of the cached trunk a pixel, two with guidance: each about a pixel's share of a forward pass."""
        return self._passes(self._shaping(bool(self.spec.classes), shape)) * len(self.predictor.places)

    def _shaping(self, labelled: bool, shape: Mapping[str, Any]) -> Shaping:
        """Raises ConfigError for values out of range, and for guidance without both kinds of training examples."""
        shaping = Shaping(**shape)
        if self._passes(shaping) == 2 and not (labelled and self.options.label_dropout):
            raise ConfigError(
                f"sample.guidance={shaping.guidance} needs labels and a model trained with family.label_dropout > 0"
            )
        return shaping

    @staticmethod
    def _passes(shaping: Shaping) -> int:
        return 1 if shaping.guidance == 1 else 2
