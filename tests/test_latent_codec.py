"""Codecs: there and back, latents of unit scale, tokens below V, and only the weights that were trained on."""

from __future__ import annotations

import copy
import json
import math

import pytest
import torch
from cells import cell_config, draw_of, make_cell, randomise, some_batch, some_images

from genvision.build import build
from genvision.errors import ConfigError, RunError
from genvision.families.codec import PixelCodec
from genvision.families.latent_codec import LatentCodec, TokenCodec, measure
from genvision.pipelines import ImageGenerationPipeline
from genvision.spec import Batch, Draw, ImageSpec

SPEC = ImageSpec(3, 8, 12, classes=3)


def autoencoder(spec: ImageSpec = SPEC, seed: int = 0, **options):
    return randomise(make_cell("vae", ("conv", "vit"), spec, **options), 0.2, seed)


def latent_codec(spec: ImageSpec = SPEC, **options) -> LatentCodec:
    vae = autoencoder(spec, **options).eval()
    state = measure(vae, [(some_batch(64, spec), draw_of(64))])
    return LatentCodec(vae, SPEC, json.loads(json.dumps(state)))


def token_codec(latent: str, spec: ImageSpec = SPEC) -> TokenCodec:
    vae = autoencoder(spec, latent=latent)
    return TokenCodec(vae, SPEC, measure(vae, []))


@pytest.mark.parametrize("levels", [2, 256])
def test_pixels_come_back_as_they_were(levels) -> None:
    spec = SPEC._replace(levels=levels)
    codec, batch, draw = PixelCodec(spec), some_batch(4, spec), draw_of(4)
    values = codec.values(batch, draw, torch.float64)
    assert values.dtype == torch.float64 and values.min() == -1 and values.max() == 1
    assert torch.equal(codec.from_values(values, None, draw), batch.images)
    assert torch.equal(codec.from_tokens(codec.tokens(batch), None, draw), batch.images)
    assert codec.spec == spec and codec.state == {}


