"""Every combination of path, prediction, times and weight: exact on Gaussian images, or refused in one line."""

from __future__ import annotations

import itertools
from typing import get_args, get_type_hints

import pytest
import torch
from cells import FAMILY_OPTIONS, PATHS, Oracle, draw_of, make_cell
from torch.special import ndtr

from genvision.config import load_config
from genvision.config.schema import DiffusionConfig
from genvision.errors import ConfigError
from genvision.families.objective import OBJECTIVES, loss_weight, training_times
from genvision.probability.randomness import Stream, uniform
from genvision.probability.units import to_pixels, to_unit
from genvision.spec import Batch, ImageSpec

SPEC = ImageSpec(1, 8, 8)
MEAN, STD = 0.1, 0.25
HINTS = get_type_hints(DiffusionConfig)
CHOICES = {name: get_args(HINTS[name]) for name in ("prediction", "times", "weight")}
SENSIBLE = [(path, *options) for path, valid in OBJECTIVES.items() for options in itertools.product(*valid)]
TARGETS = [(path, prediction) for path, valid in OBJECTIVES.items() for prediction in valid.prediction]


def cell_of(path: str, prediction: str, times: str = "log_normal", weight: str = "none", **options):
    """A diffusion cell whose denoiser knows that images are drawn from N(MEAN, STD^2)."""
    chosen = {"path": path, "prediction": prediction, "times": times, "weight": weight}
    cell = make_cell("diffusion", ("vit",), SPEC, **chosen, **options)
    cell.denoiser = Oracle(cell, MEAN, STD)
    return cell


def some_gaussian(n: int) -> Batch:
    x = MEAN + STD * torch.randn(n, *SPEC.shape, generator=torch.Generator().manual_seed(0))
    return Batch(to_pixels(x))


def weight_on_x0(weight: str, level: torch.Tensor) -> torch.Tensor | None:
    """What the squared error of the image counts; None where the weight is on that of the prediction."""
    if weight == "min_snr":
        return level.pow(-2).clamp(max=5)
    if weight == "edm":
        return (level**2 + 0.25) / (level * 0.5) ** 2
    return None


@pytest.mark.parametrize(("path", "prediction", "times", "weight"), SENSIBLE)
def test_the_loss_of_the_best_denoiser_is_its_closed_form(path, prediction, times, weight) -> None:
    """At every time that is drawn. The error of x0 has the posterior variance r^2 s^2 / (s^2 + r^2) at noise level r,
    that of the prediction so many times |d prediction / d x0| at fixed xt, written out here for each."""
    n = 200
    cell = cell_of(path, prediction, times, weight)
    loss = cell.loss(some_gaussian(n), draw_of(n))["loss"].double()
    alpha, sigma = PATHS[path].alpha_sigma(training_times(cell.options, PATHS[path], uniform(draw_of(n), Stream.TIMES)))
    r = sigma / alpha
    variance = (r * STD) ** 2 / (r**2 + STD**2)
    gain = {
        "x0": torch.ones_like(r),
        "epsilon": 1 / r,
        "velocity": 1 + 1 / r,
        "v": sigma + alpha / r,
        "preconditioned": torch.sqrt(r**2 + 0.25) / (r * 0.5),
    }[prediction]
    on_x0 = weight_on_x0(weight, r)
    expected = variance * (gain**2 if on_x0 is None else on_x0)
    dims = n * SPEC.dims  # a mean of squares of so many normal numbers
    assert (loss / expected).mean().item() == pytest.approx(1, abs=5 * (2 / dims) ** 0.5)


@pytest.mark.parametrize(("path", "prediction"), TARGETS)
def test_samples_of_the_best_denoiser_have_mean_and_deviation_of_the_data(path, prediction) -> None:
    cell = cell_of(path, prediction)
    images = to_unit(cell.sample(64, chunk_size=64, steps=50, scheduler="dpm++"), dtype=torch.float64)
    error_of_mean = STD / images.numel() ** 0.5
    assert images.mean().item() == pytest.approx(MEAN, abs=4 * error_of_mean + 0.002)
    assert images.std().item() == pytest.approx(STD, abs=4 * error_of_mean + 0.005)


