"""From images to a score with its protocol, for training runs and for `genvision score` alike."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genvision import data
from genvision.config.schema import Config, DataConfig
from genvision.data import ImageSet
from genvision.errors import ConfigError
from genvision.evaluation.anchors import anchors
from genvision.evaluation.batches import batches
from genvision.evaluation.coherence import coherence
from genvision.evaluation.extractors import CHANNELS, make_extractor
from genvision.evaluation.features import extract, reference_features, reference_subset
from genvision.evaluation.memorisation import memorisation
from genvision.evaluation.nearest import nearest_grid
from genvision.evaluation.protocol import build_protocol, protocol_hash
from genvision.evaluation.scores import SEED, require_enough, score
from genvision.families.base import Family
from genvision.fingerprint import short_hash
from genvision.probability.units import psnr_db
from genvision.sampling import draw_images, own_device


class Scored(NamedTuple):
    """What `score_images` found.

    metrics   of `evaluation.scores.score`, `coherence` and, where it was asked for, `memorisation`
    protocol  what they were measured under
    anchors   [{"name", "value"}], distances that give this one its scale; None where they were not asked for
    nearest   a grid of `nearest.nearest_grid`; None where memorisation was not asked for
    """

    metrics: dict[str, dict[str, Any]]
    protocol: dict[str, Any]
    anchors: list[dict[str, Any]] | None = None
    nearest: Tensor | None = None


class Training(NamedTuple):
    """The images that a generator was trained on, and what a score is to do with them beside comparing references.

    anchors       measure what real, blurred and random images of them would score
    memorisation  look whether the generated images copy any of them; the reference must be images held out
    """

    images: ImageSet
    anchors: bool
    memorisation: bool


class Drawn(NamedTuple):
    """Images (N,C,H,W) uint8 and the seconds it took to draw them."""

    images: Tensor
    seconds: float


def sampling_settings(config: Config, family: Family, precision: str) -> dict[str, Any]:
    """The keyword arguments of `draw_images` that a run's configuration stands for."""
    own = {name: getattr(config.sample, name) for name in family.sample_options}
    return {"chunk_size": config.sample.chunk_size, "precision": precision, **own}


def draw(family: Family, n: int, seed: int, settings: Mapping[str, Any]) -> Drawn:
    """n images on every process, with a progress bar on the main one."""
    began = time.perf_counter()
    images = draw_images(family, n, seed=seed, progress=True, **settings)
    return Drawn(images, time.perf_counter() - began)


def reference_set(reference: str | None, trained_on: DataConfig, shape: Sequence[int], n: int) -> ImageSet:
    """The real images of `score.reference`; None means the test split of the set that was trained on.

    Whatever would stop the score of n images (C,H,W) against them is found here, before minutes of training or drawing.
    Raises ConfigError where their size differs from that of the generated images (a resize would hide it), and where an
    extractor takes no such channels; DataError where there are too few.
    """
    if shape[0] not in CHANNELS:
        raise ConfigError(
            f"images of {shape[0]} channels cannot be scored: extractors take gray or RGB; use data.channels=1 or 3, "
            "or score nothing (score.num_images=0)"
        )
    config, split = data.parse_reference(reference, trained_on) if reference else (trained_on, "test")
    real = data.load(config, split)
    if tuple(real.images.shape[1:]) != tuple(shape):
        raise ConfigError(
            f"score.reference={reference}: its images are {tuple(real.images.shape[1:])}, the generated ones "
            f"{tuple(shape)}; name a reference of the same channels, height and width"
        )
    require_enough(n, len(real))
    return real


