"""Where features are and where objects are, read from features that know it or do not; verdicts on made-up tables."""

from __future__ import annotations

import pytest
import torch
from runs import fresh_launch, pictures, trained  # noqa: F401

from genvision.analysis import places
from genvision.analysis.perform import judged
from genvision.analysis.places import flat
from genvision.analysis.probing import determination, ridge
from genvision.analysis.runs import Runs
from genvision.fingerprint import short_hash


def test_features_and_places_of_tokens_belong_together():
    rows = torch.arange(3.0)[:, None].expand(3, 5)
    columns = torch.arange(5.0).expand(3, 5)
    h = torch.stack([rows, columns], -1).expand(4, 3, 5, 2)
    x, where = flat(h, 1000)
    assert len(x) == 60 and torch.equal(where[:, 0], x[:, 0] - 1) and torch.equal(where[:, 1], x[:, 1] / 2 - 1)
    assert len(flat(h, 7)[0]) == 7
    assert determination(ridge(x, where)(x), where) == pytest.approx(1, abs=0.01)
    noise = torch.randn(4, 3, 5, 2, generator=torch.Generator().manual_seed(0))
    x, where = flat(noise, 1000)
    assert determination(ridge(x, where)(x), where) < 0.2


def test_the_shift_of_an_image_is_read_from_its_places(tmp_path, trained, monkeypatch):
    (one,) = Runs(tmp_path, "smoke", [trained("vae", "vit").path]).given
    ramp = torch.zeros(200, 1, 16, 16)
    ramp[:, :, 6:10, 6:10] = 200
    batch = places.Batch(ramp.to(torch.uint8), None)
    monkeypatch.setattr(places, "features", lambda one, role, batch, draw: [batch.images.movedim(1, 3).float()])
    kept, pooled = places.moved(one, batch, None)
    assert (kept["left"], pooled["left"]) == ("all places", "their mean")
    assert kept["value"] > 0.9 and pooled["value"] < 0.1


def test_measuring_changes_no_weight(tmp_path, trained):
    paths = [trained(family, backbone).path for family in ("vae", "diffusion") for backbone in ("vit", "convnet")]
    runs = Runs(tmp_path, "smoke", paths)
    before = [short_hash(one.family) for one in runs.given]
    rows = places.STUDY.measure({"seeds": (0,), "words": (), "images": 6, "tokens": 100}, runs)
    assert [short_hash(one.family) for one in runs.given] == before
    assert {row["part"] for row in rows} == {"encoder, own place", "denoiser, own place", "encoder, shift"}
    unet = [row["side"] for row in rows if row["part"].startswith("denoiser") and row["what"] == "convnet"]
    assert unet[0] == unet[-1] > min(unet), "down and up again"


def table(vit, convnet, whole, pooled, seeds=3, jitter=0.0):
    rows = []
    for seed in range(seeds):
        shake = jitter * (seed - 1)
        for role in places.ROLES:
            for name, value in (("vit", vit + shake), ("convnet", convnet - shake)):
                for i, side in enumerate((8, 4, 4, 8)):
                    row = {"part": f"{role}, own place", "what": name, "i": i, "side": side, "seed": seed}
                    rows.append(row | {"value": value if i == 2 else 0.123})
        for left, value in zip(places.LEFT, (whole + shake, pooled), strict=True):
            rows.append({"part": "encoder, shift", "what": "convnet", "left": left, "seed": seed, "value": value})
    return rows


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table(0.9, 0.2, 0.9, 0.1), "supported"),
        (table(0.4, 0.7, 0.5, 0.5), "not supported"),
        (table(0.5, 0.5, 0.6, 0.5, jitter=0.2), "mixed"),
        (table(0.9, 0.2, 0.9, 0.1, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    assert [claim["verdict"] for claim in judged(places.STUDY, rows)["claims"]] == [verdict] * 4
