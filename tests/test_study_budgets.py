"""The studies of budgets: equal weights, curves that are kept, and verdicts on made-up curves."""

from __future__ import annotations

import json

import pytest

from genvision import data
from genvision.analysis import delta, epsilon, learning
from genvision.analysis.conditions import conditions
from genvision.analysis.learning import learning_curve, macs_per_image, remembered, trained
from genvision.analysis.perform import judged
from genvision.analysis.sweep import AUTOREGRESSIVE, FAMILIES, PRESETS, words
from genvision.build import cost
from genvision.config import load_config
from genvision.config.trunks import BACKBONES

STEPS = (0, 1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 400, 1000, 3000)


def parameters(*told):
    config = load_config(None, told)
    return cost(config, data.spec_of(config.data)).parameters


@pytest.mark.parametrize("family", FAMILIES)
def test_backbones_of_the_sweep_have_equal_weights(family):
    found = [parameters(*words(PRESETS["cpu"], family, name, 0)) for name in BACKBONES]
    assert max(found) / min(found) < 1.02, found


@pytest.mark.parametrize("side", [7, 28])
def test_predictors_of_every_length_have_equal_weights(side):
    told = {"side": side, "options": AUTOREGRESSIVE[side]}
    found = [parameters(*words(PRESETS["cpu"], "autoregressive", name, 0, **told)) for name in BACKBONES]
    assert max(found) / min(found) < 1.01, found


def test_a_curve_is_made_once_and_the_same_again(tmp_path):
    told = words(PRESETS["smoke"], "diffusion", "vit", 0)
    points = learning_curve(tmp_path, told, (0, 2, 30))
    assert [point["step"] for point in points] == [0, 2, 30] and points[-1]["loss"] < points[0]["loss"]
    assert [point["images"] for point in points] == [0, 8, 120]
    macs = cost(load_config(None, told), data.spec_of(load_config(None, told).data)).macs_per_image
    assert points[-1]["macs"] == 3 * 120 * macs
    (kept,) = (tmp_path / "curves").iterdir()
    assert learning_curve(tmp_path, told, (0, 2, 30)) == points
    again = trained(told, (0, 2, 30))[1]
    assert [point["loss"] for point in again] == [point["loss"] for point in points]
    kept.write_text(kept.read_text().replace(f'"step": {30}', '"step": 31'))
    assert learning_curve(tmp_path, told, (0, 2, 30))[-1]["step"] == 31, "the file was not read"


def test_multiply_adds_are_counted_once_for_every_network(monkeypatch):
    cells = [
        ("diffusion", "vit", 0, 8),
        ("diffusion", "vit", 1, 8),
        ("diffusion", "vit", 0, 4),
        ("diffusion", "mixer", 0, 8),
    ]
    configs = [load_config(None, words(PRESETS["smoke"], *cell[:3], side=cell[3])) for cell in cells]
    pairs = [(config, data.spec_of(config.data)) for config in configs]
    expected = [cost(*pair).macs_per_image for pair in pairs]
    monkeypatch.setattr(learning, "_COUNTED", {})
    assert [macs_per_image(*pair) for pair in pairs] == expected and len(set(expected)) == 3
    monkeypatch.setattr(learning, "cost", None)
    assert [macs_per_image(*pair) for pair in pairs] == expected


def test_what_was_kept_of_other_words_is_made_anew(tmp_path):
    path, made = tmp_path / "kept.json", iter([[{"x": 1}], [{"x": 2}]])
    for words_of, x in (("a", 1), ("a", 1), ("b", 2), ("b", 2)):
        assert remembered(path, [words_of], lambda: next(made)) == [{"x": x}]


