"""Study: does every score get worse when images do?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.stats import rankdata

from genvision import data
from genvision.analysis.corruptions import CLASSES_LEFT, CORRUPTIONS, rows_of_classes
from genvision.analysis.figures import look, panels
from genvision.analysis.runs import Runs
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.config import load_config
from genvision.evaluation.coherence import coherence
from genvision.evaluation.extractors import make_extractor
from genvision.evaluation.features import Features, extract, reference_features
from genvision.evaluation.intervals import NORMAL_QUANTILE, RESAMPLES
from genvision.evaluation.scores import score
from genvision.probability.randomness import Stream, generator

ALL = ("noise", "blur", "swirl", "seams", "modes")
PIXELS = ALL[:4]
# score -> corruption -> which way it must go: written down before anything was measured
EXPECTED: dict[str, dict[str, int]] = {
    "frechet": dict.fromkeys(ALL, 1),
    "frechet_infinity": dict.fromkeys(ALL, 1),
    "kid": dict.fromkeys(ALL, 1),
    "precision": dict.fromkeys(PIXELS, -1),
    "recall": {"modes": -1},
    "density": dict.fromkeys(PIXELS, -1),
    "coverage": dict.fromkeys(ALL, -1),
    "inception_score": dict.fromkeys(ALL, -1),
    "total_variation": {"noise": 1, "blur": -1},
    "autocorrelation": {"noise": -1, "blur": 1},
    "patch_edges": {"seams": 1},
    "spectrum_error": {"noise": 1, "blur": 1},
}
UNITS = {"total_variation": ", share of the pixel range", "spectrum_error": ", decades"}


def measure(setting: Setting, runs: Runs) -> Rows:
    """Real images of the training split, made worse by steps, against those of the test split."""
    config = load_config(None, [f"data={setting['data']}", "data.validation_fraction=0"]).data
    train, test = data.load(config, "train"), data.load(config, "test")
    n, m = setting["images"], setting["reference"]
    extractor = make_extractor("efficientnet-lite0")
    real = Features(*(part[:m] for part in _rows(reference_features(test, extractor))))
    shuffled = torch.from_numpy(generator(0, Stream.STUDY).permutation(len(train)))
    assert train.labels is not None, "the named sets have labels"
    images, labels = train.images[shuffled], train.labels[shuffled]
    shown_sets = list(steps(images, labels, n, setting["steps"]))
    seen = extract(torch.cat([shown for *_, shown in shown_sets]), extractor, progress=True)
    table: Rows = []
    for k, (corruption, step, level, shown) in enumerate(shown_sets):
        features = Features(*(part[k * n : (k + 1) * n] for part in (seen.pool, seen.logits)))
        found = score(features, real, metric_name=extractor.metric_name)
        for key, metric in (found | coherence(shown, test.images)).items():
            low, high = metric.get("interval", (None, None))
            place = {"corruption": corruption, "step": step, "level": level, "n": n}
            table.append({"score": key, **place, "value": metric["value"], "low": low, "high": high})
    return table


def steps(
    images: torch.Tensor, labels: torch.Tensor, n: int, count: int
) -> Iterator[tuple[str, int, float, torch.Tensor]]:
    """(corruption, step, level, n images): none at step 0, then the last `count` levels of each."""
    whole = images[rows_of_classes(labels, int(labels.max()) + 1, n)]
    yield "none", 0, 0.0, whole
    for corruption, (_, apply, levels) in CORRUPTIONS.items():
        for step, level in enumerate(levels[-count:], 1):
            yield corruption, step, level, apply(whole, level)
    for step, classes in enumerate(CLASSES_LEFT[-count:], 1):
        yield "modes", step, float(classes), images[rows_of_classes(labels, classes, n)]


def _rows(features: Features) -> tuple[torch.Tensor, torch.Tensor]:
    order = torch.from_numpy(generator(1, Stream.STUDY).permutation(len(features)))
    return features.pool[order], features.logits[order]


def path(table: Rows, score: str, corruption: str) -> Rows:
    """The rows of one line of the figure, from the images as they are."""
    return [row for row in table if row["score"] == score and row["corruption"] in ("none", corruption)]


def monotone(table: Rows, score: str) -> list[Estimate]:
    """The rank correlation of a score with the step, signed as EXPECTED, for each corruption that it must notice.

    Its interval: all values of a line moved by normal errors of their own intervals, independently, RESAMPLES times.
    The levels share their images, so that their real errors go together: the interval is wider than it need be.
    """
    found = []
    for corruption, sign in EXPECTED[score].items():
        rows = path(table, score, corruption)
        if not rows or any(row["low"] is None for row in rows):
            continue
        values = np.array([row["value"] for row in rows])
        errors = np.array([(row["high"] - row["low"]) / 2 / NORMAL_QUANTILE for row in rows])
        drawn = values + errors * generator(0, Stream.RESAMPLES).standard_normal((RESAMPLES, len(rows)))
        steps = np.array([row["step"] for row in rows])
        low, high = np.quantile(sign * rank_correlation(steps, drawn), [0.025, 0.975])
        value = sign * rank_correlation(steps, values[None])[0]
        found.append(Estimate(corruption, float(value), float(low), float(high), rows[0]["n"]))
    return found


def rank_correlation(steps: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Spearman's, of (S,) with each row of (B,S); NaN for a row that is constant."""
    x, y = (ranks - ranks.mean(-1, keepdims=True) for ranks in (rankdata(steps), rankdata(values, axis=-1)))
    with np.errstate(invalid="ignore"):
        return (x * y).sum(-1) / np.sqrt((x**2).sum() * (y**2).sum(-1))


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 3, 4, width=2.4, height=2.0)
    for ax, key in zip(axes, EXPECTED, strict=True):
        for k, corruption in enumerate(ALL):
            rows = path(table, key, corruption)
            if not rows:
                continue
            values = np.array([row["value"] for row in rows])
            ends = np.array([[row["low"], row["high"]] if row["low"] is not None else [np.nan] * 2 for row in rows])
            errors = np.abs(ends.T - values)
            judged = corruption in EXPECTED[key]
            ax.errorbar(
                [row["step"] + 0.06 * (k - 2) for row in rows], values, errors, **look(k), capsize=2,
                alpha=1.0 if judged else 0.35, label=corruption,
            )  # fmt: skip
        ax.set_title(key.replace("_", " ") + UNITS.get(key, ""))
        ax.set_xlabel("step of corruption (0: none)")
        ax.set_xticks(sorted({row["step"] for row in table}))
    axes[0].legend()
    figure.suptitle("Scores of real images made worse, 95 % intervals; faint: no direction was expected", fontsize=9)


STUDY = Study(
    name="metric",
    question="Does every score get worse, step by step, when real images do?",
    measurement="Scores of training images under noise, blur, swirl, seams and dropped classes, against test images.",
    claims=tuple(
        Claim(
            rows=(),
            says=f"{score} follows every step of {', '.join(directions)}",
            rule=Rule("the rank correlation of score and step, signed as expected,", low=0.9, fewest=500),
            estimates=partial(monotone, score=score),
        )
        for score, directions in EXPECTED.items()
    ),
    presets={
        "smoke": {"data": "fashion_mnist_mini", "images": 16, "reference": 64, "steps": 2},
        "cpu": {"data": "fashion_mnist_mini", "images": 1000, "reference": 2000, "steps": 4},
        "gpu": {"data": "fashion_mnist", "images": 10000, "reference": 10000, "steps": 4},
    },
    measure=measure,
    draw=draw,
)
