"""`genvision score` and `genvision nll`: what is measured, and under which protocol."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from genvision import data
from genvision.config.schema import Config, DataConfig
from genvision.data.load import Split
from genvision.errors import ConfigError, DataError, RunError
from genvision.evaluation.extractors import require_extractor
from genvision.evaluation.images import read_images, require_count
from genvision.evaluation.likelihood import bits_per_dim
from genvision.evaluation.nearest import write_nearest
from genvision.evaluation.pictures import NEAREST
from genvision.evaluation.record import read_record
from genvision.loading import asked
from genvision.pipelines import load
from genvision.run_folder import RunFolder, runs_below, such_as
from genvision.sampling import own_device, processes
from genvision.scoring import (
    Training,
    as_json,
    check_training,
    draw,
    reference_set,
    sampling_protocol,
    score_images,
    score_reconstructions,
    seen_in_training,
)

_log = logging.getLogger(__name__)


def score_source(
    source: Path,
    *,
    reference: str | None,
    num_images: int | None,
    extractor: str,
    weights: str | None,
    seed: int | None,
    anchors: bool = False,
    memorisation: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """The report of `genvision score --json`. A run is drawn from; a folder or NPZ is read and must hold num_images.

    reference              None: that of the run, or else the test split of the set that it was trained on
    anchors, memorisation  as in `scoring.Training`: of the images that the run was trained on, or of the training split
                           of the reference; memorisation of what a run draws by itself leaves its NEAREST there
    options                of the family's sampler; None means the run's own
    """
    is_run = (source / "config.yaml").is_file()
    if not source.exists():
        raise DataError(f"{source}: nothing lies there; name a run, a folder of PNG files or an NPZ")
    if not is_run and (below := runs_below(source)):
        raise RunError(f"{source} is a folder of runs; name one of them{such_as(below)}")
    if not (reference or is_run):
        raise ConfigError(f"{source} is no run, whose test split could be the reference; give --reference")
    require_extractor(extractor, weights)
    extras = {"anchors": anchors, "memorisation": memorisation}
    given = {name: value for name, value in {"seed": seed, **options}.items() if value is not None}
    if is_run:
        pair = _drawn(source, reference, num_images, extras, given)
    else:
        pair = _read(source, reference or "", num_images, extras, given)
    scored = score_images(
        pair.images, pair.real, extractor=extractor, weights=weights, sampling=pair.sampling, training=pair.training
    )
    if pair.own and scored.nearest is not None and processes().is_main_process:
        write_nearest(scored.nearest, source / NEAREST)
    return as_json(scored)


class _Pair(NamedTuple):
    """Images (N,C,H,W) uint8 and the real ones that they are scored against.

    training  what to compare both with; None: nothing
    sampling  that part of the protocol; None: drawn elsewhere
    own       whether a run drew them by its own seed and options
    """

    images: torch.Tensor
    real: data.ImageSet
    training: Training | None
    sampling: dict[str, Any] | None = None
    own: bool = False


def _drawn(
    run: Path, reference: str | None, num_images: int | None, extras: dict[str, bool], given: dict[str, Any]
) -> _Pair:
    """What a run draws, by its own seed and options but for those `given`."""
    config, pipeline = RunFolder(run).read_config(), load(run)
    family = pipeline.to(own_device()).generator
    n = num_images or config.score.num_images
    if not n:
        raise ConfigError("--num-images is needed: the run itself was not scored")
    real = reference_set(reference or config.score.reference, config.data, family.spec.shape, n)
    of_its_data = real.name in (config.data.name, f"{config.data.name}:{config.data.path}")
    trained_on = _trained_on(RunFolder(run), config) if of_its_data or any(extras.values()) else None
    training = Training(trained_on, **extras) if trained_on and any(extras.values()) else None
    if training:
        check_training(training, real, n)
    elif trained_on and (told := seen_in_training(trained_on, real)):
        _log.warning("a score counts for little: %s", told)
    own = given in ({}, {"seed": config.sample.seed})
    seed = given.pop("seed", config.sample.seed)
    settings = {**pipeline.config.sampling, **asked(family, given)}
    images = draw(family, n, seed, settings).images
    sampling = sampling_protocol(settings, family, seed=seed, ema=config.ema.decay, labels="k mod classes")
    return _Pair(images, real, training, sampling, own)


def _read(
    source: Path, reference: str, num_images: int | None, extras: dict[str, bool], given: dict[str, Any]
) -> _Pair:
    """The images of a folder or an NPZ. Raises ConfigError for an option, which only what is drawn could have."""
    if given:
        flag = min(given).replace("_", "-")
        raise ConfigError(f"--{flag} is for drawing, and {source} is no run to draw from; leave it out")
    images = read_images(source)
    if num_images:
        require_count(len(images), num_images)
    plain = _unnamed(reference, images)
    real = reference_set(reference, plain, images.shape[1:], len(images))
    training = Training(_training_split(reference, plain), **extras) if any(extras.values()) else None
    return _Pair(images, real, training)


def score_run_reconstructions(
    run: Path, *, num_images: int | None, extractor: str, weights: str | None
) -> dict[str, Any]:
    """The report of `genvision score RUN --reconstruct`: of the test split of the set that the run was trained on."""
    require_extractor(extractor, weights)
    config = RunFolder(run).read_config()
    family = load(run).to(own_device()).generator
    _trained_on(RunFolder(run), config)
    real = data.load(config.data, "test")
    size, ema = config.sample.chunk_size, config.ema.decay
    scored = score_reconstructions(
        family, real, num_images, batch_size=size, extractor=extractor, weights=weights, ema=ema
    )
    return as_json(scored)


def _trained_on(run: RunFolder, config: Config) -> data.ImageSet:
    """The training images of a run. Raises DataError where its record tells of others."""
    images = data.load(config.data, "train")
    known = read_record(run.result)["dataset_sha256"] if run.result.is_file() else None
    if known not in (None, images.fingerprint):
        raise DataError(f"{images.name}: the training images are no longer those of {run.path}; restore them")
    return images


def _unnamed(reference: str, images: torch.Tensor) -> DataConfig:
    """The data of images that were drawn elsewhere. A folder of references takes their size: it has none of its own."""
    plain = DataConfig(labels=False, validation_fraction=0.0, fraction=1.0, max_bad_fraction=0.0, download=False)
    if not reference.startswith("folder:"):
        return plain
    channels, height, width = images.shape[1:]
    return replace(plain, channels=channels, height=height, width=width)


def _training_split(reference: str, plain: DataConfig) -> data.ImageSet:
    config, split = data.parse_reference(reference, plain)
    if split not in ("test", "validation"):
        raise ConfigError(
            f"--anchors and --memorisation compare with training images, and --reference {reference} has none beside "
            "itself; name a set's test split, or score a run"
        )
    return data.load(config, "train")


def run_likelihood(run: Path, split: Split, limit: int | None, **options: Any) -> dict[str, Any]:
    """The report of `genvision nll --json`; None means the family's own default.

    Raises ConfigError where the family has no likelihood, or none that takes such an option.
    """
    config = RunFolder(run).read_config()
    family = load(run).to(own_device()).generator
    given = {name: value for name, value in options.items() if value is not None}
    if foreign := sorted(given.keys() - family.likelihood_options.keys()):
        raise ConfigError(f"--{foreign[0]} means nothing to the bits/dim of family={config.family.name}; leave it out")
    trained_on = _trained_on(RunFolder(run), config)
    image_set = trained_on if split == "train" else data.load(config.data, split)
    bits = bits_per_dim(family, image_set, limit=limit, progress=processes().is_main_process, **given)
    if bits is None:
        raise ConfigError(f"family={config.family.name} has no bits/dim of pixels: it is about codes")
    return {"data": config.data.name, **bits}
