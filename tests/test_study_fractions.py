"""The study of data: crossovers with known answers, and verdicts on made-up curves."""

from __future__ import annotations

import math

import pytest

from genvision.analysis import fractions
from genvision.analysis.perform import judged
from genvision.analysis.sweep import FAMILIES
from genvision.config.trunks import BACKBONES

SHARES = (0.01, 0.1, 1.0)


def table(vit, jitter=0.0, seeds=3):
    """The ViT's loss over the ConvNet's at each share; every curve rises again after its least loss."""
    rows = []
    for family in FAMILIES:
        for k, share in enumerate(SHARES):
            for name in BACKBONES:
                for seed in range(seeds):
                    of_vit = vit[k] + jitter * (seed - 1) * (-1 if k else 1)
                    level = (3.0 - k) * (of_vit if name == "vit" else 1.0 + (name == "mixer"))
                    for step, loss in ((0, 9.0), (10, level), (20, 8.0)):
                        place = {"part": family, "what": name, "fraction": share, "seed": seed}
                        rows.append({**place, "step": step, "loss": loss})
    return rows


def test_a_crossover_where_two_lines_of_logarithms_meet():
    rows = table((1.21, 1.1, 1 / 1.1))
    assert fractions.crossover(rows, "vae", "vit", "convnet") == pytest.approx(10**-0.5)
    assert fractions.crossover(table((1.2, 1.1, 1.05)), "vae", "vit", "convnet") == math.inf
    assert fractions.crossover(table((0.9, 0.9, 0.9)), "vae", "vit", "convnet") == 0.0
    assert fractions.least(rows, "diffusion", "vit", 0.1) == pytest.approx(dict.fromkeys(range(3), 2.2))


S1, S2 = ("S1-09",), ("S2-21",)


@pytest.mark.parametrize(
    ("rows", "for_s1", "for_s2", "changes"),
    [
        (table((1.2, 1.1, 0.9)), "supported", "not supported", "supported"),
        (table((0.8, 0.85, 0.9)), None, "supported", "not supported"),
        (table((1.0, 1.0, 1.0), jitter=0.1), "mixed", "mixed", None),
        (table((1.2, 1.1, 0.9), seeds=2), *["not testable at this scale"] * 3),
    ],
)
def test_the_verdicts_side_with_one_article(rows, for_s1, for_s2, changes):
    claims = judged(fractions.STUDY, rows)["claims"]
    for claim in claims:
        expected = changes if claim["rows"] == ["S0-39"] else for_s2 if claim["rows"] == ["S2-21"] else for_s1
        if expected is not None:
            assert claim["verdict"] == expected, claim["claim"]
    assert len(claims) == 6


def test_no_crossover_is_no_support_for_s1():
    verdicts = [claim["verdict"] for claim in judged(fractions.STUDY, table((0.8, 0.85, 0.9)))["claims"]]
    assert verdicts == ["not supported", "supported", "supported", "not supported", "supported", "not supported"]
