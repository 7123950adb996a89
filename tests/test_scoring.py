"""What a score is said to have been measured under: what was really used, and nothing that was not."""

from __future__ import annotations

import pytest
from cells import make_cell

from genvision.config import load_config
from genvision.errors import ConfigError, DataError
from genvision.fingerprint import short_hash
from genvision.scoring import reference_set, sampling_protocol, sampling_settings
from genvision.spec import ImageSpec

SPEC = ImageSpec(1, 4, 4, classes=3)
SHARED = {"seed": 3, "ema": 0.99, "labels": "k mod classes"}


def protocol_of(family, *words: str, **extra):
    """The sampling protocol of a run of this family under `key=value` words."""
    config = load_config(None, [f"family={family.options.name}", *words])
    return sampling_protocol(sampling_settings(config, family, "bf16") | extra, family, **SHARED)


def test_a_vae_says_whether_its_mean_was_drawn() -> None:
    for pixels in ("mean", "sample"):
        found = protocol_of(make_cell("vae", ("vit", "vit"), SPEC, pixels=pixels), "sample.chunk_size=8")
        assert found == {"chunk_size": 8, "precision": "bf16", "pixels": pixels, **SHARED}


def test_an_autoregressive_sampler_names_its_options_and_the_precision_of_its_steps() -> None:
    words = ("sample.temperature=0.9", "sample.top_k=7", "sample.top_p=0.8", "sample.guidance=1.5")
    found = protocol_of(make_cell("autoregressive", ("vit",), SPEC), *words)
    options = {"temperature": 0.9, "top_k": 7, "top_p": 0.8, "guidance": 1.5}
    assert found == {**options, "chunk_size": 64, "precision": "no", "pixels": None, **SHARED}


def test_a_diffusion_sampler_names_its_solver_and_its_guide_by_weights() -> None:
    family, guide = (make_cell("diffusion", ("vit",), SPEC, seed=seed) for seed in (0, 1))
    options = {"steps": 9, "scheduler": "heun", "guidance": 2.0, "guidance_interval": (0.1, 0.9)}
    words = ("sample.steps=9", "sample.scheduler=heun", "sample.guidance=2", "sample.guidance_interval=[0.1,0.9]")
    plain = {**options, "chunk_size": 64, "precision": "bf16", "pixels": None, **SHARED}
    assert protocol_of(family, *words) == plain
    assert protocol_of(family, *words, guide=guide) == plain | {"guide": short_hash(guide)}
    assert short_hash(guide) != short_hash(family)


def test_what_would_stop_a_score_is_found_before_any_image_is_drawn() -> None:
    config = load_config(None, ["data=fashion_mnist_mini"]).data
    real = reference_set(None, config, (1, 28, 28), 4)
    assert (real.name, real.split, len(real)) == ("fashion_mnist_mini", "test", 2000)
    assert reference_set("fashion_mnist_mini:validation", config, (1, 28, 28), 4).split == "validation"
    for shape, n, error, message in (
        ((1, 28, 27), 4, ConfigError, r"its images are \(1, 28, 28\), the generated ones \(1, 28, 27\)"),
        ((3, 28, 28), 4, ConfigError, "name a reference of the same channels, height and width"),
        ((4, 28, 28), 4, ConfigError, "images of 4 channels cannot be scored: extractors take gray or RGB"),
        ((1, 28, 28), 3, DataError, "3 images are too few to score; at least 4 are needed on both sides"),
    ):
        with pytest.raises(error, match=message):
            reference_set(None, config, shape, n)
