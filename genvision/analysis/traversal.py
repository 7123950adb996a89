"""Study: what does it cost to walk through latents, and how much is seen on the way?"""

from __future__ import annotations

import statistics
import time
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch.utils.flop_counter import FlopCounterMode

from genvision import data
from genvision.analysis.curves import curve, few_decades, point
from genvision.analysis.estimates import log_log_slope, over_seeds, seed_ratios, select
from genvision.analysis.figures import panels
from genvision.analysis.latent_space import decoded
from genvision.analysis.runs import Runs
from genvision.analysis.study import Claim, Estimate, Rows, Rule, Setting, Study
from genvision.build import build
from genvision.config import load_config
from genvision.config.trunks import BACKBONES
from genvision.probability.randomness import Stream, normal
from genvision.spec import Draw


def measure(setting: Setting, runs: Runs) -> Rows:
    """Time of a walk through latents of several sizes, and how far apart the images of prior draws are."""
    rows = costs(setting)
    for one in runs.of("vae", seeds=setting["seeds"], words=setting["words"]):
        base = {"what": one.config.backbone, "seed": one.config.train.seed}
        macs, spread = decoder_macs(one.family), diversity(one.family, setting["images"])
        rows.append(base | {"part": "diversity", "value": round(spread, 5)})
        rows.append(base | {"part": "diversity per multiply-add", "value": spread / macs})
    return rows


def costs(setting: Setting) -> Rows:
    """Seconds of decoding one walk of `points`, every backbone and size in turn, once more in every round."""
    families = {(name, size): fresh(name, size, setting) for name in BACKBONES for size in setting["sizes"]}
    rows: Rows = []
    for turn in range(-1, setting["rounds"]):  # the first warms up
        for (name, size), family in families.items():
            noise = torch.randn(
                setting["points"], family.noise_size(), generator=torch.Generator().manual_seed(turn + 1)
            )
            with torch.no_grad():
                start = time.perf_counter()
                family.decoder(family.latents_of(noise, None))
                seconds = time.perf_counter() - start
            if turn >= 0:
                rows.append({"part": "time", "what": name, "size": size, "seed": turn, "value": seconds})
    for (name, size), family in families.items():
        rows.append({"part": "macs", "what": name, "size": size, "seed": 0, "value": decoder_macs(family)})
    return rows


def fresh(backbone: str, size: int, setting: Setting) -> Any:
    """An autoencoder with `size` channels of latents in each cell of its grid; what it costs needs no training."""
    own = f"backbone={backbone}", f"family.latent_channels={size}", "family.top_channels=0"
    config = load_config(None, ["data=fashion_mnist_mini", "family=vae", *setting["fresh"], *own])
    return build(config, data.spec_of(config.data)).eval()


def decoder_macs(family: Any) -> int:
    """Multiply-adds of one image's decoder."""
    draw = Draw(0, 0, torch.zeros(1, dtype=torch.int64))
    z = family.latents_of(normal(draw, Stream.LATENT, family.noise_size()), None)
    with FlopCounterMode(display=False) as counter:
        family.decoder(z)
    return counter.get_total_flops() // 2


def diversity(family: Any, images: int) -> float:
    """The mean distance, root mean square over pixels, between the expected images of two draws from the prior."""
    draw = Draw(0, 0, torch.arange(images))
    z = family.latents_of(normal(draw, Stream.SAMPLE + Stream.LATENT, family.noise_size()), None)
    one, other = decoded(family, z).chunk(2)
    return (one - other).square().flatten(1).mean(1).sqrt().mean().item()


def growth(table: Rows) -> list[Estimate]:
    """The exponent of the number of channels in the time of a ConvNet's walk, at the median of all rounds."""
    rows = select(table, "time", "convnet")
    sizes = sorted({row["size"] for row in rows})
    medians = [statistics.median(row["value"] for row in rows if row["size"] == size) for size in sizes]
    return [log_log_slope("convnet", sizes, medians)] if sizes else []


def dearer(table: Rows) -> list[Estimate]:
    """The time of a ViT's walk over a ConvNet's, over rounds."""
    return seed_ratios("vit", *(select(table, "time", name) for name in ("vit", "convnet")))


def richer(table: Rows, part: str) -> list[Estimate]:
    """A ViT's diversity over a ConvNet's, over seeds."""
    return seed_ratios("vit", *(select(table, part, name) for name in ("vit", "convnet")))


def draw(table: Rows, figure: Figure) -> None:
    walk, macs, spread, worth = panels(figure, 1, 4, width=2.5, height=2.5)
    for k, name in enumerate(BACKBONES):
        curve(walk, select(table, "time", name), "size", k, name)
        curve(macs, select(table, "macs", name), "size", k, name)
        for ax, part in ((spread, "diversity"), (worth, "diversity per multiply-add")):
            for one in over_seeds("", select(table, part, name)):
                point(ax, k, one, k)
    for ax, label in ((walk, "seconds of a walk"), (macs, "multiply-adds of an image's decoder")):
        ax.set(xlabel="latent channels of a cell", ylabel=label, xscale="log")
        few_decades(ax)
    spread.set(ylabel="distance of two draws, of 1")
    worth.set(ylabel="the same per multiply-add")
    for ax in (spread, worth):
        ax.set_xticks(range(len(BACKBONES)), list(BACKBONES))
        ax.set_ylim(0, None)
    walk.legend()


STUDY = Study(
    name="traversal",
    question="What does it cost to walk through latents, and how much is seen on the way?",
    measurement="Time of decoding over the size of latents, and distances between images of draws from the prior.",
    claims=(
        Claim(
            ("S0-34",), "exploring a ConvNet's latents costs in proportion to their size",
            Rule("the exponent of the number of channels", low=0.9, high=1.1, fewest=3), growth,
        ),
        Claim(
            ("S0-35",), "exploring a ViT's latents is dearer than a ConvNet's",
            Rule("its time over the ConvNet's", low=1, fewest=3), dearer,
        ),
        Claim(
            ("S0-35",), "what it finds is richer",
            Rule("the mean distance of two draws over the ConvNet's", low=1.02, fewest=3),
            partial(richer, part="diversity"),
        ),
        Claim(
            ("S0-35",), "and so for the same multiply-adds",
            Rule("the same, each over the multiply-adds of the decoder", low=1.02, fewest=3),
            partial(richer, part="diversity per multiply-add"),
        ),
    ),
    presets={
        "smoke": {
            "sizes": (2, 4, 8), "fresh": ("size=tiny", "data.height=8", "data.width=8"), "words": (),
            "points": 2, "rounds": 2, "seeds": (0, 1), "images": 4,
        },
        "cpu": {
            "sizes": (2, 4, 8, 16, 32, 64, 128), "fresh": ("size=mini",), "words": ("size=mini", "data.labels=false"),
            "points": 16, "rounds": 9, "seeds": (0, 1, 2), "images": 200,
        },
        "gpu": {
            "sizes": (2, 4, 8, 16, 32, 64, 128), "fresh": ("size=base",), "words": ("data.labels=false",),
            "points": 64, "rounds": 15, "seeds": (0, 1, 2), "images": 2000,
        },
    },
    measure=measure,
    draw=draw,
)  # fmt: skip
