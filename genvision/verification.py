"""Whether a run's record says what its folder holds: everything that can be recomputed without training is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genvision import data
from genvision.config import recorded_hash
from genvision.config.schema import Config
from genvision.errors import DataError, RunError
from genvision.evaluation.draws import read_draws
from genvision.evaluation.images import read_images
from genvision.evaluation.likelihood import QUICK, bits_per_dim
from genvision.evaluation.record import Record, read_record
from genvision.families.base import Family
from genvision.fingerprint import weights_sha256
from genvision.outcome import decided_by
from genvision.pipelines import ImageGenerationPipeline, load
from genvision.resampling import draw_as
from genvision.run_folder import RunFolder
from genvision.sampling import own_device
from genvision.sampling.draw import AUTOCAST
from genvision.scoring import Scored, Training, draw, score_as_recorded
from genvision.training.budget import total_steps
from genvision.validation import validate

RELATIVE = 1e-6  # of a recomputed score; counts and hashes must be equal


class Check(NamedTuple):
    """A field of a record, what the record says and what was found."""

    field: str
    said: Any
    found: Any

    @property
    def holds(self) -> bool:
        return equal(self.said, self.found)


def equal(said: Any, found: Any) -> bool:
    """Equality, of numbers that are no integers up to rounding."""
    if isinstance(said, list) and isinstance(found, list):
        return len(said) == len(found) and all(map(equal, said, found))
    if isinstance(said, float) and isinstance(found, float):
        return abs(said - found) <= RELATIVE * max(abs(said), abs(found))
    return said == found


def verify(run: Path) -> list[Check]:
    """Recompute a finished run's record from config.yaml, model/ and samples/final.npz, and what `resample` kept.

    Raises RunError naming the first field that was edited or does not come out of the files; DataError for a record
    that contradicts itself (its protocol's hash is a part of reading it).
    """
    folder = RunFolder(run)
    config, record = folder.read_config(), read_record(folder.result)
    if record["status"] != "finished":
        raise RunError(f"{folder.result} is of a run that {record['status']}: there is nothing to recompute")
    pipeline = load(run).to(own_device())
    checks = []
    for check in _checks(folder, config, record, pipeline):
        if not check.holds:
            raise RunError(f"{folder.result}: {check.field} is {check.said}, but {check.found} comes out of the files")
        checks.append(check)
    return checks


def _checks(folder: RunFolder, config: Config, record: Record, pipeline: ImageGenerationPipeline) -> Iterator[Check]:
    yield from _configured(folder, config, record, pipeline.generator)
    yield from _held_out(config, record, pipeline.generator)
    yield from _scores(folder, config, record, pipeline)
    yield from _draws(folder, config, pipeline)


def _configured(folder: RunFolder, config: Config, record: Record, family: Family) -> Iterator[Check]:
    """What config.yaml and the weights decide. A field that a record of before lacks is not asked for."""
    steps = total_steps(config.train) or 0
    found = {
        "config_hash": recorded_hash(folder.config),
        "cell_hash": recorded_hash(folder.config, seedless=True),
        "weights_sha256": weights_sha256(family),
        "dataset_sha256": data.load(config.data, "train").fingerprint,
        **decided_by(config, family),
        "steps": steps,
        "images_seen": steps * config.train.batch_size,
    }
    for name, value in found.items():
        if record[name] is not None:
            yield Check(name, record[name], value)


def _held_out(config: Config, record: Record, family: Family) -> Iterator[Check]:
    """The likelihood of the test split and the loss on the validation split."""
    if family.likelihood in QUICK:
        bits = bits_per_dim(family, data.load(config.data, "test"), progress=True)
        assert bits, "a quick likelihood has a value"
        for part, value in bits.items():
            yield Check(f"bits_per_dim.{part}", (record["bits_per_dim"] or {}).get(part), value)
    if record["validation"]:
        held_out, limit = data.load(config.data, "validation"), config.train.validation_images
        device, precision = next(family.parameters()).device.type, AUTOCAST.get(record["precision"] or "no")
        with torch.autocast(device, precision, enabled=precision is not None):
            found = validate(family, held_out, limit=limit, batch_size=config.sample.chunk_size)
        for name, value in record["validation"].items():
            yield Check(f"validation.{name}", value, found.get(name))


def _scores(folder: RunFolder, config: Config, record: Record, pipeline: ImageGenerationPipeline) -> Iterator[Check]:
    if not record["metrics"]:
        return
    extras = bool(record["anchors"]), "nearest_ratio" in record["metrics"]
    training = Training(data.load(config.data, "train"), *extras) if any(extras) else None
    images, sampling = _scored_images(folder, config, pipeline), record["protocol"]["sampling"]
    scored = score_as_recorded(config, images, sampling, training)
    yield from _compared(record, scored)
    said, found = ([anchor["value"] for anchor in anchors or ()] for anchors in (record["anchors"], scored.anchors))
    yield Check("anchors", said, found)


def _draws(folder: RunFolder, config: Config, pipeline: ImageGenerationPipeline) -> Iterator[Check]:
    """What `leaderboard resample` kept, drawn once more."""
    for path, record in read_draws(folder.path):
        if isinstance(record, DataError):
            raise record
        protocol = record["protocol"]
        images = draw_as(pipeline, protocol["num_images"], protocol["sampling"]).images
        for check in _compared(record, score_as_recorded(config, images, protocol["sampling"])):
            yield check._replace(field=f"{path.relative_to(folder.path)}: {check.field}")


def _compared(record: Record, scored: Scored) -> Iterator[Check]:
    """What the record says, and no more: one of before a score existed lacks it."""
    yield Check("protocol", record["protocol"], {part: scored.protocol.get(part) for part in record["protocol"]})
    for key, metric in record["metrics"].items():
        for part, value in metric.items():
            yield Check(f"metrics.{key}.{part}", value, scored.metrics.get(key, {}).get(part))


def _scored_images(folder: RunFolder, config: Config, pipeline: ImageGenerationPipeline) -> Tensor:
    """The images that were scored: of those that were kept, or where fewer were kept, the same ones drawn again."""
    n, kept = config.score.num_images, read_images(folder.samples / "final.npz")
    if len(kept) >= n:
        return kept[:n]
    return draw(pipeline.generator, n, config.sample.seed, pipeline.config.sampling).images
