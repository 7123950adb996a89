"""Small generators of every family, trained over shares of the data and over seeds: several studies read their curves.

Backbones of a family have equal weights within 1 %, found as `genvision match --by params` finds them.
"""

from __future__ import annotations

from genvision.analysis.learning import learning_curve
from genvision.analysis.runs import Runs
from genvision.analysis.study import Rows, Setting
from genvision.config.trunks import BACKBONES

Options = dict[str, tuple[str, ...]]  # backbone -> what makes its weights equal to those of the others
SIDE = 14
# pixels per side -> options of predictors
AUTOREGRESSIVE: dict[int, Options] = {
    7: {
        "convnet": ("size=tiny", "trunk.width=24", "trunk.depth=3", "trunk.kernel=5"),
        "vit": ("size=tiny", "trunk.width=48", "trunk.head_width=16", "trunk.mlp_ratio=2.875"),
        "mixer": ("size=tiny", "trunk.width=52", "trunk.channel_ratio=3.46154"),
    },
    14: {
        "convnet": ("size=tiny", "trunk.width=24", "trunk.depth=3", "trunk.kernel=5"),
        "vit": ("size=tiny", "trunk.width=48", "trunk.head_width=16", "trunk.mlp_ratio=2.10417"),
        "mixer": ("size=tiny", "trunk.width=52", "trunk.depth=1", "trunk.channel_ratio=3.75"),
    },
    28: dict.fromkeys(BACKBONES, ("size=mini",)),
}
# family -> its words, and the options of its backbones at SIDE x SIDE pixels
FAMILIES: dict[str, tuple[tuple[str, ...], Options]] = {
    "vae": (
        ("family.downsample=2", "family.top_channels=0", "family.latent_channels=4", "family.beta_warmup_steps=0"),
        {
            "convnet": ("size=tiny", "trunk.width=24"),
            "vit": ("size=tiny", "trunk.width=24", "trunk.head_width=8", "trunk.mlp_ratio=7.875"),
            "mixer": ("size=tiny", "trunk.width=28", "trunk.channel_ratio=3.67857"),
        },
    ),
    "autoregressive": (("family.likelihood=logistic_mixture", "family.label_dropout=0"), AUTOREGRESSIVE[SIDE]),
    "diffusion": (
        ("family.label_dropout=0",),
        {
            "convnet": ("size=tiny",),
            "vit": ("size=tiny", "trunk.width=32", "trunk.mlp_ratio=5.84375"),
            "mixer": ("size=tiny", "trunk.width=36", "trunk.channel_ratio=3.91667"),
        },
    ),
}
UNITS = {"vae": "bits/dim", "autoregressive": "bits/dim", "diffusion": "squared error of velocity"}


def words(
    setting: Setting, family: str, backbone: str, seed: int, *, side: int = SIDE, options: Options | None = None
) -> list[str]:
    """As for `genvision train`; options of the backbones are those of FAMILIES unless others are given."""
    shared, usual = FAMILIES[family]
    geometry = [f"data={setting['data']}", f"data.height={side}", f"data.width={side}"]
    training = [
        f"train.batch_size={setting['batch']}",
        "train.schedule=constant",
        f"train.warmup_steps={setting['warmup']}",
    ]
    held_out = f"train.validation_images={setting['held_out']}"
    chosen = [f"family={family}", f"backbone={backbone}", f"train.seed={seed}"]
    return [*geometry, *chosen, *shared, *(options or usual)[backbone], *training, held_out]


def measure(setting: Setting, runs: Runs) -> Rows:
    """A row for each point of each curve: part is the family, what the backbone."""
    rows: Rows = []
    for family in FAMILIES:
        for fraction in setting["fractions"]:
            for backbone in BACKBONES:
                for seed in setting["seeds"]:
                    told = [*words(setting, family, backbone, seed), f"data.fraction={fraction}"]
                    place = {"part": family, "what": backbone, "fraction": fraction, "seed": seed}
                    rows += [place | point for point in learning_curve(runs.folder, told, setting["steps"])]
    return rows


PRESETS: dict[str, Setting] = {
    "smoke": {
        "data": "fashion_mnist_mini", "fractions": (0.01, 1.0), "seeds": (0, 1), "batch": 4, "warmup": 1,
        "steps": (0, 2, 6), "held_out": 8,
    },
    "cpu": {
        "data": "fashion_mnist_mini", "fractions": (0.003, 0.03, 1.0), "seeds": (0, 1, 2), "batch": 16,
        "warmup": 10, "steps": (0, 5, 10, 20, 40, 80), "held_out": 128,
    },
    "gpu": {
        "data": "fashion_mnist", "fractions": (0.01, 0.05, 0.2, 1.0), "seeds": (0, 1, 2, 3, 4),
        "batch": 256, "warmup": 100, "steps": (0, 50, 100, 200, 400, 800, 1600, 3200, 6400, 12800), "held_out": 2000,
    },
}  # fmt: skip