@pytest.mark.parametrize(
    "other", [{"versions": {"genvision": "0.1", "torch": "2.9"}}, {"device": "cuda"}], ids=["versions", "device"]
)
def test_what_was_kept_under_other_conditions_is_made_anew(tmp_path, monkeypatch, other):
    here = {"versions": {"genvision": "0.2", "torch": "2.9"}, "device": "cpu"}
    path, made = tmp_path / "kept.json", iter([[{"x": 1}], [{"x": 2}], [{"x": 3}]])
    for place, x in ((here, 1), (here, 1), (here | other, 2), (here | other, 2), (here, 3)):
        monkeypatch.setattr(learning, "conditions", lambda place=place: place)
        assert remembered(path, ["a"], lambda: next(made)) == [{"x": x}]


def test_what_was_kept_without_its_conditions_is_made_anew(tmp_path):
    path = tmp_path / "kept.json"
    path.write_text('{"words": ["a"], "rows": [{"x": 1}]}')
    assert remembered(path, ["a"], lambda: [{"x": 2}]) == [{"x": 2}]
    assert json.loads(path.read_text()) == {"words": ["a"], **conditions(), "rows": [{"x": 2}]}


def points(speed, exponent=1.0, level=2.0, steps=STEPS):
    """A curve that falls from level + 40 at once to level + 10 / (speed * step)^exponent."""
    made = []
    for step in steps:
        told = {"step": step, "images": 16 * step, "macs": 100 * step, "seconds": step / 100}
        made.append(told | {"loss": level + (10 / (speed * step) ** exponent if step else 40)})
    return made


def sweep(vit, mixer=None, exponent=1.0, jitter=1.0, seeds=3):
    """Curves of all families on three shares; backbones faster than the ConvNet by the given factors."""
    table = []
    speeds = {"convnet": 1.0, "vit": vit, "mixer": mixer or vit}
    for family in FAMILIES:
        for fraction in (0.01, 0.1, 1.0):
            for name, speed in speeds.items():
                for seed in range(seeds):
                    noise = jitter ** (seed - 1)
                    for point in points(speed * noise, exponent * noise):
                        table.append({"part": family, "what": name, "fraction": fraction, "seed": seed, **point})
    return table


@pytest.mark.parametrize(
    ("table", "verdict"),
    [
        (sweep(0.3), "supported"),
        (sweep(3.0, exponent=2.5), "not supported"),
        (sweep(1.05, jitter=2.5), "mixed"),
        (sweep(0.3, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts_about_epsilon(table, verdict):
    told = [claim["verdict"] for claim in judged(epsilon.STUDY, table)["claims"]]
    if verdict == "not supported":  # one of two backbones is always the dearer: equal ones contradict the first claim
        told[0] = judged(epsilon.STUDY, sweep(1.0, exponent=2.5))["claims"][0]["verdict"]
    assert told == [verdict] * len(told)


def orders(vit, grows=1.0, disorder=1.0, jitter=0.0, seeds=3):
    """Predictors at two lengths: steps grow as length^grows, the ViT is faster by a factor and ends lower by its log,
    and a permutation costs the ConvNet `disorder` bits/dim more than the ViT."""
    table = []
    for side in (7, 14):
        for order in delta.ORDERS:
            for name in BACKBONES:
                for seed in range(seeds):
                    noise = 1 + jitter * (seed - 1) * (name == "vit")
                    speed = (vit * noise if name == "vit" else 1.0) / (side / 7) ** (2 * grows * noise)
                    lost = disorder * (1 + jitter * (seed - 1)) if (name, order) == ("convnet", "random") else 0.0
                    for point in points(speed, level=2.0 + lost):
                        table.append({"part": order, "what": name, "side": side, "seed": seed, **point})
    return table


@pytest.mark.parametrize(
    ("table", "verdict"),
    [
        (orders(4.0), "supported"),
        (orders(0.25, grows=0.0, disorder=-1.0), "not supported"),
        (orders(1.0, disorder=0.01, jitter=0.9), "mixed"),
        (orders(4.0, seeds=2), "not testable at this scale"),
    ],
)
def test_the_four_verdicts_about_delta(table, verdict):
    told = [claim["verdict"] for claim in judged(delta.STUDY, table)["claims"]]
    assert told == [verdict] * len(told)
