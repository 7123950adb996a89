"""Whether a run's record says what its folder holds: everything that can be recomputed without training is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

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
from genvision.scoring import reference_set, score_images

RELATIVE = 1e-6  # of a recomputed score; counts and hashes must be equal


class Check(NamedTuple):
    """A field of a record, what the record says and what was found."""

    field: str
    said: Any
    found: Any

    @property
    def holds(self) -> bool:
        if isinstance(self.said, float) and isinstance(self.found, float):
            return abs(self.said - self.found) <= RELATIVE * max(abs(self.said), abs(self.found))
        return self.said == self.found


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
    images = read_images(folder.samples / "final.npz")[: config.score.num_images]
    scored = score_images(
        images,
        reference_set(config.score.reference, config.data, images.shape[1:], len(images)),
        extractor=config.score.extractor,
        weights=config.score.extractor_weights,
        device=processes().device or torch.device("cpu"),
        sampling=record["protocol"]["sampling"],
    )
    yield Check("protocol", record["protocol"], scored.protocol)
    for key, metric in scored.metrics.items():
        for part, value in metric.items():
            yield Check(f"metrics.{key}.{part}", record["metrics"][key].get(part), value)
