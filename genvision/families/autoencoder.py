"""What autoencoders share, whatever their latents are: an image to a grid of latents, and the grid to pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from genvision.config.schema import Config, VAEConfig
from genvision.families.base import Family, require_finite
from genvision.networks.network import grid_of
from genvision.probability.randomness import Stream, uniform
from genvision.probability.units import psnr_db, to_unit
from genvision.spec import Batch, Draw


class Autoencoder(Family):
    """An encoder, a decoder, and the likelihood of the pixels given the latents (B,F,h,w) between them."""

    roles = ("encoder", "decoder")
    options: VAEConfig

    @staticmethod
    def network_options(config: Config) -> Mapping[str, dict]:
        """What does not depend on the kind of latents."""
        family = config.family
        head = {"name": family.likelihood, "mixtures": family.mixtures}
        if family.likelihood == "logistic":
            head = {"name": "logistic", "scale": family.output_scale}
        return {
            "encoder": {"patch": family.downsample},
            "decoder": {"patch": family.downsample, "likelihood": head},
        }

    def grid(self) -> tuple[int, int]:
        """(h, w) latent cells of one image."""
        return grid_of(self.spec, self.options.downsample)

    def encode(self, batch: Batch) -> Tensor:
        """The encoder's output for a batch of images."""
        return self.encoder(to_unit(batch.images, self.spec.levels, self.dtype), batch.labels)

    def log_prob_given(self, z: Tensor, batch: Batch) -> Tensor:
        """log p(x | z), (B,) nats."""
        features = self.decoder(z.to(self.dtype), batch.labels)
        return self.decoder.head.log_prob(self.decoder.head.params(features, batch.images), batch.images)

    def decode(self, z: Tensor, y: Tensor | None, draw: Draw) -> Tensor:
        """Latents (B,F,h,w) -> images (B,C,H,W) uint8: the likelihood's mean, or a draw from it (`family.pixels`)."""
        features = require_finite(self.decoder(z.to(self.dtype), y), "the decoder's output")
        if self.options.pixels == "mean":
            return self.decoder.head.mean(features)
        return self.decoder.head.sample(features, uniform(draw, Stream.SAMPLE + Stream.PIXELS, *self.spec.shape))

    def diagnostics(self, batches: Iterable[tuple[Batch, Draw]]) -> dict[str, float]:
        """How close the images come back."""
        psnr = [psnr_db(batch.images, self.reconstruct(batch, draw), self.spec.levels) for batch, draw in batches]
        return {"psnr_db": torch.cat(psnr).mean().item()}

    def network_evaluations(self) -> int:
        return 1
