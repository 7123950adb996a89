"""Whether a run's record says what its folder holds: everything that can be recomputed without training is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genvision import data
from genvision.build import cost
from genvision.config import recorded_hash
from genvision.config.schema import Config
from genvision.errors import RunError
from genvision.evaluation.images import read_images
from genvision.evaluation.likelihood import QUICK, bits_per_dim
from genvision.evaluation.record import Record, read_record
from genvision.loading import load
from genvision.matching import coded_spec
from genvision.run_folder import RunFolder
from genvision.sampling import processes
from genvision.scoring import Training, draw, reference_set, score_images

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
    """Recompute a finished run's record from config.yaml, model/ and samples/final.npz.

    Raises RunError naming the first field that was edited or does not come out of the files; DataError for a record
    that contradicts itself (its protocol's hash is a part of reading it).
    """
    folder = RunFolder(run)
    config, record = folder.read_config(), read_record(folder.result)
    if record["status"] != "finished":
        raise RunError(f"{folder.result} is of a run that {record['status']}: there is nothing to recompute")
    checks = [*_costs(folder, config, record), *_likelihood(folder, config, record), *_scores(folder, config, record)]
    for check in checks:
        if not check.holds:
            raise RunError(f"{folder.result}: {check.field} is {check.said}, but {check.found} comes out of the files")
    return checks


def _costs(folder: RunFolder, config: Config, record: Record) -> Iterator[Check]:
    yield Check("config_hash", record["config_hash"], recorded_hash(folder.config))
    yield Check("dataset_sha256", record["dataset_sha256"], data.load(config.data, "train").fingerprint)
    for name, found in cost(config, coded_spec(config))._asdict().items():
        yield Check(name, record[name], found)


def _likelihood(folder: RunFolder, config: Config, record: Record) -> Iterator[Check]:
    family = load(folder.path).generator
    if family.likelihood in QUICK:
        found = bits_per_dim(family.to(processes().device), data.load(config.data, "test"), progress=True)
        assert found, "a quick likelihood has a value"
        for part, value in found.items():
            yield Check(f"bits_per_dim.{part}", (record["bits_per_dim"] or {}).get(part), value)


def _scores(folder: RunFolder, config: Config, record: Record) -> Iterator[Check]:
    if not record["metrics"]:
        return
    images = _scored_images(folder, config)
    extras = bool(record["anchors"]), "nearest_ratio" in record["metrics"]
    scored = score_images(
        images,
        reference_set(config.score.reference, config.data, images.shape[1:], len(images)),
        extractor=config.score.extractor,
        weights=config.score.extractor_weights,
        device=processes().device or torch.device("cpu"),
        sampling=record["protocol"]["sampling"],
        training=Training(data.load(config.data, "train"), *extras) if any(extras) else None,
    )
    yield Check("protocol", record["protocol"], {part: scored.protocol.get(part) for part in record["protocol"]})
    said, found = ([anchor["value"] for anchor in anchors or ()] for anchors in (record["anchors"], scored.anchors))
    yield Check("anchors", said, found)
    for key, metric in record["metrics"].items():  # what the record says: one of before a score existed lacks it
        for part, value in metric.items():
            yield Check(f"metrics.{key}.{part}", value, scored.metrics.get(key, {}).get(part))


def _scored_images(folder: RunFolder, config: Config) -> Tensor:
    """The images that were scored: of those that were kept, or where fewer were kept, the same ones drawn again."""
    n, kept = config.score.num_images, read_images(folder.samples / "final.npz")
    if len(kept) >= n:
        return kept[:n]
    pipeline = load(folder.path).to(processes().device)
    return draw(pipeline.generator, n, config.sample.seed, pipeline.config.sampling).images
