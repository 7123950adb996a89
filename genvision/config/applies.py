"""Options that mean something only beside another choice: setting one elsewhere is refused, not ignored."""

from __future__ import annotations

from typing import Any

from genvision.config.document import Entry, Layer, fault, short
from genvision.config.schema import FAMILY_CONFIGS
from genvision.config.typed import field_names, typed

# option of a family -> the option beside it that must have one of these values
NEEDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "top_channels": ("latent", ("gaussian",)),
    "top_downsample": ("latent", ("gaussian",)),
    "beta": ("latent", ("gaussian",)),
    "beta_warmup_steps": ("latent", ("gaussian",)),
    "free_bits": ("latent", ("gaussian",)),
    "latent_channels": ("latent", ("gaussian", "vq")),
    "fsq_levels": ("latent", ("fsq",)),
    "codebook_size": ("latent", ("vq",)),
    "commitment": ("latent", ("vq",)),
    "output_scale": ("likelihood", ("logistic",)),
    "mixtures": ("likelihood", ("logistic_mixture",)),
    "log_normal_mean": ("times", ("log_normal",)),
    "log_normal_std": ("times", ("log_normal",)),
    "min_snr_gamma": ("weight", ("min_snr",)),
    "sigma_data": ("path", ("edm",)),
}


def check_applies(family: Any, origin: Layer, file: Layer) -> None:
    """Raises ConfigError about an option without effect whose value is not the one of the family's own file.

    family  its resolved options     origin  where each key was set     file  the settings of configs/family/NAME.yaml
    """
    section = {key.removeprefix("family."): entry for key, entry in file.items() if key.startswith("family.")}
    usual = typed(type(family), section, "family")
    for option, (switch, values) in NEEDS.items():
        entry, chosen = origin.get(f"family.{option}"), getattr(family, switch, None)
        if entry and chosen not in values and getattr(family, option) != getattr(usual, option):
            problem = f"means nothing with family.{switch}={chosen}: it is for {' or '.join(values)}"
            raise fault(entry.where, f"{entry.key}={short(entry.value)} {problem}")


def refuse_of_another_family(entry: Entry, family: str) -> None:
    """Raises ConfigError about an option that `family` lacks and other families have."""
    option = entry.key.removeprefix("family.")
    others = [name for name, schema in FAMILY_CONFIGS.items() if option in field_names(schema)]
    if option != entry.key and others:
        problem = f"means nothing with family={family}: it is for {' and '.join(others)}"
        raise fault(entry.where, f"{entry.key}={short(entry.value)} {problem}")
