"""`genvision score` and `genvision nll`: what is measured, and under which protocol."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    is_run, extras = (source / "config.yaml").is_file(), anchors or memorisation
    if not source.exists():
        raise DataError(f"{source}: nothing lies there; name a run, a folder of PNG files or an NPZ")
    if not is_run and (below := runs_below(source)):
        raise RunError(f"{source} is a folder of runs; name one of them{such_as(below)}")
    if not (reference or is_run):
        raise ConfigError(f"{source} is no run, whose test split could be the reference; give --reference")
    require_extractor(extractor, weights)
    if is_run:
        config = RunFolder(source).read_config()
        pipeline = load(source)
        family = pipeline.to(own_device()).generator
        n = num_images or config.score.num_images
        if not n:
            raise ConfigError("--num-images is needed: the run itself was not scored")
        real = reference_set(reference or config.score.reference, config.data, family.spec.shape, n)
        of_its_data = real.name in (config.data.name, f"{config.data.name}:{config.data.path}")
        trained_on = _trained_on(RunFolder(source), config) if of_its_data or extras else None
        training = Training(trained_on, anchors, memorisation) if trained_on and extras else None
        if training:
            check_training(training, real, n)
        elif trained_on and (told := seen_in_training(trained_on, real)):
            _log.warning("a score counts for little: %s", told)
        settings = {**pipeline.config.sampling, **asked(family, options)}
        own = seed in (None, config.sample.seed) and not any(value is not None for value in options.values())
        seed = config.sample.seed if seed is None else seed
        images = draw(family, n, seed, settings).images
        sampling = sampling_protocol(settings, family, seed=seed, ema=config.ema.decay, labels="k mod classes")
    else:
        assert reference, "asked for above"
        if given := sorted(name for name, value in {"seed": seed, **options}.items() if value is not None):
            flag = given[0].replace("_", "-")
            raise ConfigError(f"--{flag} is for drawing, and {source} is no run to draw from; leave it out")
        images, sampling, own = read_images(source), None, False
        if num_images:
            require_count(len(images), num_images)
        plain = _unnamed(reference, images)
        real = reference_set(reference, plain, images.shape[1:], len(images))
        training = Training(_training_split(reference, plain), anchors, memorisation) if extras else None
    scored = score_images(images, real, extractor=extractor, weights=weights, sampling=sampling, training=training)
    if own and scored.nearest is not None and processes().is_main_process:
        write_nearest(scored.nearest, source / NEAREST)
    return as_json(scored)


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
