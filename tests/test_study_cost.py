"""The studies of costs: formulas against counts, exponents and crossings with known answers, made-up tables."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest
import torch

from genvision.analysis import cost, speed
from genvision.analysis.closed_forms import CLOSED_FORMS
from genvision.analysis.counting import counted, trunk_inputs
from genvision.analysis.estimates import crossing, log_log_slope
from genvision.analysis.mixings import ATTENDING, MIXINGS, WIDTH, make_mixing
from genvision.analysis.perform import judged
from genvision.config.trunks import TRUNK_CONFIGS
from genvision.layers.attention import attend
from genvision.trunks import TRUNKS, make_trunk

VARIANTS = [
    ("conv", {"kernel": 5, "depth": 3}, False),
    ("unet", {"multipliers": (1, 2, 2)}, False),
    (
        "unet",
        {"multipliers": (1, 3), "depth": 2, "attention_levels": (1,), "input_skips": True, "attention": False},
        False,
    ),
    ("pixelcnn", {"depth": 3}, True),
    ("pixelcnn", {"depth": 2, "kernel": 3}, True),
    ("pixelcnnpp", {"scales": 3, "depth": 1}, True),
    ("pixelcnnpp", {"scales": 1, "depth": 2}, True),
    ("vit", {"depth": 2, "class_token": True, "position": "rotary"}, False),
    ("vit", {"depth": 1, "position": "sincos", "mlp_ratio": 2.0, "head_width": 16}, True),
    ("vit", {"depth": 2, "class_token": True, "position": "relative"}, False),
    ("vit", {"depth": 2, "position": "relative"}, True),
    ("vit", {"depth": 1, "position": "axial"}, False),
    ("mixer", {"depth": 1, "position": "fourier"}, False),
    ("mixer", {"depth": 2, "token_ratio": 0.5}, False),
    ("mixer", {"depth": 2, "token_ratio": 2.0, "channel_ratio": 2.0, "position": "learned"}, True),
]


@pytest.mark.parametrize(("name", "options", "causal"), VARIANTS, ids=lambda value: str(value))
def test_closed_forms_are_what_is_counted(name, options, causal):
    whole = asdict(TRUNK_CONFIGS[name](**{"width": 32, **options}))
    for grid in ((5, 6), (8, 3)):
        found = counted(lambda: make_trunk(whole, grid, causal=causal), trunk_inputs(grid, 32))  # noqa: B023
        assert found == CLOSED_FORMS[name](grid, whole, causal)


def test_every_trunk_has_a_closed_form():
    assert set(CLOSED_FORMS) == set(TRUNKS)


def test_exponents_of_power_laws():
    x = [64, 128, 256, 1024]
    found = log_log_slope("square", x, [3 * value**2 for value in x])
    assert found.value == pytest.approx(2) and found.high - found.low < 1e-6 and found.n == 4
    noisy = log_log_slope("noisy", x, [8.0, 5.0, 4.4, 2.0])
    assert noisy.low < noisy.value < noisy.high and noisy.value == pytest.approx(
        np.polyfit(np.log(x), np.log([8.0, 5.0, 4.4, 2.0]), 1)[0]
    )
    assert math.isnan(log_log_slope("two", x[:2], x[:2]).value)


def test_crossings_of_power_laws():
    x = [1.0, 10.0, 100.0, 1000.0]
    assert crossing(x, [50 * value for value in x], [value**2 for value in x]) == pytest.approx(50)
    assert crossing(x, [1.0] * 4, [2.0] * 4) == 0
    assert crossing(x, [2.0] * 4, [1.0] * 4) == math.inf


@pytest.mark.parametrize("name", MIXINGS)
def test_mixings_keep_the_shape_of_their_tokens(name):
    assert make_mixing(name, 36)(torch.randn(2, 36, WIDTH)).shape == (2, 36, WIDTH)


def test_attention_as_it_is_written_is_attention():
    q, k, v = (torch.randn(2, 3, 7, 8) for _ in range(3))
    for attending in ATTENDING.values():
        torch.testing.assert_close(attending(q, k, v), attend(q, k, v))


def cost_table(power=1.0, off=0, growth=1.0):
    """Lengths to the given power of what is expected, closed forms missed by `off`, weights growing by `growth`."""
    rows = []
    for length in (64, 256, 1024):
        for name, exponent in (("full", 2), ("linformer", 1), ("performer", 1)):
            rows.append({"part": "term", "what": name, "length": length, "value": length ** (power * exponent)})
        for name, value in (("convolution", 9 * length), ("full", length ** (2 * power) / 20)):
            rows.append({"part": "mixing", "what": name, "length": length, "value": value})
        for name in ATTENDING:
            rows.append({"part": "memory", "what": name, "length": length, "value": length ** (2 * power)})
        share = (length / (6 * WIDTH)) ** power * (1.0 if power == 1 else 9.0)
        rows.append({"part": "share", "what": "L x L term", "length": length, "value": share})
    for part in ("closed form", "weights"):
        row = {"part": part, "what": "conv", "length": 4, "quantity": "macs"}
        rows.append(row | {"value": 7 + off, "closed": 7})
    for name in ("conv", "vit", "mixer"):
        rows += [{"part": "size", "what": name, "length": side, "closed": side**growth} for side in (4, 16)]
    rows += [{"part": "pixels", "what": "image", "value": 30 / (1 + off), "closed": 1}]
    return rows


def verdicts(study, table):
    return [str(claim["verdict"]) for claim in judged(study, table)["claims"]]


def test_verdicts_about_costs():
    n = len(cost.STUDY.claims)
    assert verdicts(cost.STUDY, cost_table(growth=0.0)) == ["supported"] * n
    assert verdicts(cost.STUDY, cost_table(power=1.4, off=1)) == ["not supported"] * n
    assert verdicts(cost.STUDY, []) == ["not testable at this scale"] * n
    mixed = cost_table(growth=0.0)
    for row in mixed:
        if row["part"] == "term" and row["length"] == 256:
            row["value"] *= 1.5
        if row["part"] == "term" and row["what"] == "performer":
            row["value"] = 5
    extra = [{"part": "closed form", "what": "vit", "length": 4, "quantity": "macs", "value": 1, "closed": 0}]
    found = dict(zip((claim.says for claim in cost.STUDY.claims), verdicts(cost.STUDY, mixed + extra), strict=True))
    assert found["closed forms give weights, multiply-adds and memory of every trunk"] == "mixed"
    assert found["attention grows with the square of the sequence"] == "mixed"
    assert found["Linformer and Performer grow in proportion to the sequence"] == "mixed"


def speed_table(slow=1.0, exponent=-0.5, noise=0.0, rounds=7):
    """Attention `slow` times as slow as expected, Performer's error with an exponent, rounds that differ by `noise`."""
    rows = []
    for number in range(rounds):
        shake = 1 + noise * (-1) ** number * (1 + number / 10)
        for length in (36, 100, 400):
            for name in MIXINGS:
                value = {"convolution": 9 * length, "full": length**2 / 20}.get(name, 9 * length) * shake
                value *= 1 if name == "convolution" else slow
                rows.append({"part": "layer", "what": name, "length": length, "round": number, "value": value})
                if number == 0:
                    row = {"part": "memory", "what": name, "length": length, "round": 0}
                    rows.append(row | {"value": length * (slow if name in speed.LINEAR else 1)})
            rows.append(
                {"part": "error", "what": "q", "length": length, "round": number, "value": length**exponent * shake}
            )
        for family in ("vae", "autoregressive", "diffusion"):
            for name, factor in (("convnet", 1.0), ("vit", 1.5), ("mixer", 0.5)):
                row = {"part": "step", "what": name, "family": family, "round": number}
                rows.append(row | {"value": shake * factor ** (1 if slow < 5 else -1)})
    return rows


def test_verdicts_about_speeds():
    n = len(speed.STUDY.claims)
    assert verdicts(speed.STUDY, speed_table()) == ["supported"] * n
    assert verdicts(speed.STUDY, speed_table(slow=30.0, exponent=-0.1)) == ["not supported"] * n
    few = verdicts(speed.STUDY, speed_table(rounds=2))
    assert few == [few[1] if k == 1 else "not testable at this scale" for k in range(n)]
    shaken = verdicts(speed.STUDY, speed_table(slow=2.0, exponent=-0.4, noise=0.6))
    assert [shaken[k] for k in (0, 3, 4, 5)] == ["mixed"] * 4


def test_a_crossover_in_time_has_an_interval_of_rounds():
    shaken = speed_table()
    for row in shaken:
        row["value"] *= 1 + 0.1 * row["round"] * (row["what"] == "full")
    (found,) = speed.crossover(shaken)
    assert found.low < found.high and found.low <= found.value <= found.high and found.n == 7
    (still,) = speed.crossover(speed_table(noise=0.3))  # what falls on both alike moves nothing
    assert still.value == still.low == still.high == pytest.approx(180, rel=1e-4)