def score_images(
    images: Tensor,
    real: ImageSet,
    *,
    extractor: str,
    weights: str | None,
    sampling: Mapping[str, Any] | None = None,
    reconstruction: Mapping[str, Any] | None = None,
    training: Training | None = None,
) -> Scored:
    """Score images (N,C,H,W) uint8 against all real ones; the protocol names everything that matters.

    Features of the reference and of the training images come from the cache once they are there. Raises ConfigError for
    memorisation against a reference of training images, DataError where anchors need more images than there are.
    """
    if training:
        check_training(training, real, len(images))
    device = own_device()
    network = make_extractor(extractor, weights, device)
    reference = reference_features(real, network)
    generated = extract(images, network, progress=True)
    protocol = build_protocol(
        num_images=len(images), reference=real, extractor=network, sampling=sampling, reconstruction=reconstruction
    )
    metrics = score(generated, reference, metric_name=network.metric_name, device=device)
    metrics |= coherence(images, real.images)
    nearest = None
    if training and training.memorisation:
        seen = reference_features(training.images, network)
        own, trained, held_out = (features.pool.to(device) for features in (generated, seen, reference))
        metrics |= memorisation(own, trained, held_out, SEED)
        nearest = nearest_grid(images, own, training.images.images, trained)
    scale = anchors(training.images, reference, network, len(images)) if training and training.anchors else None
    return Scored(metrics, protocol, scale, nearest)


def score_as_recorded(
    config: Config, images: Tensor, sampling: Mapping[str, Any], training: Training | None = None
) -> Scored:
    """Images (N,C,H,W) as a run of this configuration scores them; `sampling` is that part of the protocol."""
    return score_images(
        images,
        reference_set(config.score.reference, config.data, images.shape[1:], len(images)),
        extractor=config.score.extractor,
        weights=config.score.extractor_weights,
        sampling=sampling,
        training=training,
    )


def check_training(training: Training, real: ImageSet, n: int) -> None:
    """What can be known before anything is drawn: raises as `score_images` does."""
    if training.anchors:
        reference_subset(training.images, n)
    if training.memorisation and (told := seen_in_training(training.images, real)):
        raise ConfigError(f"memorisation: {told}")


def seen_in_training(trained_on: ImageSet, real: ImageSet) -> str | None:
    """A sentence about a reference most of whose images were trained on: test splits do hold a few."""
    seen = {hash(image.tobytes()) for image in trained_on.images.numpy()}
    known = sum(hash(image.tobytes()) in seen for image in real.images.numpy())
    if known <= len(real) / 2:
        return None
    return (
        f"of the reference {real.name}:{real.split}, {known} of {len(real)} images were trained on; name a reference "
        "of images that were not"
    )


@torch.no_grad()
def score_reconstructions(
    family: Family, real: ImageSet, n: int | None, *, batch_size: int, extractor: str, weights: str | None, ema: float
) -> Scored:
    """What comes back from the latents of real images: its Frechet distance to them all, and PSNR image by image.

    n  how many, taken by a fixed permutation; None: all. Raises ConfigError where the family has no latents.
    """
    chosen = reference_subset(real, n)
    family.eval()
    pairs = batches(family, chosen, len(chosen), batch_size)
    images = torch.cat([family.reconstruct(batch, draw).cpu() for batch, draw in pairs])[: len(chosen)]
    psnr = psnr_db(images, chosen.images, family.spec.levels)
    how = {"split": real.split, "ema": ema, "batch_size": batch_size, "pixels": asdict(family.options).get("pixels")}
    scored = score_images(images, real, extractor=extractor, weights=weights, reconstruction=how)
    distance = scored.metrics["frechet"]
    psnr_metric = {"name": "PSNR (dB)", "value": psnr.mean().item(), "std": psnr.std().item()}
    return scored._replace(metrics={"frechet": distance | {"name": f"r{distance['name']}"}, "psnr": psnr_metric})


def sampling_protocol(settings: Mapping[str, Any], family: Family, *, seed: int, ema: float, labels: str) -> dict:
    """The sampling part of a protocol; other models that took part are named by their weights."""
    own = {name: settings.get(name) for name in (*family.sample_options, "chunk_size")}
    own["precision"] = family.sampling_precision(settings["precision"])
    models = {name: short_hash(settings[name]) for name in family.sample_models if settings.get(name)}
    return {**own, **models, "pixels": asdict(family.options).get("pixels"), "seed": seed, "ema": ema, "labels": labels}


def as_json(scored: Scored) -> dict[str, Any]:
    """{"protocol", "protocol_hash", "metrics"[, "anchors"]} as `genvision score --json` writes it."""
    told = {"protocol": scored.protocol, "protocol_hash": protocol_hash(scored.protocol), "metrics": scored.metrics}
    return told | ({} if scored.anchors is None else {"anchors": scored.anchors})
