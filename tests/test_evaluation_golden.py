"""The golden FID of torch-fidelity's own tests through our score path: needs Inception's weights and CIFAR-10."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from test_data_sets import FakeCifar, config
from torch import Tensor, nn

from genvision import data
from genvision.data import named
from genvision.evaluation import registered, weights
from genvision.evaluation.frechet import distance, fit
from genvision.scoring import score_images

GOLDEN = 10.3233274  # test_metric_fid_fidelity.py of torch-fidelity 0.4.0, which allows itself 1e-4
WEIGHTS = Path(os.environ.get("GENVISION_INCEPTION") or weights.inception().cache)


def frechet(n: int, extractor: str, file: Path | None = None) -> float:
    """Of the first n training images of CIFAR-10 against its first n test images, in the order of its files."""
    asked = config("cifar10", labels=False, validation_fraction=0.0)
    train, test = (data.load(asked, split) for split in ("train", "test"))
    real = replace(test, images=test.images[:n])
    found = score_images(train.images[:n], real, extractor=extractor, weights=str(file) if file else None)
    return found.metrics["frechet"]["value"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not WEIGHTS.is_file(), reason=f"needs {WEIGHTS} (or $GENVISION_INCEPTION)")
@pytest.mark.skipif(named.find("cifar10", None) is None, reason="needs CIFAR-10")
def test_five_thousand_training_images_against_as_many_others_have_the_golden_fid(tmp_path, monkeypatch):
    monkeypatch.setenv("GENVISION_CACHE", str(tmp_path))
    assert frechet(5000, "inception", WEIGHTS) == pytest.approx(GOLDEN, rel=0, abs=1e-3)


class Corner(nn.Module):
    """An extractor without weights: twelve of the numbers of an image."""

    name, metric_name, resize, dim = "corner", "FD-Corner", "none", 12

    def __init__(self, weights: Path | None) -> None:
        super().__init__()

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :, :2, :2].flatten(1).float()


def test_the_golden_path_scores_the_first_images_of_both_splits(tmp_path, monkeypatch):
    monkeypatch.setenv("GENVISION_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GENVISION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registered, "_REGISTERED", {})
    registered.register_extractor(Corner)
    monkeypatch.setitem(named.NAMED, "cifar10", replace(named.NAMED["cifar10"], counts={"train": 5, "test": 5}))
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", FakeCifar)
    train, test = (FakeCifar(tmp_path / "data", train=train, download=train) for train in (True, False))
    a, b = (torch.from_numpy(some.data[:4, :2, :2]).permute(0, 3, 1, 2).flatten(1).float() for some in (train, test))
    assert frechet(4, "corner") == pytest.approx(distance(fit(a), fit(b)), rel=1e-9)
