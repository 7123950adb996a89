"""The images that a run draws of its averaged weights: the folder they lie in, and their score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from genvision import data
from genvision.config.schema import Config
from genvision.data import ImageSet
from genvision.evaluation.nearest import write_nearest
from genvision.evaluation.pictures import NEAREST
from genvision.families.base import Family
from genvision.sampling import write_grid, write_images
from genvision.sampling.write import grid_columns
from genvision.scoring import (
    Drawn,
    Scored,
    Training,
    draw,
    sampling_protocol,
    score_images,
    score_reconstructions,
)


@dataclass(frozen=True)
class RunSamples:
    """Draws and scores on every process alike; only the main one writes.

    settings   keyword arguments of `draw_images`
    folder     the run's samples/
    reference  the real images that a score compares with; None: there is no score
    """

    config: Config
    family: Family
    settings: Mapping[str, Any]
    folder: Path
    reference: ImageSet | None
    main: bool

    def draw(self, n: int) -> Drawn:
        """Images 0..n-1 of the run's sampling seed."""
        return draw(self.family, n, self.config.sample.seed, self.settings)

    def write_grid(self, images: Tensor, name: str) -> str:
        """The first log.grid_images as samples/NAME. Returns its path below the run folder."""
        if self.main:
            shown = images[: self.config.log.grid_images]
            write_grid(shown, self.folder / name, columns=grid_columns(self.family.spec.classes))
        return f"{self.folder.name}/{name}"

    def write_all(self, images: Tensor) -> str:
        """All images as samples/final.npz, in place of what an interrupted attempt left there, and their grid."""
        if self.main:
            path = self.folder / "final.npz"
            path.unlink(missing_ok=True)
            write_images(images, path, labels=self.family.check_labels(None, len(images)))
        return self.write_grid(images, "final.png")

    def score(self, images: Tensor, training: Training | None = None) -> Scored:
        """The score of drawn images (N,C,H,W) uint8, with its protocol; what it shows of neighbours is written."""
        config = self.config
        assert self.reference is not None, "only a run with score.num_images is scored"
        scored = score_images(
            images,
            self.reference,
            extractor=config.score.extractor,
            weights=config.score.extractor_weights,
            sampling=sampling_protocol(
                self.settings, self.family, seed=config.sample.seed, ema=config.ema.decay, labels="k mod classes"
            ),
            training=training,
        )
        if self.main and scored.nearest is not None:
            write_nearest(scored.nearest, self.folder.parent / NEAREST)
        return scored

    def score_codec(self) -> Scored:
        """The score of what the codec gives back of as many test images: codes alone make none that are better."""
        config, test_set = self.config, data.load(self.config.data, "test")
        return score_reconstructions(
            self.family,
            test_set,
            min(config.score.num_images, len(test_set)),
            batch_size=config.sample.chunk_size,
            extractor=config.score.extractor,
            weights=config.score.extractor_weights,
            ema=config.ema.decay,
        )
