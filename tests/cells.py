"""Tiny cells made from the schema's dataclasses, and what the tests of the model core share."""

from __future__ import annotations

from dataclasses import asdict, replace

import torch
from torch import Tensor, nn

from genvision.build import build
from genvision.config.schema import AutoregressiveConfig, Config, DiffusionConfig, NetworkConfig, TrainConfig, VAEConfig
from genvision.config.trunks import ATTENTION_ROLES, FAMILY_ROLES, TRUNK_CONFIGS, TRUNK_ROLES
from genvision.families import Family
from genvision.probability.path import HIGHEST, LOWEST, Path, make_path
from genvision.probability.path import PATHS as PATH_CLASSES
from genvision.spec import Batch, Draw, ImageSpec

FAMILY_OPTIONS = {
    "vae": VAEConfig(
        latent="gaussian",
        latent_channels=4,
        top_channels=5,
        downsample=2,
        likelihood="logistic_mixture",
        mixtures=3,
        output_scale=None,
        beta=1.0,
        beta_warmup_steps=0,
        free_bits=0.0,
        fsq_levels=(5, 3, 2),
        codebook_size=12,
        commitment=0.25,
        pixels="mean",
    ),
    "autoregressive": AutoregressiveConfig(likelihood="categorical", mixtures=3, label_dropout=0.1, order="raster"),
    "diffusion": DiffusionConfig(
        path="flow",
        prediction="velocity",
        times="logit_normal",
        log_normal_mean=-1.2,
        log_normal_std=1.2,
        weight="none",
        min_snr_gamma=5.0,
        sigma_data=0.5,
        label_dropout=0.1,
    ),
}
PATHS = {name: make_path(name, FAMILY_OPTIONS["diffusion"].sigma_data) for name in PATH_CLASSES}
TINY = {name: {"width": 16, "depth": 2} for name in TRUNK_CONFIGS} | {
    "conv": {"width": 16, "depth": 1},
    "unet": {"width": 16, "depth": 1, "head_width": 16},
    "pixelcnnpp": {"width": 16, "depth": 1, "scales": 2},
    "vit": {"width": 16, "depth": 2, "head_width": 8, "mlp_ratio": 2.0},
    "mixer": {"width": 16, "depth": 2, "channel_ratio": 2.0},
}
KINDS = {"window": {"window_size": 3}, "linformer": {"linformer_rank": 3}, "performer": {"performer_features": 8}}
TINY |= {kind: {**TINY["vit"], "attention": kind, **own} for kind, own in KINDS.items()}  # more trunks, to a test
MIXED = [("vit", "conv"), ("conv", "mixer"), ("mixer", "vit")]  # encoder and decoder of different backbones


def serving(role: str) -> list[str]:
    """The trunks that can play a role, a `vit` once for each kind of attention that can."""
    kinds = {kind: ATTENTION_ROLES[kind] for kind in KINDS}
    return [name for name, roles in (TRUNK_ROLES | kinds).items() if role in roles]


# every supported cell as (family, trunk of each of its roles)
CELLS: list[tuple[str, tuple[str, ...]]] = [
    *(("vae", (name, name)) for name in serving("encoder")),
    *(("vae", pair) for pair in MIXED),
    *(("autoregressive", (name,)) for name in serving("predictor")),
    *(("diffusion", (name,)) for name in serving("denoiser")),
]
CELL_IDS = [f"{family}-{'-'.join(trunks)}" for family, trunks in CELLS]


def cell_config(family: str, trunks: tuple[str, ...], *, seed: int = 0, trunk: dict | None = None, **options) -> Config:
    """A tiny cell; `trunk` overrides options of every trunk, the other keywords those of the family."""
    roles = {}
    for role, name in zip(FAMILY_ROLES[family], trunks, strict=True):
        schema = TRUNK_CONFIGS["vit" if name in KINDS else name]
        chosen = asdict(schema(**{**TINY[name], **(trunk or {})}))
        patch = 2 if role == "denoiser" and name != "unet" else 1
        roles[role] = NetworkConfig(backbone=name, patch=patch, trunk=chosen)
    train = TrainConfig(seed=seed, steps=1)
    return Config(backbone=trunks[0], family=replace(FAMILY_OPTIONS[family], **options), train=train, **roles)


def make_cell(family: str, trunks: tuple[str, ...], spec: ImageSpec, **options) -> Family:
    """The family of `cell_config`, built for images of this geometry."""
    return build(cell_config(family, trunks, **options), spec)


@torch.no_grad()
def randomise(module: nn.Module, std: float = 0.1, seed: int = 0) -> nn.Module:
    """Add noise to every parameter, so that no gate, head or table is zero any more."""
    generator = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        p.add_(std * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return module


def some_images(n: int, spec: ImageSpec, seed: int = 0) -> Tensor:
    """(n,C,H,W) uint8 noise below spec.levels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, spec.levels, (n, *spec.shape), generator=generator, dtype=torch.uint8)


def some_batch(n: int, spec: ImageSpec) -> Batch:
    """Noise images, labels 0, 1, .. where the geometry has classes."""
    return Batch(some_images(n, spec), torch.arange(n) % spec.classes if spec.classes else None)


def draw_of(n: int, *, seed: int = 0, step: int = 0) -> Draw:
    """The Draw of slots 0..n-1."""
    return Draw(seed, step, torch.arange(n))


def gaussian_posterior(path: Path, xt: Tensor, t: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """E[x0 | xt] and E[eps | xt] in float64, in closed form, for images drawn from N(mean, std^2)."""
    alpha, sigma = (c.view(-1, 1, 1, 1) for c in path.alpha_sigma(t.double()))
    away = (xt.double() - alpha * mean) / ((alpha * std) ** 2 + sigma**2)
    return mean + alpha * std**2 * away, sigma * away


class Oracle(nn.Module):
    """In place of a denoiser: the best one for images of N(mean, std^2), its output wrong by `error` in a pattern."""

    def __init__(self, cell: Family, mean: Tensor | float, std: Tensor | float, error: float = 0.0) -> None:
        super().__init__()
        self.error = nn.Parameter(torch.tensor(error))
        self.path, self.prediction = cell.path, cell.options.prediction
        self.moments = torch.as_tensor(mean).double(), torch.as_tensor(std).double()

    def forward(self, fed: Tensor, fed_t: Tensor, y: Tensor | None = None) -> Tensor:
        share, xt = fed_t.double() / 1000, fed.double()
        t = LOWEST * (HIGHEST / LOWEST) ** share if self.path.name == "edm" else share
        xt = xt / self.path.fed_image(torch.ones_like(xt), t)
        x0, eps = gaussian_posterior(self.path, xt, t, *self.moments)
        pattern = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(xt.shape[2] // 2, xt.shape[3] // 2)
        return (self.path.target(x0, eps, t, self.prediction) + self.error * pattern).to(fed.dtype)
