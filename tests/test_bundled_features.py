"""The reference features that ship with the package are those of the bundled test images."""

from __future__ import annotations

import torch

from genvision import data
from genvision.config import load_config
from genvision.evaluation import features
from genvision.evaluation.extractors import make_extractor


def test_shipped_features_are_what_the_extractor_gives(monkeypatch, tmp_path):
    monkeypatch.setenv("GENVISION_CACHE", str(tmp_path))
    images = data.load(load_config(None, ["data=fashion_mnist_mini"]).data, "test")
    extractor = make_extractor("efficientnet-lite0")
    monkeypatch.setattr(features, "extract", None)  # they must be found, not computed
    shipped = features.reference_features(images, extractor).pool
    monkeypatch.undo()
    rows = torch.tensor([0, 777, 1999])
    found = features.extract(images.images[rows], extractor, batch_size=4).pool
    assert shipped.shape == (2000, extractor.dim)
    torch.testing.assert_close(found, shipped[rows], rtol=1e-3, atol=1e-3)