@pytest.mark.parametrize("top_channels", [0, 5])
def test_latents_have_unit_scale_over_the_data_and_decode_as_the_vae_does(top_channels) -> None:
    codec, batch, draw = latent_codec(top_channels=top_channels), some_batch(64, SPEC), draw_of(64)
    assert codec.spec == ImageSpec(4, 4, 6, classes=3)
    values = codec.values(batch, draw, torch.float32)
    assert values.shape == (64, *codec.spec.shape) and values.dtype == torch.float32
    flat = values.movedim(1, 0).flatten(1)
    torch.testing.assert_close(flat.mean(1), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(flat.std(1, correction=0), torch.ones(4), rtol=1e-4, atol=0)
    with torch.no_grad():
        latents = codec.vae.infer(codec.vae.posterior(batch), batch.labels, draw)
        assert (latents[0].z.std((0, 2, 3)) - 1).abs().max() > 0.1  # before, they had another scale
        expected = codec.vae.decode(latents[0].z, batch.labels, draw)
    assert (codec.from_values(values, batch.labels, draw).int() - expected.int()).abs().max() <= 1  # rounding


def test_latents_are_keyed_by_seed_and_slot() -> None:
    codec, batch = latent_codec(), some_batch(4, SPEC)
    whole = codec.values(batch, draw_of(4), torch.float32)
    third = codec.values(Batch(batch.images[2:3], batch.labels[2:3]), Draw(0, 0, torch.tensor([2])), torch.float32)
    torch.testing.assert_close(third, whole[2:3], rtol=1e-4, atol=1e-4)
    assert not torch.equal(codec.values(batch, draw_of(4, step=1), torch.float32), whole)


@pytest.mark.parametrize(("latent", "codes"), [("fsq", 30), ("vq", 12)])
def test_tokens_are_below_their_number_of_levels_and_decode_as_the_reconstruction(latent, codes) -> None:
    codec, batch, draw = token_codec(latent), some_batch(6, SPEC), draw_of(6)
    assert codec.spec == ImageSpec(1, 4, 6, classes=3, levels=codes, ordinal=False)
    tokens = codec.tokens(batch)
    assert tokens.shape == (6, 1, 4, 6) and tokens.dtype == torch.int64
    assert tokens.min() >= 0 and tokens.max() < codes and len(tokens.unique()) > 1
    with torch.no_grad():
        expected = codec.vae.reconstruct(batch, draw)
    assert torch.equal(codec.from_tokens(tokens, batch.labels, draw), expected)


def test_a_codec_trained_without_labels_serves_a_generator_with_them() -> None:
    batch, draw = some_batch(4, SPEC), draw_of(4)
    latents, tokens = latent_codec(SPEC._replace(classes=0)), token_codec("fsq", SPEC._replace(classes=0))
    assert latents.spec.classes == tokens.spec.classes == 3
    without = batch._replace(labels=None)
    assert torch.equal(latents.values(batch, draw, torch.float32), latents.values(without, draw, torch.float32))
    assert torch.equal(tokens.tokens(batch), tokens.tokens(without))
    assert (
        latents.from_values(latents.values(batch, draw, torch.float32), batch.labels, draw).shape == batch.images.shape
    )


def test_an_export_remembers_that_the_codec_knows_no_labels(tmp_path) -> None:
    codec = latent_codec(SPEC._replace(classes=0))
    cell = randomise(build(cell_config("diffusion", ("vit",)), SPEC, codec)).eval()
    ImageGenerationPipeline.from_family(cell, {"chunk_size": 3, "steps": 2}).export(tmp_path / "model")
    loaded = ImageGenerationPipeline.from_pretrained(tmp_path / "model")
    assert (loaded.generator.spec.classes, loaded.generator.codec.vae.spec.classes) == (3, 0)
    expected = cell.sample(3, chunk_size=3, steps=2)
    assert torch.equal(loaded(3, output_type="pt").images, expected)


def test_the_autoencoder_is_frozen_and_shared_by_copies() -> None:
    codec = latent_codec()
    assert copy.deepcopy(codec).vae is codec.vae
    assert not codec.vae.training and not any(p.requires_grad for p in codec.vae.parameters())
    assert not codec.values(some_batch(2, SPEC), draw_of(2), torch.float32).requires_grad


def test_other_weights_than_those_of_training_are_refused() -> None:
    codec = latent_codec()
    LatentCodec(codec.vae, SPEC, codec.state)
    with torch.no_grad():
        next(codec.vae.parameters()).view(-1)[0] += 1e-6
    with pytest.raises(RunError, match=rf"trained on those of hash {codec.state['fingerprint']}; name the run"):
        LatentCodec(codec.vae, SPEC, codec.state)
    tokens = token_codec("vq")
    tokens.vae.encoder.quantiser.codebook[0, 0] += 1e-6  # the codebook counts, too
    with pytest.raises(RunError, match="name the run it was trained with"):
        TokenCodec(tokens.vae, SPEC, tokens.state)


@pytest.mark.parametrize("name", ["mean", "std"])
@pytest.mark.parametrize("found", [None, [], [1.0], [1.0] * 5, [1.0, 1.0, 1.0, math.nan], ["1"] * 4, 1.0])
def test_a_scale_that_is_lost_or_damaged_is_refused(name, found) -> None:
    codec = latent_codec()
    state = {key: value for key, value in codec.state.items() if key != name} | ({} if found is None else {name: found})
    with pytest.raises(RunError, match=f"the codec's {name} of 4 latent channels is ") as caught:
        LatentCodec(codec.vae, SPEC, state)
    assert caught.value.exit_code == 4


def test_a_scale_of_nothing_and_weights_without_a_hash_are_refused() -> None:
    codec = latent_codec()
    with pytest.raises(RunError, match=r"the codec's std of 4 latent channels is \[1, 1, 0, 1\]"):
        LatentCodec(codec.vae, SPEC, codec.state | {"std": [1, 1, 0, 1]})
    with pytest.raises(RunError, match="those of hash None; name the run"):
        LatentCodec(codec.vae, SPEC, {name: codec.state[name] for name in ("mean", "std")})


@pytest.mark.slow
def test_a_scale_measured_on_a_thousand_images_holds_for_another_thousand() -> None:
    vae = autoencoder().eval()
    first, others = (Batch(some_images(1000, SPEC, seed), torch.arange(1000) % 3) for seed in (0, 1))
    codec = LatentCodec(vae, SPEC, measure(vae, [(first, draw_of(1000))]))
    stds = codec.values(others, draw_of(1000, seed=1), torch.float32).std((0, 2, 3))
    assert (stds >= 0.9).all() and (stds <= 1.1).all()


@pytest.mark.parametrize("other", [SPEC._replace(height=4), SPEC._replace(classes=2), SPEC._replace(classes=0)])
def test_other_images_than_those_of_the_codec_are_refused(other) -> None:
    vae = autoencoder()
    with pytest.raises(ConfigError, match=r"trained on images \(3, 8, 12\) of 3 classes, these are"):
        TokenCodec(vae, other, measure(vae, []))
