"""From a resolved configuration to a family with its networks: the only file that knows two tables at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from genvision.config.schema import Config
from genvision.config.trunks import TRUNK_ROLES
from genvision.errors import ConfigError
from genvision.families import FAMILIES, Family
from genvision.families.codec import Codec
from genvision.layers.masked import count_parameters
from genvision.networks import NETWORKS
from genvision.networks.network import grid_of
from genvision.spec import Batch, Draw, ImageSpec


class Cost(NamedTuple):
    """What a family costs: weights that can act, and multiply-adds of one training forward pass per image."""

    parameters: int
    macs_per_image: int


def build(config: Config, spec: ImageSpec, codec: Codec | None = None) -> Family:
    """The family of a resolved configuration on images of this geometry, freshly initialised from `train.seed`.

    codec  what the images become before the networks see them; None: they stay pixels
    Raises ConfigError, naming what can, where a trunk cannot serve its role, the images do not fit, or the codec's codes
    are not what the family generates.
    """
    family = FAMILIES[config.family.name].variant(config.family)
    if codec and family.codes not in codec.kinds:
        raise ConfigError(
            f"codec.run={config.codec.run}: its codes are {codec.kinds[0]}, family={config.family.name} generates "
            f"{family.codes or 'pixels'}; values are for diffusion, tokens (of vq or fsq) for autoregressive"
        )
    options, coded = family.network_options(config), codec.spec if codec else spec
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.train.seed)
        networks = {role: _network(role, getattr(config, role).trunk, coded, options[role]) for role in family.roles}
    return family(spec, networks, config.family, codec)


def _network(role: str, trunk: dict, spec: ImageSpec, options: dict) -> torch.nn.Module:
    if role not in TRUNK_ROLES[trunk["name"]]:
        serving = ", ".join(name for name, roles in TRUNK_ROLES.items() if role in roles)
        raise ConfigError(f"{role}.trunk.name={trunk['name']} cannot serve as {role}; trunks that can: {serving}")
    return NETWORKS[role](spec=spec._asdict(), trunk_config=dict(trunk), **options)


def grids(config: Config, spec: ImageSpec) -> dict[str, tuple[int, int]]:
    """(h, w) tokens on which each role's trunk works."""
    family = FAMILIES[config.family.name].variant(config.family)
    return {role: grid_of(spec, options.get("patch", 1)) for role, options in family.network_options(config).items()}


def cost(config: Config, spec: ImageSpec) -> Cost:
    """Parameters and MACs, counted on the meta device: nothing is allocated and nothing is computed."""
    with torch.device("meta"):
        family = build(config, spec)
        batch = Batch(torch.zeros(1, *spec.shape, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
        draw = Draw(0, 0, torch.zeros(1, dtype=torch.int64))
        with FlopCounterMode(display=False) as counter:
            family.loss(batch if spec.classes else batch._replace(labels=None), draw)
    return Cost(count_parameters(family), counter.get_total_flops() // 2)
