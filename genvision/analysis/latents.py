"""Study: what do latents hold, for every encoder with every decoder?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from matplotlib.figure import Figure

from genvision.analysis.curves import curve, point, whole_numbers
from genvision.analysis.estimates import over_seeds, seed_differences, seed_means, seed_ratios, select
from genvision.analysis.figures import panels
from genvision.analysis.latent_space import path_lengths, use_of_latents
from genvision.analysis.passes import test_batches
from genvision.analysis.runs import Runs, Trained
from genvision.analysis.study import Claim, Estimate, Row, Rows, Rule, Setting, Study
from genvision.config.trunks import BACKBONES

MEASURES = {
    "bits_per_dim": "bits/dim, upper bound",
    "active": "share of active units",
    "kl_nats": "KL of the grid (nats)",
    "path": "interpolation / straight fade",
}


def measure(setting: Setting, runs: Runs) -> Rows:
    """Bound, active units, KL per channel and interpolations of nine pairs, and of ConvNets of several depths."""
    rows: Rows = []
    for one, what in pairs(setting, runs):
        found = described(one, setting)
        rows += [{"what": what, "seed": one.config.train.seed} | row for row in found]
        rows += [of_depth(one, found[0]["value"])] if what == "convnet convnet" else []
    for depth in setting["depths"]:
        for one in runs.of("vae", backbones=("convnet",), seeds=setting["seeds"], words=words(setting, depth)):
            rows.append(of_depth(one, described(one, setting)[0]["value"]))
    return rows


def of_depth(one: Trained, bits: float) -> Row:
    """The row of a ConvNet of its depth."""
    assert one.config.encoder is not None, "a resolved vae has its encoder"
    base = {"part": "depth", "what": "convnet convnet", "seed": one.config.train.seed}
    return base | {"i": one.config.encoder.trunk["depth"], "value": bits}


def words(setting: Setting, depth: int) -> tuple[str, ...]:
    return *setting["words"], *(f"{role}.trunk.depth={depth}" for role in ("encoder", "decoder"))


def pairs(setting: Setting, runs: Runs) -> Iterator[tuple[Trained, str]]:
    """Every run with its "encoder decoder"."""
    for decoder in setting["backbones"]:
        for encoder in setting["backbones"]:
            own = () if encoder == decoder else (f"encoder.backbone={encoder}",)
            for one in runs.of("vae", backbones=(decoder,), seeds=setting["seeds"], words=(*setting["words"], *own)):
                yield one, f"{encoder} {decoder}"


def described(one: Trained, setting: Setting) -> Rows:
    """The numbers of one autoencoder on test images."""
    batches = test_batches(one, setting["batch"], setting["batches"])
    found = use_of_latents(one.family, batches)
    length, detour = path_lengths(one.family, batches[0][0])
    rows: Rows = [{"part": key, "value": round(found[key], 4)} for key in ("bits_per_dim", "active")]
    rows.append({"part": "kl_nats", "value": round(sum(found["kl_nats"]), 4)})
    rows += [
        {"part": "channel", "i": i, "value": round(nats, 4)}
        for i, nats in enumerate(sorted(found["kl_nats"], reverse=True))
    ]
    rows.append({"part": "length", "value": round(length.mean().item(), 4)})
    return [*rows, {"part": "path", "value": round(detour.mean().item(), 4)}]


def of_decoders(table: Rows, part: str, decoder: str, encoder: str) -> Rows:
    return select(table, part, f"{encoder} {decoder}")


def ratios(table: Rows, part: str) -> list[Estimate]:
    """A ViT decoder's over a ConvNet decoder's, under each encoder."""
    found = []
    for encoder in BACKBONES:
        both = (of_decoders(table, part, decoder, encoder) for decoder in ("vit", "convnet"))
        found += seed_ratios(f"encoder {encoder}", *both)
    return found


def differences(table: Rows, part: str, more: str, less: str) -> list[Estimate]:
    """One decoder's less another's, under each encoder."""
    found = []
    for encoder in BACKBONES:
        both = (seed_means(of_decoders(table, part, decoder, encoder)) for decoder in (more, less))
        found += seed_differences(f"encoder {encoder}", *both)
    return found


def saved_by_depth(table: Rows) -> list[Estimate]:
    """The bits/dim of the shallowest ConvNet less those of the deepest."""
    rows = select(table, "depth")
    depths = [row["i"] for row in rows] or [0]
    ends = (seed_means([row for row in rows if row["i"] == end]) for end in (min(depths), max(depths)))
    return seed_differences("convnet", *ends)


def draw(table: Rows, figure: Figure) -> None:
    axes = panels(figure, 2, 3, width=3.0, height=2.5)
    for ax, (part, label) in zip(axes, MEASURES.items(), strict=False):
        for k, encoder in enumerate(BACKBONES):
            for place, decoder in enumerate(BACKBONES):
                for one in over_seeds("", of_decoders(table, part, decoder, encoder)):
                    point(ax, place + 0.15 * (k - 1), one, k, f"encoder {encoder}" if place == 0 else "_")
        ax.set(ylabel=label, xlabel="decoder")
        ax.set_xticks(range(len(BACKBONES)), list(BACKBONES))
    for k, name in enumerate(BACKBONES):
        curve(axes[4], select(table, "channel", f"{name} {name}"), "i", k, name)
    axes[4].set(title="encoder and decoder alike", ylabel="KL (nats)", xlabel="latent channel, by its KL")
    curve(axes[5], select(table, "depth"), "i", 0, "convnet")
    axes[5].set(title="ConvNets of several depths", ylabel=MEASURES["bits_per_dim"], xlabel="blocks in each network")
    for ax in axes[4:]:
        whole_numbers(ax)
    axes[0].legend()
    axes[4].legend()


STUDY = Study(
    name="latents",
    question="What do latents hold, for every encoder with every decoder?",
    measurement="Bound, active units, KL and interpolations of autoencoders of nine pairs of backbones.",
    claims=(
        Claim(
            ("S0-29",), "under a ViT decoder more latents are used than under a ConvNet",
            Rule("the difference of the shares of active units", low=0.02, fewest=3),
            partial(differences, part="active", more="vit", less="convnet"),
        ),
        Claim(
            ("S0-29",), "under a ViT decoder latents tell more",
            Rule("its KL over the ConvNet's", low=1.05, fewest=3), partial(ratios, part="kl_nats"),
        ),
        Claim(
            ("S0-29",), "a ViT decoder reaches the better bound",
            Rule("the bits/dim that it saves", low=0.01, fewest=3),
            partial(differences, part="bits_per_dim", more="convnet", less="vit"),
        ),
        Claim(
            ("S0-29", "S0-35"), "a ViT decoder's interpolations take the longer way",
            Rule("their length, over that of a straight fade, over a ConvNet's", low=1.02, fewest=3),
            partial(ratios, part="path"),
        ),
        Claim(
            ("S0-30",), "a ConvNet needs depth to reach a good bound",
            Rule("the bits/dim that the deepest saves over the shallowest", low=0.02, fewest=3), saved_by_depth,
        ),
    ),
    presets={
        "smoke": {
            "backbones": ("convnet", "vit"), "seeds": (0, 1), "words": (), "depths": (),
            "batch": 4, "batches": 2,
        },
        "cpu": {
            "backbones": tuple(BACKBONES), "seeds": (0, 1, 2), "words": ("size=mini", "data.labels=false"),
            "depths": (4,), "batch": 50, "batches": 10,
        },
        "gpu": {
            "backbones": tuple(BACKBONES), "seeds": (0, 1, 2), "words": ("data.labels=false",), "depths": (1, 2, 8),
            "batch": 250, "batches": 40,
        },
    },
    measure=measure,
    draw=draw,
)  # fmt: skip
