"""Does an image hang together? Four numbers of pixels alone, each beside that of the real images.

total variation         mean |difference| of neighbouring pixels (Rudin, Osher and Fatemi 1992), in shares of the pixel
                        range: noise raises it, blur lowers it
lag-1 autocorrelation   of neighbouring pixels, mean over images: 1 is smooth, 0 is white noise
patch edges             mean |difference| across borders of patches over that inside them, as a multiple of the same in
                        real images: 1 is as seamless as they are; of several patch sides the worst
power spectrum error    mean |log10| ratio of generated to real power over radial frequencies, in decades (Durall et al.
                        2020, "Watch your up-convolution"): 0 is equal
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genvision.evaluation.intervals import smooth

PATCH_SIDES = (2, 4, 7, 8, 16)  # of common patches and of what decoders upsample by
RANGE = 255
TINY = 1e-12  # of a squared pixel: contrast and power below it are none
CHUNK = 500


def coherence(generated: Tensor, real: Tensor) -> dict[str, dict[str, Any]]:
    """{key: {"name", "value", "interval"[, "real"][, "side"]}} of images (N,C,H,W) and (M,C,H,W) uint8, N, M >= 2.

    Keys: total_variation, autocorrelation, patch_edges (where patches fit), spectrum_error. "real" is the value of the
    real images. Images less than two pixels wide or high have no neighbours and get no scores.
    """
    if min(generated.shape[2:]) < 2:
        return {}
    found = {}
    for key, name, measure in (
        ("total_variation", "total variation", total_variation),
        ("autocorrelation", "lag-1 autocorrelation", autocorrelation),
    ):
        each, value = _chunked(measure, generated), _chunked(measure, real).mean().item()
        mean = each.mean().item()
        found[key] = {"name": name, "value": mean, "interval": smooth(mean, each), "real": value}
    return found | patch_edges(generated, real) | spectrum_error(generated, real)


def total_variation(images: Tensor) -> Tensor:
    """(B,) mean |difference| of horizontal and of vertical neighbours, averaged, in [0, 1]."""
    return torch.stack([_steps(images, axis).mean((1, 2)) for axis in (2, 3)]).mean(0) / RANGE


def autocorrelation(images: Tensor) -> Tensor:
    """(B,) correlation of neighbouring pixels over both directions, in [-1, 1]; 1 for an image without contrast."""
    centred = images - images.mean((2, 3), keepdim=True)
    energy = centred.square().mean((1, 2, 3))
    products = [
        centred.narrow(axis, 0, centred.shape[axis] - 1) * centred.narrow(axis, 1, centred.shape[axis] - 1)
        for axis in (2, 3)
    ]
    found = torch.stack([product.mean((1, 2, 3)) for product in products]).mean(0)
    return torch.where(energy > TINY, found / energy.clamp(min=TINY), 1.0)


def patch_edges(generated: Tensor, real: Tensor) -> dict[str, dict[str, Any]]:
    """The patch side of the greatest ratio of ratios; nothing where no side fits twice into the images."""
    found = {}
    for side in PATCH_SIDES:
        if 2 * side > min(generated.shape[2:]):
            break
        parts = [_chunked(lambda images, p=side: edges_and_insides(images, p), each) for each in (generated, real)]
        (edge, inside), (real_edge, real_inside) = (part.mean(0).clamp(min=TINY) for part in parts)
        value = (edge / inside / (real_edge / real_inside)).item()
        relative = [(part / part.mean(0).clamp(min=TINY)) @ part.new_tensor([value, -value]) for part in parts]
        found[value] = {"name": "patch edges", "value": value, "interval": smooth(value, *relative), "side": side}
    return {"patch_edges": found[max(found)]} if found else {}


def edges_and_insides(images: Tensor, side: int) -> Tensor:
    """(B,2) mean |difference| across the borders of patches of `side` pixels, and inside them."""
    both = []
    for axis in (2, 3):
        steps = _steps(images, axis)  # (B,C,steps), step k between pixels k and k + 1
        border = torch.arange(1, steps.shape[2] + 1) % side == 0
        both.append(torch.stack([steps[:, :, border].mean((1, 2)), steps[:, :, ~border].mean((1, 2))], 1))
    return torch.stack(both).mean(0)


def spectrum_error(generated: Tensor, real: Tensor) -> dict[str, dict[str, Any]]:
    """Decades between the mean spectra, over rings of whole frequencies up to Nyquist's, without the constant part."""
    spectra = _chunked(radial_spectrum, generated), _chunked(radial_spectrum, real)
    means = [spectrum.mean(0) + TINY for spectrum in spectra]
    decades = (means[0] / means[1]).log10()
    value = decades.abs().mean().item()
    signs = decades.sign() / len(decades) / torch.log(torch.tensor(10.0, dtype=torch.float64))
    influences = [spectrum @ (signs / mean) for spectrum, mean in zip(spectra, means, strict=True)]
    return {"spectrum_error": {"name": "power spectrum error", "value": value, "interval": smooth(value, *influences)}}


def radial_spectrum(images: Tensor) -> Tensor:
    """(B,F) mean power in the rings of 1, 2, ..., F = min(H,W) // 2 periods an image, over channels."""
    height, width = images.shape[2:]
    power = torch.fft.fft2(images, norm="ortho").abs().square().mean(1).flatten(1)  # (B,H*W)
    periods = min(height, width) * torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None])
    ring = periods.round().long().flatten()
    member = torch.nn.functional.one_hot(ring)[:, 1 : min(height, width) // 2 + 1].double()  # (H*W,F)
    return power @ (member / member.sum(0))


def _steps(images: Tensor, axis: int) -> Tensor:
    """(B,C,S) mean |difference| of neighbours along an axis of (B,C,H,W), over the other axis."""
    return images.diff(dim=axis).abs().mean(5 - axis)


def _chunked(measure: Any, images: Tensor) -> Tensor:
    return torch.cat([measure(chunk.double()) for chunk in images.split(CHUNK)])
