"""The generative families: an objective and a sampler each, around networks of any backbone."""

from genvision.families.autoregressive import Autoregressive
from genvision.families.base import Family
from genvision.families.diffusion import Diffusion
from genvision.families.vae import VAE

FAMILIES: dict[str, type[Family]] = {"vae": VAE, "autoregressive": Autoregressive, "diffusion": Diffusion}
