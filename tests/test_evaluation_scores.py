"""Scores: a closed form, torch-fidelity as oracle, names, and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from genvision.errors import DataError
from genvision.evaluation import scores
from genvision.evaluation.features import Features
from genvision.evaluation.frechet import distance, fit


def features(n: int, dim: int = 48, shift: float = 0.0, seed: int = 0, classes: int = 10) -> Features:
    rng = torch.Generator().manual_seed(seed)
    pool = (torch.randn(n, dim, generator=rng) + shift).relu()
    return Features(pool, torch.randn(n, classes, generator=rng) * 3)


def pooled(pool: torch.Tensor) -> Features:
    return Features(pool, pool.new_empty(len(pool), 0))


def frechet(x: Features, y: Features) -> float:
    return distance(fit(x.pool), fit(y.pool))


def whitened(n: int, deviations: np.ndarray, mean: np.ndarray) -> Features:
    """Features whose sample mean and covariance are `mean` and diag(deviations^2) to the last bits of float64."""
    x = np.random.default_rng(n).standard_normal((n, len(mean)))
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return pooled(torch.from_numpy(x * deviations + mean))


@pytest.mark.parametrize("dim", [3, 64])
def test_frechet_from_exact_statistics_is_the_closed_form_to_1e_8(dim):
    rng = np.random.default_rng(dim)
    (a, b), (m, k) = rng.uniform(0.3, 2, (2, dim)), rng.normal(0, 1, (2, dim))
    expected = ((m - k) ** 2).sum() + ((a - b) ** 2).sum()
    assert frechet(whitened(400, a, m), whitened(500, b, k)) == pytest.approx(expected, rel=0, abs=1e-8)


def test_frechet_of_a_set_with_itself_is_zero_and_blind_to_order():
    x, y = features(300), features(300, shift=0.3, seed=1)
    assert frechet(x, x) == pytest.approx(0, abs=1e-3)
    shuffled = pooled(x.pool[torch.randperm(300)])
    assert frechet(shuffled, y) == pytest.approx(frechet(x, y), rel=1e-6)


@pytest.fixture
def pixel_extractor():
    """Registers an extractor whose features are the pixels: then torch-fidelity scores exactly our features."""
    import torch_fidelity
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

    class Pixels(torch_fidelity.FeatureExtractorBase):
        def __init__(self, name, features_list, **_):
            super().__init__(name, features_list)

        def forward(self, x):
            return tuple(pixel_features(x)[name] for name in self.features_list)

        @staticmethod
        def get_provided_features_list():
            return "pool", "logits"

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "logits" if metric == "isc" else "pool"

    torch_fidelity.register_feature_extractor("pixels", Pixels)
    yield "pixels"
    del FEATURE_EXTRACTORS_REGISTRY["pixels"]


def pixel_features(x: torch.Tensor) -> dict[str, torch.Tensor]:
    flat = x.flatten(1).float() / 64
    return {"pool": flat, "logits": flat[:, :10]}


class Images(torch.utils.data.Dataset):
    def __init__(self, images: torch.Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, k: int) -> torch.Tensor:
        return self.images[k]


@pytest.mark.parametrize(("generated_images", "real_images", "subsets"), [(150, 200, 100), (1100, 1050, 5)])
def test_every_score_equals_torch_fidelitys_own_run(
    pixel_extractor, monkeypatch, generated_images, real_images, subsets
):
    import torch_fidelity

    rng = torch.Generator().manual_seed(3)
    fake = torch.randint(0, 200, (generated_images, 3, 4, 4), generator=rng).to(torch.uint8)
    real = torch.randint(30, 256, (real_images, 3, 4, 4), generator=rng).to(torch.uint8)
    oracle = torch_fidelity.calculate_metrics(
        input1=Images(fake),
        input2=Images(real),
        feature_extractor=pixel_extractor,
        **dict.fromkeys(("isc", "fid", "kid", "prc", "save_cpu_ram"), True),
        **dict.fromkeys(("cuda", "cache", "verbose"), False),
        kid_subset_size=min(1000, generated_images, real_images),
        kid_subsets=subsets,
    )
    if generated_images > 1000:  # fewer subsets, to save time
        monkeypatch.setattr(scores, "KID_SUBSETS", subsets)
    found = scores.score(*(Features(**pixel_features(images)) for images in (fake, real)), metric_name="FD-Pixels")
    pairs = {
        ("frechet", "value"): "frechet_inception_distance",
        ("kid", "value"): "kernel_inception_distance_mean",
        ("kid", "std"): "kernel_inception_distance_std",
        ("precision", "value"): "precision",
        ("recall", "value"): "recall",
        ("inception_score", "value"): "inception_score_mean",
        ("inception_score", "std"): "inception_score_std",
    }
    for (key, part), name in pairs.items():
        assert found[key][part] == pytest.approx(oracle[name], rel=1e-6, abs=1e-12), name
    assert found["precision"]["value"] != found["recall"]["value"]  # so that a swap of the two sets cannot pass


def test_names_follow_the_extractor_and_only_inception_is_called_fid():
    x = features(60)
    names = {key: metric["name"] for key, metric in scores.score(x, x, metric_name="FD-EffNetLite0").items()}
    assert names["frechet"] == "FD-EffNetLite0"
    assert names["kid"] == "KD-EffNetLite0"
    assert names["inception_score"] == "IS-EffNetLite0"
    names = {key: metric["name"] for key, metric in scores.score(x, x, metric_name="FID").items()}
    assert (names["frechet"], names["kid"], names["inception_score"]) == ("FID", "KID", "IS")


@pytest.mark.parametrize(("n", "marked"), [(48, True), (49, False)])
def test_no_more_images_than_features_is_marked(n, marked):
    assert scores.score(features(n), features(200), metric_name="FID")["frechet"].get("rank_deficient", False) is marked


@pytest.mark.parametrize(("generated", "real"), [(3, 100), (100, 3)])
def test_too_few_images_are_refused(generated, real):
    with pytest.raises(DataError, match="3 images are too few"):
        scores.score(features(generated), features(real), metric_name="FID")


def test_few_and_constant_images_still_give_numbers():
    few = scores.score(features(4), features(5, seed=1), metric_name="FID")
    flat = Features(torch.ones(20, 48), torch.zeros(20, 10))
    constant = scores.score(flat, features(200), metric_name="FID")
    for metrics in (few, constant):
        assert all(math.isfinite(metric["value"]) for metric in metrics.values())
    assert constant["inception_score"]["value"] == pytest.approx(1)
