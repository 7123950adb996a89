"""What a Gaussian autoencoder makes of its latents: how many it uses, and how images move as they do."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genvision.probability.bounds import active_units
from genvision.spec import Batch, Draw

STEPS = 16  # of an interpolation


@torch.no_grad()
def expected_pixels(head: Any, features: Tensor) -> Tensor:
    """Features (B,D,H,W) of a decoder -> (B,C,H,W) float in [0, 1]: the mean of each pixel, without rounding.

    Of several channels each is told the rounded mean of those before, as `head.mean` does.
    """
    told = head.mean(features)
    below = head.cdf(head.params(features, told))[..., :-1]
    return (1 - below).sum(-1) / (head.spec.levels - 1)


@torch.no_grad()
def decoded(family: Any, z: Tensor) -> Tensor:
    """Latents (B,F,h,w) of an unlabelled family -> expected pixels (B,C,H,W) in [0, 1]."""
    return expected_pixels(family.decoder.head, family.decoder(z.to(family.dtype)))


def between(start: Tensor, end: Tensor, steps: int = STEPS) -> Tensor:
    """(B,...) and (B,...) -> (steps+1,B,...) on the straight line between them."""
    shares = torch.linspace(0, 1, steps + 1, dtype=start.dtype).view(-1, *[1] * start.ndim)
    return start + shares * (end - start)


def lengths(images: Tensor) -> Tensor:
    """A path of images (S,B,C,H,W) -> (B,) the sum of its steps' lengths, each the root mean square over pixels."""
    return images.diff(dim=0).square().flatten(2).mean(2).sqrt().sum(0)


def detour(images: Tensor) -> Tensor:
    """A path of images (S,B,C,H,W) -> (B,) its length over the distance of its ends: 1 for a straight fade."""
    direct = lengths(torch.stack([images[0], images[-1]]))
    return lengths(images) / direct


@torch.no_grad()
def path_lengths(family: Any, batch: Batch, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    """(B/2,) lengths, and (B/2,) lengths over the distance of the ends, of the images between the first half's
    posterior means and the second half's."""
    start, end = family.posterior(batch).mean.chunk(2)
    images = torch.stack([decoded(family, z) for z in between(start, end, steps)])
    return lengths(images), detour(images)


@torch.no_grad()
def use_of_latents(family: Any, batches: list[tuple[Batch, Draw]]) -> dict[str, Any]:
    """{"bits_per_dim", "active" share of units, "kl_nats" of each channel of the grid, (F,)}; means over images."""
    found = [(family.infer(family.posterior(batch), batch.labels, draw)[0], batch, draw) for batch, draw in batches]
    means = torch.cat([latent.posterior.mean for latent, *_ in found])
    kl = torch.cat([latent.kl().flatten(2).sum(2) for latent, *_ in found])
    bits = torch.cat([family.bits_per_dim(batch, draw) for _, batch, draw in found])
    return {
        "bits_per_dim": bits.mean().item(),
        "active": active_units(means) / means[0].numel(),
        "kl_nats": kl.mean(0).tolist(),
    }
