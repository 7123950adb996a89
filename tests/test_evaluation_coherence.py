"""Coherence: pictures whose numbers follow from their definition."""

from __future__ import annotations

import math

import pytest
import torch

from genvision.evaluation.coherence import autocorrelation, coherence, radial_spectrum, total_variation


def noise(n: int = 40, side: int = 16, low: int = 0, high: int = 256, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(low, high, (n, 1, side, side), generator=rng).to(torch.uint8)


def stripes(side: int = 16) -> torch.Tensor:
    """Columns of 0 and 200 in turn."""
    return (torch.arange(side) % 2 * 200.0).expand(1, 1, side, side)


def checkerboard(side: int = 16) -> torch.Tensor:
    return ((torch.arange(side)[:, None] + torch.arange(side)) % 2 * 200.0)[None, None]


def test_total_variation_of_stripes_and_checkerboard():
    assert total_variation(stripes()).item() == pytest.approx(200 / 255 / 2)  # across them alone
    assert total_variation(checkerboard()).item() == pytest.approx(200 / 255)
    assert total_variation(torch.full((1, 3, 4, 4), 7.0)).item() == 0


def test_autocorrelation_of_stripes_checkerboard_noise_and_a_wave():
    assert autocorrelation(checkerboard().double()).item() == pytest.approx(-1)
    assert autocorrelation(stripes().double()).item() == pytest.approx(0)
    assert autocorrelation(torch.full((1, 1, 4, 4), 7.0)).item() == 1  # no contrast
    assert autocorrelation(noise(200, 32).double()).mean().item() == pytest.approx(0, abs=0.01)
    wave = 100 * torch.cos(2 * math.pi * 4 * torch.arange(256) / 256).expand(1, 1, 256, 256).double()
    expected = (1 + math.cos(2 * math.pi * 4 / 256)) / 2  # along it nothing changes
    assert autocorrelation(wave).item() == pytest.approx(expected, abs=0.005)


def test_the_spectrum_of_a_wave_stands_in_its_ring():
    wave = torch.cos(2 * math.pi * 3 * torch.arange(16).double() / 16).expand(1, 1, 16, 16) + 5
    spectrum = radial_spectrum(wave)[0]
    assert spectrum.shape == (8,) and spectrum.argmax() == 2  # three periods an image
    assert spectrum[[0, 1, 3, 4, 5, 6, 7]].abs().max() < 1e-20
    tall = torch.cos(2 * math.pi * 6 * torch.arange(32) / 32)[:, None].expand(1, 1, 32, 16).double()
    assert radial_spectrum(tall)[0].argmax() == 2  # the same wavelength on a picture twice as high


def test_twice_the_contrast_is_a_spectrum_error_of_log_4():
    real = noise(high=100)
    found = coherence((real.int() * 2).to(torch.uint8), real)["spectrum_error"]
    assert found["value"] == pytest.approx(math.log10(4), rel=1e-6)
    assert coherence(real, real)["spectrum_error"]["value"] == 0


def test_a_grid_of_patches_is_found_with_its_side():
    real = noise(200)
    lifted = (torch.arange(16)[:, None] // 4 + torch.arange(16) // 4) % 2 * 100
    found = coherence((noise(200, high=20, seed=1).int() + lifted).to(torch.uint8), real)["patch_edges"]
    assert found["side"] == 4
    inside, edge = 20 / 3, 100  # mean |difference| of two uniform numbers below 20, and of ones about 100 apart
    assert found["value"] == pytest.approx(edge / inside, rel=0.05)
    again = coherence(noise(200, seed=2), real)["patch_edges"]
    assert again["value"] == pytest.approx(1, abs=0.05)


def test_values_of_the_real_images_stand_beside_and_intervals_around():
    generated, real = noise(60, high=128), noise(50, seed=1)
    found = coherence(generated, real)
    assert list(found) == ["total_variation", "autocorrelation", "patch_edges", "spectrum_error"]
    assert found["total_variation"]["real"] == pytest.approx(total_variation(real.double()).mean().item())
    assert found["total_variation"]["value"] == pytest.approx(total_variation(generated.double()).mean().item())
    assert found["total_variation"]["real"] > 1.9 * found["total_variation"]["value"]
    for metric in found.values():
        low, high = metric["interval"]
        assert low < metric["value"] < high


@pytest.mark.parametrize("key", ["total_variation", "autocorrelation", "patch_edges", "spectrum_error"])
def test_an_interval_is_as_wide_as_repeated_draws_spread(key):
    def smoothed(n, seed):
        x = noise(n, 17, seed=seed).double()
        return ((x[..., 1:, 1:] + x[..., :-1, :-1]) / 2).to(torch.uint8)

    found = [coherence(noise(60, high=128, seed=2 * k), smoothed(50, 2 * k + 1))[key] for k in range(60)]
    values = torch.tensor([metric["value"] for metric in found])
    ends = torch.tensor([metric["interval"] for metric in found])
    # of patch edges the worst side is told, which varies less than each
    assert ((ends[:, 1] - ends[:, 0]) / (2 * 1.96)).mean() == pytest.approx(values.std().item(), rel=0.35)


def test_sizes_without_neighbours_or_patches_have_no_such_score():
    thin = torch.zeros(4, 1, 1, 9, dtype=torch.uint8)
    assert coherence(thin, thin) == {}
    small = noise(4, 3)
    assert list(coherence(small, small)) == ["total_variation", "autocorrelation", "spectrum_error"]
