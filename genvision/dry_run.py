"""What a run would be: its configuration, its costs and its folder, with nothing built on disk."""

from __future__ import annotations

import torch

from genvision import data
from genvision.build import build, cost, grids
from genvision.codecs import open_codec
from genvision.config import to_yaml
from genvision.config.schema import Config
from genvision.run_folder import planned


def describe(config: Config) -> str:
    """The resolved configuration as YAML, then its costs as comment lines, so that the whole is a valid --config.

    Raises the ConfigError or DataError that the run itself would start with, for a sampler that cannot work too.
    """
    spec = data.spec_of(config.data)
    codec = open_codec(config, spec)
    coded = codec.spec if codec else spec
    costs = cost(config, coded)
    with torch.device("meta"):
        family = build(config, spec, codec)
    evaluations = family.network_evaluations(**{name: getattr(config.sample, name) for name in family.sample_options})
    tokens = ", ".join(f"{role} {h}x{w}" for role, (h, w) in grids(config, coded).items())
    return "\n".join(
        [
            to_yaml(config).rstrip(),
            f"# images          {spec.channels}x{spec.height}x{spec.width}, {spec.classes or 'no'} classes",
            f"# codes           {coded.channels}x{coded.height}x{coded.width} of {config.codec.run or 'pixels'}",
            f"# parameters      {costs.parameters:,}",
            f"# MACs per image  {costs.macs_per_image:,} (one training forward pass)",
            f"# sampling        {evaluations} network evaluations per image",
            f"# token grid      {tokens}",
            f"# run folder      {planned(config)}",
        ]
    )
