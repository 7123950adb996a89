"""Compute the reference features that ship with the package: EfficientNet-Lite0 on the bundled test images.

    python scripts/make_reference_features.py

They save a first run a minute of two CPU cores. Their file is named by a hash of the pixels, the weights and the
preprocessing, so it can never be taken for those of other images.
"""

from __future__ import annotations

from genvision import data
from genvision.config import load_config
from genvision.evaluation.extractors import make_extractor
from genvision.evaluation.features import BUNDLED, extract, reference_key, save_reference


def main() -> None:
    images = data.load(load_config(None, ["data=fashion_mnist_mini"]).data, "test")
    extractor = make_extractor("efficientnet-lite0")
    path = BUNDLED / f"{reference_key(images.fingerprint, extractor)}.safetensors"
    save_reference(extract(images.images, extractor, progress=True).pool, path)
    print(path)


if __name__ == "__main__":
    main()
