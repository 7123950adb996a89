"""Write docs/SIZES.md: what every size costs in each family with each backbone.

    python scripts/make_size_table.py

Everything is counted on tensors without data, the largest model too, so that it takes minutes and no memory.
"""

from __future__ import annotations

from pathlib import Path

from genvision.activations import count_activations
from genvision.build import cost
from genvision.config import load_config
from genvision.config.groups import choices
from genvision.config.trunks import BACKBONES, FAMILY_ROLES
from genvision.errors import ConfigError
from genvision.spec import ImageSpec

PAGE = Path(__file__).resolve().parents[1] / "docs" / "SIZES.md"
COLUMNS = ("size", "family", "images", "backbone", "parameters", "MACs per image", "activations", "checkpointed")
GARMENT, THUMBNAIL, PICTURE = ImageSpec(1, 28, 28, 10), ImageSpec(3, 32, 32, 10), ImageSpec(3, 64, 64, 10)
LATENT, CODES = ImageSpec(4, 32, 32, 1000), ImageSpec(1, 32, 32, 1000, levels=1024, ordinal=False)
CODEC = ["family.downsample=8", "family.latent_channels=4", "family.top_channels=0"]
# what a size is meant for: family -> the images and the options that go with them
MEANT_FOR = {
    "tiny": dict.fromkeys(FAMILY_ROLES, (GARMENT, [])),
    "mini": dict.fromkeys(FAMILY_ROLES, (GARMENT, [])),
    "small": dict.fromkeys(FAMILY_ROLES, (GARMENT, [])),
    "": dict.fromkeys(FAMILY_ROLES, (THUMBNAIL, [])),
    "64": dict.fromkeys(FAMILY_ROLES, (PICTURE, [])),
    "latent": {
        "diffusion": (LATENT, []),
        "autoregressive": (CODES, []),
        "vae": (ImageSpec(3, 256, 256, 1000), CODEC),
    },
}
HEAD = """# Sizes

`size=NAME` sets depth and width of whatever trunk serves each role. A name without an ending is meant for images of 28
or 32 pixels, `-64` for 64, `-latent` for 32x32 latents or codes and for the codec that makes them. Inside a family and
a size the backbones have equal parameters within 10 %, at the images given here (a Mixer's weights grow with them); the
tiny ones are for tests and are not matched.

MACs are multiply-adds of one training forward pass. Activations are the bytes that one more image of a batch adds to
what a step keeps for backward, in bf16 on a CPU; the last column is the same with `train.gradient_checkpointing=true`
(inputs of all blocks, and one block in full). `--dry-run` prints all of it for any configuration. This page is written
by `scripts/make_size_table.py` and checked by a test.
"""


def meant_for(size: str, family: str) -> tuple[ImageSpec, list[str]]:
    """The images of a size's table rows and the options that go with them."""
    name, _, ending = size.partition("-")
    return MEANT_FOR[name if not ending and name in MEANT_FOR else ending][family]


def row(size: str, family: str, backbone: str) -> str:
    """One line of the table; a cell that cannot be built says why."""
    spec, options = meant_for(size, family)
    cell = (size, family, f"{spec.channels}x{spec.height}x{spec.width}", backbone)
    config = load_config(None, [f"family={family}", f"backbone={backbone}", f"size={size}", *options])
    try:
        counted = cost(config, spec)
    except ConfigError as refusal:
        return _line(*cell, f"refused: {str(refusal).partition(';')[0]}", "", "", "")
    kept = count_activations(config, spec, "bf16")
    return _line(*cell, *map(short, (counted.parameters, counted.macs_per_image, *kept)))


def short(number: int) -> str:
    """Three digits and a unit of thousands: 56,327,000 is 56.3 M."""
    for unit, factor in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= 0.9995 * factor:
            value = number / factor
            return f"{value:.{2 - (value >= 9.995) - (value >= 99.95)}f} {unit}"
    return str(number)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def sizes() -> list[str]:
    """The sizes in the order of the table: by what they are meant for, then as they grow."""
    names, endings = ("tiny", "mini", "small", "base", "large", "xlarge"), ("", "64", "latent")

    def rank(size: str) -> tuple[int, int]:
        name, _, ending = size.partition("-")
        return endings.index(ending), names.index(name)

    return sorted(choices("size"), key=rank)


def page() -> str:
    lines = [_line(*COLUMNS), _line(*("---",) * 4, *("--:",) * 4)]
    for size in sizes():
        for family in FAMILY_ROLES:
            for backbone in BACKBONES:
                lines.append(row(size, family, backbone))
                print(lines[-1], flush=True)
    return f"{HEAD}\n" + "\n".join(lines) + "\n"


def main() -> None:
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
