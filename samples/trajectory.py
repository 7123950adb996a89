"""From noise to image, a sample per row: python samples/trajectory.py RUN --out trajectory.png"""

import argparse
from pathlib import Path

import torch

import genvision
from genvision.errors import ConfigError, run_script
from genvision.sampling import processes, write_grid
from genvision.spec import Draw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="run folder, exported folder or Hub id of a diffusion model")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--columns", type=int, default=10, help="moments shown, from pure noise to the image")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("trajectory.png"))
    args = parser.parse_args()

    state = processes()
    if not state.is_main_process:
        return
    pipeline = genvision.load(args.run).to(state.device)
    family = pipeline.generator
    if family.options.name != "diffusion":
        raise ConfigError(
            f"{args.run} is of family={family.options.name}: only a diffusion one goes from noise to image"
        )
    options = {name: pipeline.config.sampling[name] for name in family.sample_options}
    labels = family.check_labels(None, args.rows)
    y = None if labels is None else labels.to(state.device)
    draw = Draw(args.seed, 0, torch.arange(args.rows, device=state.device))
    with torch.no_grad():
        states = list(family.trajectory(draw, y, **options))
        moments = torch.linspace(0, len(states) - 1, args.columns).round().long().tolist()
        shown = [family.codec.from_values(states[moment], y, draw).cpu() for moment in moments]
    print(write_grid(torch.stack(shown, 1).flatten(0, 1), args.out, columns=args.columns))


if __name__ == "__main__":
    run_script(main)
