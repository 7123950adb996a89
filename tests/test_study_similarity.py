"""Centred kernel alignment against known answers, trained runs left as they are, verdicts on made-up tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cells import draw_of, make_cell, some_batch
from runs import fresh_launch, pictures, trained  # noqa: F401

from genvision.analysis import similarity
from genvision.analysis.kernels import KERNELS, alignment, hsic, linear_kernel, rbf_kernel
from genvision.analysis.passes import forward, noisy, test_batches
from genvision.analysis.perform import judged
from genvision.analysis.runs import Runs
from genvision.config.trunks import BACKBONES
from genvision.fingerprint import short_hash
from genvision.spec import ImageSpec

test_batches.__test__ = False  # a name of the package, not a test
SETTING = {
    "roles": tuple(similarity.ROLES),
    "seeds": (0,),
    "kernels": ("linear",),
    "groups": 2,
    "batches": 1,
    "batch": 4,
}


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cka(x, y, kernel="linear"):
    return alignment(hsic(torch.stack([KERNELS[kernel](x), KERNELS[kernel](y)])))[0, 1].item()


def biased_alignment(x, y):
    """Linear alignment of (N,D) and (N,E) as first published: |Y^T X|^2 / (|X^T X| |Y^T Y|), columns centred."""
    x, y = x - x.mean(0), y - y.mean(0)
    return ((y.mT @ x).square().sum() / ((x.mT @ x).norm() * (y.mT @ y).norm())).item()


@pytest.mark.parametrize("kernel", KERNELS)
def test_alignment_is_one_with_itself_rotated_or_scaled_and_nothing_with_noise(kernel):
    x = normal(200, 10)
    rotation = torch.linalg.qr(normal(10, 10, seed=1)).Q
    assert cka(x, x, kernel) == pytest.approx(1)
    assert cka(x, 3 * x @ rotation, kernel) == pytest.approx(1)
    assert cka(x, x + 5, kernel) == pytest.approx(1)
    assert cka(x, x @ torch.diag(torch.tensor([9.0] + 9 * [0.1]).double()), kernel) < 0.9, "not to any linear map"
    assert abs(cka(x, normal(200, 10, seed=2), kernel)) < 0.05
    assert 0.3 < cka(x, x + normal(200, 10, seed=2), kernel) < 0.95


def test_the_unbiased_estimate_is_that_of_its_definition():
    """The mean over all quadruples of different images (Gretton et al. 2005), by brute force."""
    x, y = normal(6, 3), normal(6, 2, seed=1)
    k, l = linear_kernel(x), linear_kernel(y)  # noqa: E741
    total, count = 0.0, 0
    for a in range(6):
        for b in range(6):
            for c in range(6):
                for d in range(6):
                    if len({a, b, c, d}) == 4:
                        total += float(k[a, b] * (l[a, b] + l[c, d] - 2 * l[a, c]))
                        count += 1
    assert hsic(torch.stack([k, l]))[0, 1].item() == pytest.approx(total / count)


def test_batches_average_to_the_whole_while_the_biased_estimate_rises_with_small_ones():
    x = normal(512, 20)
    y = x @ normal(20, 20, seed=1) + 3 * normal(512, 20, seed=2)
    whole = cka(x, y)
    sums = sum(
        hsic(torch.stack([linear_kernel(a), linear_kernel(b)])) for a, b in zip(x.split(32), y.split(32), strict=True)
    )
    assert alignment(sums)[0, 1].item() == pytest.approx(whole, abs=0.03)
    assert biased_alignment(x, y) == pytest.approx(whole, abs=0.05)
    small = np.mean([biased_alignment(a, b) for a, b in zip(x.split(32), y.split(32), strict=True)])
    assert small > whole + 0.1


def test_the_kernel_of_distances_knows_its_scale():
    x = torch.tensor([[0.0], [1.0], [3.0]]).double()
    distances = torch.tensor([[0, 1, 3], [1, 0, 2], [3, 2, 0]]).double()
    torch.testing.assert_close(rbf_kernel(x), torch.exp(-((distances / 2) ** 2) / 2))
    torch.testing.assert_close(rbf_kernel(7 * x), rbf_kernel(x))


def test_a_denoiser_is_looked_at_on_images_of_one_noise_level():
    family = make_cell("diffusion", ("vit",), ImageSpec(1, 8, 8)).eval()
    batch, draw = some_batch(64, ImageSpec(1, 8, 8)), draw_of(64)
    clean = family.codec.values(batch, draw, family.dtype)
    for time in (0.0, 0.5, 1.0):
        found = noisy(family, batch, draw, torch.full((64,), time))
        share = (found * clean).mean() / clean.square().mean()
        assert share.item() == pytest.approx(1 - time, abs=0.05)
    assert forward(family, "denoiser", batch, draw, time=0.3)().shape == clean.shape


def test_measuring_changes_no_weight(tmp_path, trained):
    paths = [trained(family, backbone).path for family in ("vae", "diffusion") for backbone in ("vit", "convnet")]
    runs = Runs(tmp_path, "smoke", [*paths, trained("autoregressive", "vit").path])
    families = [one.family for one in runs.given]
    before = [short_hash(family) for family in families]
    rows = similarity.STUDY.measure(SETTING, runs)
    assert [short_hash(family) for family in families] == before
    own = [row for row in rows if row["what"] == "vit-0 vit-0" and row["part"] == "denoiser, linear"]
    assert all(row["value"] == 1 for row in own if row["i"] == row["j"]) and {row["seed"] for row in own} == {0, 1}
    assert {row["part"] for row in rows} == {*(f"{role}, linear" for role in SETTING["roles"]), "noise"}
    half = [row for row in rows if row["part"] == "noise" and row["j"] == 0.5]
    assert half and all(row["value"] == 1 for row in half)


def table(matrix, within=0.9, groups=3, jitter=0.0):
    """The given alignment of six layers across seeds and backbones; inside a ViT `within`, inside a ConvNet 0.5."""
    rows = []
    for group in range(groups):
        shift = jitter * (group - 1)
        for role in similarity.ROLES:
            pairs = {f"{name}-0 {name}-{k}": np.eye(6) for name in BACKBONES for k in ("1", "narrow")}
            pairs["convnet-0 vit-0"] = matrix
            pairs["vit-0 vit-0"], pairs["convnet-0 convnet-0"] = np.full((6, 6), within + shift), np.full((6, 6), 0.5)
            for what, values in pairs.items():
                moved = np.roll(values, group % 2, 0) if jitter else values
                for (i, j), value in np.ndenumerate(moved):
                    row = {"part": f"{role}, linear", "what": what, "i": i, "j": j, "seed": group}
                    rows.append(row | {"value": float(value)})
    return rows


DEEP = np.array([[0.1] * 6] * 3 + [[0.9, 0.9, 0.9, 0.3, 0.2, 0.2]] + [[0.1] * 6] * 2)  # a deep layer knows lower ones

SHALLOW = np.array([[0.2] * 3 + [0.9] * 3] + [[0.1] * 6] * 5)


def verdicts(rows):
    return [str(claim["verdict"]) for claim in judged(similarity.STUDY, rows)["claims"]]


def test_the_four_verdicts():
    assert verdicts(table(DEEP)) == ["supported"] * 5
    shallow = table(SHALLOW, within=0.1)
    for row in shallow:
        if row["what"].endswith(("-1", "-narrow")):
            row["value"] = float(row["j"] == (row["i"] + 1) % 6)
    assert verdicts(shallow) == ["not supported"] * 5
    assert verdicts(table(DEEP, groups=2)) == ["not testable at this scale"] * 5
    unsure = table(DEEP, within=0.5, jitter=0.3)
    assert [verdicts(unsure)[k] for k in (0, 1, 4)] == ["mixed"] * 3
    half = [{**row, "value": 0.5} if row["part"].startswith("encoder") else row for row in table(DEEP)]
    assert verdicts(half) == ["mixed"] * 5
