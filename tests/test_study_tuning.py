"""Best and median of a grid, and verdicts on made-up tables."""

from __future__ import annotations

import math

import pytest

from genvision.analysis import tuning
from genvision.analysis.perform import judged
from genvision.errors import NonFiniteError
from genvision.layers.attention import Attention
from genvision.layers.masked import count_parameters
from genvision.layers.token_mlp import TokenMLP

RATES = (0.001, 0.01, 0.1)
WEIGHTS = {"vit": 120, "mixer": 100}


def test_weights_of_the_papers_sizes_differ_by_the_mixings_alone():
    mixings = {"vit": Attention(768, 64), "mixer": TokenMLP(196, 384 / 196)}
    own = {name: tuning.native_weights(name) - 12 * count_parameters(mixing) for name, mixing in mixings.items()}
    assert mixings["mixer"].up.out_features == 384 and count_parameters(mixings["vit"]) == 4 * 768**2 + 4 * 768
    assert own["vit"] - own["mixer"] == 196 * 768  # the Mixer has no positions


@pytest.mark.parametrize(("last", "row"), [(0.5, {"value": 0.5}), (math.nan, {}), (None, {})])
def test_a_loss_that_is_not_finite_has_no_value(monkeypatch, last, row):
    def trained(told, steps):
        if last is None:
            raise NonFiniteError("step 3: loss is nan")
        return None, [{"loss": last}]

    monkeypatch.setattr(tuning, "trained", trained)
    assert tuning.last_loss(["family=diffusion"], 7) == [row]


def table(vit, mixer, tuned, seeds=3, jitter=0.0, turned=False, weights=WEIGHTS):
    """Best losses of ViT and Mixer over the ConvNet's; the median rate costs a share `tuned`, the worst is lost.
    turned: at the median rate the ConvNet is worse than all."""
    rows = [{"part": "weights", "what": name, "value": value} for name, value in weights.items()]
    for seed in range(seeds):
        for name, best in (("convnet", 1.0), ("vit", vit), ("mixer", mixer + jitter * (seed - 1))):
            median = best * (1 + tuned + jitter * (seed - 1) + 9 * (turned and name == "convnet"))
            for rate, loss in zip(RATES, (median, best, None), strict=True):
                value = {} if loss is None else {"value": loss}
                rows.append({"part": "loss", "what": name, "rate": rate, "seed": seed} | value)
    return rows


def test_what_is_lost_counts_as_worst():
    rows = table(1.1, 1.2, 0.5)
    assert tuning.over_rates(rows, "vit", "best") == pytest.approx(dict.fromkeys(range(3), 1.1))
    assert tuning.over_rates(rows, "vit", "median") == pytest.approx(dict.fromkeys(range(3), 1.65))
    (one,) = tuning.tuning_over_architecture(rows)
    assert one.value == pytest.approx(0.5 - 0.2)


@pytest.mark.parametrize(
    ("rows", "verdicts"),
    [
        (table(1.1, 1.15, 0.5), ["supported"] * 4),
        (table(1.5, 1.2, -0.01, turned=True, weights={"vit": 90, "mixer": 100}), [None, *["not supported"] * 3]),
        (table(2.0, 1.2, 0.1), ["not supported", "supported", "not supported", "supported"]),
        (table(1.1, 1.15, 0.1, jitter=0.1), ["mixed", None, "mixed", "supported"]),
        (table(1.1, 1.15, 0.5, seeds=2), [*["not testable at this scale"] * 3, "supported"]),
    ],
)
def test_the_four_verdicts(rows, verdicts):
    told = [claim["verdict"] for claim in judged(tuning.STUDY, rows)["claims"]]
    assert [one for one, expected in zip(told, verdicts, strict=True) if expected] == [v for v in verdicts if v]
