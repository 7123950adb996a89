"""A family on a codec: it works on the codes, gives images back, and leaves the codec alone."""

from __future__ import annotations

import pytest
import torch
from cells import Oracle, cell_config, draw_of, randomise, serving, some_batch
from torch import Tensor

from genvision.build import build
from genvision.errors import ConfigError
from genvision.families.codec import Codec, PixelCodec
from genvision.spec import Batch, Draw, ImageSpec

IMAGES = ImageSpec(1, 8, 8, classes=3)


class Halves(Codec):
    """A toy codec: the value of a 2x2 block's first pixel, as a number or as one of two channels of 300 names."""

    def __init__(self, *, tokens: bool) -> None:
        self.kinds = ("tokens",) if tokens else ("values",)
        self.spec = ImageSpec(2 if tokens else 1, 4, 4, IMAGES.classes, levels=300, ordinal=not tokens)
        self.scale, self.state = 2.0, {}

    def values(self, batch: Batch, draw: Draw, dtype: torch.dtype) -> Tensor:
        return batch.images[:, :, ::2, ::2].to(dtype) / 64 * self.scale

    def from_values(self, x: Tensor, y: Tensor | None, draw: Draw) -> Tensor:
        return (x / self.scale * 64).clamp(0, 255).to(torch.uint8).repeat_interleave(2, 2).repeat_interleave(2, 3)

    def tokens(self, batch: Batch) -> Tensor:
        first = batch.images[:, :, ::2, ::2].long()
        return torch.cat([first, first + 44], 1)

    def from_tokens(self, x: Tensor, y: Tensor | None, draw: Draw) -> Tensor:
        assert x.shape[1:] == self.spec.shape and x.max() < 300
        return x[:, :1].clamp(max=255).to(torch.uint8).repeat_interleave(2, 2).repeat_interleave(2, 3)


def coded(family: str, trunk: str, **options) -> torch.nn.Module:
    codec = Halves(tokens=family == "autoregressive")
    return randomise(build(cell_config(family, (trunk,), **options), IMAGES, codec).train())


CODED = [
    *(("autoregressive", trunk) for trunk in serving("predictor")),
    *(("diffusion", trunk) for trunk in serving("denoiser")),
]


@pytest.mark.parametrize(("family", "trunk"), CODED)
def test_a_family_learns_and_draws_codes_and_shows_images(family, trunk) -> None:
    cell = coded(family, trunk)
    cell.loss(some_batch(3, IMAGES), draw_of(3))["loss"].sum().backward()
    still = [name for name, p in cell.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert still == []
    options = {"steps": 2} if family == "diffusion" else {}
    images = cell.sample(3, chunk_size=2, **options)
    assert images.shape == (3, 1, 8, 8) and images.dtype == torch.uint8
    assert torch.equal(images[:, :, ::2, ::2], images[:, :, 1::2, 1::2]) and images.unique().numel() > 2
    assert torch.equal(cell.sample(2, chunk_size=2, **options), images[:2])


@pytest.mark.parametrize("prediction", ["epsilon", "v", "x0"])
def test_values_of_a_code_are_not_clipped_as_pixels_are(prediction) -> None:
    cell = coded("diffusion", "vit", path="cosine", prediction=prediction)
    cell.denoiser = Oracle(cell, mean=4.0, std=0.0)
    images = cell.sample(2, chunk_size=2, steps=10, scheduler="ddim")
    assert (images.int() - 128).abs().max() <= 1  # 4.0 stands for the pixel 128, the clipped 1.0 for 32


def test_codes_have_no_bits_per_dim_of_pixels() -> None:
    pixels = build(cell_config("autoregressive", ("vit",)), IMAGES)
    assert isinstance(pixels.codec, PixelCodec) and pixels.likelihood == "exact"
    assert coded("autoregressive", "vit").likelihood is None


def test_the_loss_of_a_token_generator_sees_every_channel_of_every_token() -> None:
    cell = coded("autoregressive", "vit").double()
    batch = some_batch(1, IMAGES)
    before = cell.loss(batch, draw_of(1))["loss"]
    other = batch.images.clone()
    other[0, 0, 6, 6] = 255 - other[0, 0, 6, 6]  # the last block
    assert cell.loss(batch._replace(images=other), draw_of(1))["loss"] != before


def test_a_guide_on_another_codec_is_refused() -> None:
    model, guide = coded("diffusion", "vit"), coded("diffusion", "vit")
    assert model.network_evaluations(steps=3, guidance=2.0, guide=guide) == 6
    guide.codec.state = {"fingerprint": "another"}
    with pytest.raises(ConfigError, match="the guide must share images, labels, codec,"):
        model.sample(1, steps=3, guidance=2.0, guide=guide)


def test_codes_of_the_wrong_kind_are_refused() -> None:
    for family, tokens in (("diffusion", True), ("autoregressive", False), ("vae", False)):
        trunks = ("vit", "vit") if family == "vae" else ("vit",)
        with pytest.raises(ConfigError, match=f"family={family} generates"):
            build(cell_config(family, trunks), IMAGES, Halves(tokens=tokens))
    with pytest.raises(ConfigError, match="tokens need categorical"):
        build(cell_config("autoregressive", ("vit",), likelihood="logistic_mixture"), IMAGES, Halves(tokens=True))