def test_edm_counts_every_noise_level_alike() -> None:
    """1 / c_out^2 on the image is 1 on the preconditioned output: "edm" and "none" are one there, and only there."""
    batch, draw = some_gaussian(64), draw_of(64)
    same, plain = (cell_of("edm", "preconditioned", weight=w).loss(batch, draw)["loss"] for w in ("edm", "none"))
    torch.testing.assert_close(same, plain, rtol=1e-5, atol=0)
    same, plain = (cell_of("edm", "epsilon", weight=w).loss(batch, draw)["loss"] for w in ("edm", "none"))
    assert (same > plain).all()


def test_edm_weight_is_one_loss_whatever_is_predicted() -> None:
    batch, draw = some_gaussian(64), draw_of(64)
    losses = [cell_of("edm", p, weight="edm").loss(batch, draw)["loss"] for p in OBJECTIVES["edm"].prediction]
    for other in losses[1:]:
        torch.testing.assert_close(other, losses[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("path", ["cosine", "linear"])
def test_min_snr_is_the_table_of_its_paper(path) -> None:
    """Hang et al. 2023, section 3.4: min(SNR, 5) of an x0, min(SNR, 5) / SNR of an epsilon, / (SNR + 1) of a v."""
    t = torch.linspace(0.01, 0.95, 20, dtype=torch.float64)
    alpha, sigma = PATHS[path].alpha_sigma(t)
    snr = (alpha / sigma) ** 2
    for prediction, divisor in {"x0": torch.ones_like(t), "epsilon": snr, "v": snr + 1}.items():
        options = cell_of(path, prediction, weight="min_snr").options
        torch.testing.assert_close(loss_weight(options, PATHS[path], t), snr.clamp(max=5) / divisor)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("times", ["uniform", "logit_normal", "log_normal"])
def test_times_follow_their_law(path, times) -> None:
    if times not in OBJECTIVES[path].times:
        return
    options = cell_of(path, "x0", times, log_normal_mean=-0.5, log_normal_std=0.8).options
    t = training_times(options, PATHS[path], uniform(draw_of(4000), Stream.TIMES))
    if times == "log_normal":
        alpha, sigma = PATHS[path].alpha_sigma(t)
        u = ndtr((torch.log(sigma / alpha) + 0.5) / 0.8)
    else:
        u = t if times == "uniform" else ndtr(torch.logit(t))
    u = u.sort().values
    assert (u - (torch.arange(4000) + 0.5) / 4000).abs().max() < 1.63 / 4000**0.5  # Kolmogorov-Smirnov at 1 %


def test_on_the_flow_path_log_normal_noise_is_logit_normal_time() -> None:
    u = uniform(draw_of(50), Stream.TIMES)
    one = training_times(cell_of("flow", "x0", "log_normal", log_normal_mean=0.0, log_normal_std=1.0).options,
                         PATHS["flow"], u)  # fmt: skip
    torch.testing.assert_close(one, training_times(cell_of("flow", "x0", "logit_normal").options, PATHS["flow"], u))


def test_every_choice_of_the_schema_makes_sense_somewhere_and_nonsense_is_refused() -> None:
    """In one line that names what would work: each option alone, from a combination that is fine."""
    assert tuple(OBJECTIVES) == get_args(HINTS["path"])
    for name, choices in CHOICES.items():
        assert {choice for valid in OBJECTIVES.values() for choice in getattr(valid, name)} == set(choices)
    refused = 0
    for path, valid in OBJECTIVES.items():
        fine = {name: allowed[0] for name, allowed in valid._asdict().items()}
        make_cell("diffusion", ("vit",), SPEC, path=path, **fine)
        for name, choices in CHOICES.items():
            for choice in set(choices) - set(getattr(valid, name)):
                message = f"family.{name}={choice} makes no sense on family.path={path}; use one of "
                with pytest.raises(ConfigError) as error:
                    make_cell("diffusion", ("vit",), SPEC, path=path, **(fine | {name: choice}))
                assert str(error.value) == message + ", ".join(getattr(valid, name))
                refused += 1
    assert refused == 2 * 3 + 2 + 3 * 1 + 2  # predictions of flow, cosine, linear; of edm; weight edm; times on edm


def test_the_cells_of_the_tests_are_the_defaults_of_the_family() -> None:
    assert load_config(None, ["family=diffusion"]).family == FAMILY_OPTIONS["diffusion"]
