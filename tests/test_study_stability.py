"""What counts as stable, and verdicts on made-up tables."""

from __future__ import annotations

import math

import pytest

from genvision import data
from genvision.analysis import stability
from genvision.analysis.learning import held_out_loss
from genvision.analysis.perform import judged
from genvision.analysis.sweep import words
from genvision.build import build
from genvision.config import load_config
from genvision.errors import NonFiniteError

SMOKE = stability.STUDY.presets["smoke"]

RATES = (0.001, 0.01, 0.1, 1.0)
WHOLE, NORM, RESIDUAL = stability.BLOCKS.values()


def test_the_loss_of_the_mean_image_is_that_of_a_network_which_says_it():
    """The velocity is noise less image: a denoiser whose last layer is a bias of minus the mean image."""
    told = [*words(SMOKE, "diffusion", "vit", 0), "train.learning_rate=0.001"]
    (row,) = stability.outcome(told, "attention", 0, 1)
    config = load_config(None, told)
    held_out = data.load(config.data, "validation")
    mean = (held_out.images[: SMOKE["held_out"]].float() / 127.5 - 1).mean(0)
    family = build(config, held_out.spec)
    family.denoiser.forward = lambda x, t, y=None: -mean.expand_as(x)
    noise = 2 / (SMOKE["held_out"] * mean.numel()) ** 0.5  # the mean of so many draws of noise is not quite 0
    assert row["blind"] == pytest.approx(held_out_loss(family, held_out, SMOKE["held_out"]), abs=2 * noise)
    assert 1 < row["blind"] < 2 and row["value"] > row["blind"]


@pytest.mark.parametrize("last", [0.5, math.nan, None])
def test_a_loss_that_is_not_finite_has_no_value(monkeypatch, last):
    def trained(told, steps, prepare):
        if last is None:
            raise NonFiniteError("step 3: loss is nan")
        return None, [{"loss": last}]

    monkeypatch.setattr(stability, "trained", trained)
    (row,) = stability.outcome(words(SMOKE, "diffusion", "vit", 0), "no norm", 0, 7)
    assert row.get("value") == (0.5 if last == 0.5 else None) and 1 < row["blind"] < 1.7


@pytest.mark.parametrize(("value", "stable"), [(0.5, True), (0.96, False), (2.0, False), (None, False)])
def test_what_knows_no_more_than_the_mean_image_is_unstable(value, stable):
    assert stability.is_stable({"blind": 1.0} | ({} if value is None else {"value": value})) == stable


def table(norm, residual, worse, jitter=0.0, seeds=3):
    """How many of the four rates are stable without norm and without residuals, where the whole block is at three;
    the least loss without either over the whole block's, less 1."""
    rows = []
    for seed in range(seeds):
        for what, count in ((WHOLE, 3), (NORM, norm), (RESIDUAL, residual)):
            count = round(count + jitter * (seed - 1)) if what != WHOLE else count
            for k, rate in enumerate(RATES):
                more = 0.0 if what == WHOLE else worse + jitter * (seed - 1)
                value = {"value": 0.5 * (1 + more) + 0.01 * k} if k < count else {}
                rows.append({"part": "loss", "what": what, "rate": rate, "seed": seed, "blind": 1.4} | value)
    return rows


def test_the_largest_stable_rate_and_the_least_loss():
    rows = table(1, 0, 0.2)
    assert stability.largest(rows, WHOLE) == pytest.approx(dict.fromkeys(range(3), -1))
    assert stability.largest(rows, NORM) == pytest.approx(dict.fromkeys(range(3), -3))
    assert stability.largest(rows, RESIDUAL) == pytest.approx(dict.fromkeys(range(3), -4)), "a step below the grid"
    assert stability.best(rows, NORM) == pytest.approx(dict.fromkeys(range(3), 0.6))
    for row in rows:
        if row["what"] == WHOLE and row["rate"] == 0.01:
            row["value"] = 1.4
    assert stability.largest(rows, WHOLE)[0] == pytest.approx(-3), "a larger one that is stable by luck does not count"


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (table(1, 2, 0.3), "supported"),
        (table(3, 4, 0.0), "not supported"),
        (table(2, 2, 0.05, jitter=1.0), "mixed"),
        (table(1, 2, 0.3, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts(rows, verdict):
    assert [claim["verdict"] for claim in judged(stability.STUDY, rows)["claims"]] == [verdict] * 5
