"""The autoencoder with discrete latents: a tokenizer of images (van den Oord et al. 2017; Mentzer et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from genvision.config.schema import Config, VAEConfig
from genvision.families.autoencoder import Autoencoder
from genvision.probability.quantise import Quantised
from genvision.probability.randomness import Stream, uniform
from genvision.probability.units import nats_to_bits_per_dim
from genvision.spec import Batch, Draw


class QuantisedVAE(Autoencoder):
    """Encoder, quantiser, decoder. It has no prior over its tokens: a generator of tokens is another family's work."""

    headline = ("codebook_usage", "codebook_perplexity", "psnr_db")
    caveat = "codes are drawn uniformly: judge a tokenizer by its reconstructions (genvision score RUN --reconstruct)"

    @staticmethod
    def network_options(config: Config) -> Mapping[str, dict]:
        shared, channels = Autoencoder.network_options(config), code_channels(config.family)
        quantiser = {"codes": config.family.codebook_size, "channels": channels}
        if config.family.latent == "fsq":
            quantiser = {"levels": list(config.family.fsq_levels)}
        return {
            "encoder": shared["encoder"] | {"out_channels": channels, "quantiser_config": quantiser},
            "decoder": shared["decoder"] | {"latent_channels": channels},
        }

    def quantise(self, batch: Batch, draw: Draw | None = None) -> Quantised:
        """The codes of a batch of images, their tokens (B,h,w), and how far the encoder is from them.

        draw  in training: whose vectors may revive codes
        """
        priority = None if draw is None else 1 - uniform(draw, Stream.CODES, *self.grid())
        return self.encoder.quantiser(self.encode(batch), priority)

    def loss(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """Reconstruction in bits/dim and the commitment of the encoder (van den Oord et al. 2017, equation 3)."""
        codes = self.quantise(batch, draw if self.training else None)
        nll = nats_to_bits_per_dim(-self.log_prob_given(codes.z, batch), self.spec)
        loss = nll + self.options.commitment * codes.commitment
        return {"loss": loss, "reconstruction_bpd": nll, "commitment": codes.commitment}

    def after_step(self, gather: Callable[[Tensor], Tensor]) -> None:
        self.encoder.quantiser.after_step(gather)

    def reconstruct(self, batch: Batch, draw: Draw) -> Tensor:
        return self.decode(self.quantise(batch).z, batch.labels, draw)

    def decode_tokens(self, tokens: Tensor, y: Tensor | None, draw: Draw) -> Tensor:
        """Tokens (B,h,w) -> images (B,C,H,W) uint8."""
        return self.decode(self.encoder.quantiser.lookup(tokens), y, draw)

    def diagnostics(self, batches: Iterable[tuple[Batch, Draw]]) -> dict[str, float]:
        """The share of codes that are used at all, and the perplexity of their frequencies."""
        batches = list(batches)
        tokens = torch.cat([self.quantise(batch).tokens.flatten() for batch, _ in batches])
        frequency = torch.bincount(tokens, minlength=self.encoder.quantiser.codes) / len(tokens)
        return super().diagnostics(batches) | {
            "codebook_usage": (frequency > 0).double().mean().item(),
            "codebook_perplexity": torch.special.entr(frequency).sum().exp().item(),
        }

    def _sample(self, draw: Draw, y: Tensor | None) -> Tensor:
        codes = self.encoder.quantiser.codes
        tokens = (uniform(draw, Stream.SAMPLE + Stream.LATENT, *self.grid()) * codes).long().clamp(max=codes - 1)
        return self.decode_tokens(tokens, y, draw)


def code_channels(options: VAEConfig) -> int:
    """Numbers in one code."""
    return len(options.fsq_levels) if options.latent == "fsq" else options.latent_channels
