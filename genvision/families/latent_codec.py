"""Codecs around a trained autoencoder: latents for a generator of numbers, tokens for a generator of tokens.

The autoencoder belongs to the data: it is neither trained, averaged nor saved with the generator. What the generator
was trained on is kept in `state`, and a codec with other weights is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from genvision.errors import ConfigError, RunError
from genvision.families.autoencoder import Autoencoder
from genvision.families.codec import Codec
from genvision.families.quantised import QuantisedVAE
from genvision.families.vae import VAE
from genvision.fingerprint import short_hash
from genvision.probability.randomness import Stream, normal
from genvision.spec import Batch, Draw, ImageSpec


class AutoencoderCodec(Codec):
    """Base of both.

    vae    the autoencoder, which is frozen
    spec   of the images; `codec.spec` is that of their latents
    state  as `measure` made it for these weights
    Raises ConfigError where the autoencoder was trained on other images, RunError where `state` is of other weights
    or lacks what was measured.
    """

    def __init__(self, vae: Autoencoder, spec: ImageSpec, state: dict[str, Any]) -> None:
        if vae.spec.shape != spec.shape or vae.spec.classes not in (0, spec.classes):
            raise ConfigError(
                f"the codec was trained on images {vae.spec.shape} of {vae.spec.classes} classes, "
                f"these are {spec.shape} of {spec.classes}; train one on this data"
            )
        found = short_hash(vae)
        if found != (known := state.get("fingerprint")):
            raise RunError(
                f"the codec's weights have hash {found}, the generator was trained on those of hash "
                f"{known}; name the run it was trained with"
            )
        height, width = vae.grid()
        self.vae, self.state = vae.requires_grad_(False).eval(), state
        self.spec = spec._replace(height=height, width=width)

    def __deepcopy__(self, memo: dict) -> AutoencoderCodec:
        return self  # the averaged copy of a generator uses the same codec

    def known(self, y: Tensor | None) -> Tensor | None:
        """The labels, where the autoencoder has learned any."""
        return y if self.vae.spec.classes else None

    @torch.no_grad()
    def reconstruct(self, batch: Batch, draw: Draw) -> Tensor:
        vae = self.vae.to(batch.images.device)
        return vae.reconstruct(batch._replace(labels=self.known(batch.labels)), draw)


class LatentCodec(AutoencoderCodec):
    """Latents drawn from their posterior, each channel brought to mean 0 and standard deviation 1 over the data.

    Latent diffusion divides by one number (Rombach et al. 2022, appendix G); under a learned prior neither the scale of
    the latents nor their mean is near that of a standard normal, and channels differ.
    """

    vae: VAE
    kinds = ("values",)

    def __init__(self, vae: VAE, spec: ImageSpec, state: dict[str, Any]) -> None:
        super().__init__(vae, spec, state)
        self.spec = self.spec._replace(channels=vae.options.latent_channels)
        self.mean, self.std = (_of_channels(state, name, self.spec.channels) for name in ("mean", "std"))

    @torch.no_grad()
    def values(self, batch: Batch, draw: Draw, dtype: torch.dtype) -> Tensor:
        z = drawn_latents(self.vae.to(batch.images.device), batch._replace(labels=self.known(batch.labels)), draw)
        return ((z - self.mean.to(z.device)) / self.std.to(z.device)).to(dtype)

    @torch.no_grad()
    def from_values(self, x: Tensor, y: Tensor | None, draw: Draw) -> Tensor:
        z = x * self.std.to(x.device) + self.mean.to(x.device)
        return self.vae.to(x.device).decode(z, self.known(y), draw)


class TokenCodec(AutoencoderCodec):
    """Tokens (B,1,h,w) of a quantised autoencoder."""

    vae: QuantisedVAE
    kinds = ("tokens",)

    def __init__(self, vae: QuantisedVAE, spec: ImageSpec, state: dict[str, Any]) -> None:
        super().__init__(vae, spec, state)
        self.spec = self.spec._replace(channels=1, levels=vae.encoder.quantiser.codes, ordinal=False)

    @torch.no_grad()
    def tokens(self, batch: Batch) -> Tensor:
        vae = self.vae.to(batch.images.device)
        return vae.quantise(batch._replace(labels=self.known(batch.labels))).tokens[:, None]

    @torch.no_grad()
    def from_tokens(self, x: Tensor, y: Tensor | None, draw: Draw) -> Tensor:
        return self.vae.to(x.device).decode_tokens(x[:, 0], self.known(y), draw)


def _of_channels(state: dict[str, Any], name: str, channels: int) -> Tensor:
    """(F,1,1) numbers that a codec has measured. Raises RunError where `state` has none that could be."""
    found = state.get(name)
    try:
        numbers = torch.tensor(found, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        numbers = torch.empty(0)
    if numbers.shape != (channels,) or not numbers.isfinite().all() or (name == "std" and numbers.min() <= 0):
        raise RunError(f"the codec's {name} of {channels} latent channels is {found}; take the run's own codec.json")
    return numbers[:, None, None]


def drawn_latents(vae: VAE, batch: Batch, draw: Draw) -> Tensor:
    """Latents (B,F,h,w) of a batch, drawn from their posterior."""
    posterior = vae.posterior(batch)
    return posterior.sample(normal(draw, Stream.LATENT, *posterior.mean.shape[1:]))


def make_codec(vae: Autoencoder, spec: ImageSpec, state: dict[str, Any]) -> AutoencoderCodec:
    """The codec of an autoencoder for images of this geometry; `state` is what `measure` said of the same weights."""
    return TokenCodec(vae, spec, state) if isinstance(vae, QuantisedVAE) else LatentCodec(vae, spec, state)


def unmeasured(vae: Autoencoder) -> dict[str, Any]:
    """The state of a codec whose latents stay as they are."""
    f = vae.options.latent_channels
    return {"fingerprint": short_hash(vae), "mean": [0.0] * f, "std": [1.0] * f}


@torch.no_grad()
def measure(vae: Autoencoder, batches: Iterable[tuple[Batch, Draw]]) -> dict[str, Any]:
    """The state of a codec: fingerprint and, where latents are Gaussian, mean and deviation of each channel."""
    if not isinstance(vae, VAE):
        return {"fingerprint": short_hash(vae)}
    n, total, squares = 0, torch.zeros(()), torch.zeros(())
    for batch, draw in batches:
        z = drawn_latents(vae, batch, draw).double().cpu().movedim(1, 0).flatten(1)  # (F, B h w)
        n, total, squares = n + z.shape[1], total + z.sum(1), squares + z.square().sum(1)
    mean = total / n
    std = (squares / n - mean.square()).sqrt()
    return {"fingerprint": short_hash(vae), "mean": mean.tolist(), "std": std.tolist()}
