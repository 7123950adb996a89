"""Complete test images from their upper half, the originals above: python samples/completion.py RUN --out c.png"""

import argparse
from pathlib import Path

import torch

import genvision
from genvision import data
from genvision.errors import ConfigError, run_script
from genvision.run_folder import RunFolder
from genvision.sampling import processes, write_grid
from genvision.spec import Draw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="run folder of an autoregressive generator")
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--rows", type=int, default=3, help="different completions of each image")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("completion.png"))
    args = parser.parse_args()

    state = processes()
    if not state.is_main_process:
        return
    family = genvision.load(args.run).to(state.device).generator
    if family.options.name != "autoregressive" or not family.codec.lossless:
        raise ConfigError(f"{args.run} is no run of family=autoregressive on pixels, which alone completes images")
    real = data.load(RunFolder(args.run).read_config().data, "test")
    images = real.images[: args.columns].repeat(args.rows, 1, 1, 1).to(state.device)
    labels = None if real.labels is None else real.labels[: args.columns].repeat(args.rows).to(state.device)
    known = torch.arange(real.spec.height)[:, None].expand(-1, real.spec.width) < real.spec.height // 2
    draw = Draw(args.seed, 0, torch.arange(len(images), device=state.device))
    with torch.no_grad():
        completed = family.complete(images, known.to(state.device), labels, draw).cpu()
    print(write_grid(torch.cat([real.images[: args.columns], completed]), args.out, columns=args.columns))


if __name__ == "__main__":
    run_script(main)
