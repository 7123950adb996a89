"""Walk between latents of a VAE, a class per row: python samples/interpolation.py RUN --out walk.png"""

import argparse
from pathlib import Path

import torch

import genvision
from genvision.errors import ConfigError, run_script
from genvision.families.vae import VAE
from genvision.probability.randomness import Stream, normal
from genvision.sampling import processes, write_grid
from genvision.spec import Draw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="run folder or exported folder of a VAE")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--columns", type=int, default=10, help="images from one latent to the other")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("interpolation.png"))
    args = parser.parse_args()

    state = processes()
    if not state.is_main_process:
        return
    family = genvision.load(args.run).to(state.device).generator
    if not isinstance(family, VAE):
        raise ConfigError(f"{args.run} is no vae of family.latent=gaussian, which alone has latents to walk between")
    slots = torch.arange(2 * args.rows, device=state.device)
    ends = normal(Draw(args.seed, 0, slots), Stream.SAMPLE + Stream.LATENT, family.noise_size())
    rows = []
    for row in range(args.rows):
        angle = torch.linspace(0, torch.pi / 2, args.columns, device=state.device)[:, None]
        # on a circle the norm of the noise stays that of the prior; on a straight line it would sag in the middle
        noise = torch.cos(angle) * ends[2 * row] + torch.sin(angle) * ends[2 * row + 1]
        classes = family.spec.classes
        y = torch.full((len(noise),), row % classes, device=state.device) if classes else None
        with torch.no_grad():
            latents = family.latents_of(noise, y)
            rows.append(family.decode(latents, y, Draw(args.seed, 0, torch.arange(len(noise)))).cpu())
    print(write_grid(torch.cat(rows), args.out, columns=args.columns))


if __name__ == "__main__":
    run_script(main)
