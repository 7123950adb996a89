"""The same noise under rising guidance, a strength per row: python samples/guidance.py RUN --out guidance.png"""

import argparse
from pathlib import Path

import torch

import genvision
from genvision.errors import run_script
from genvision.sampling import processes, write_grid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="run folder, exported folder or Hub id of a class-conditional generator, not a vae")
    parser.add_argument("--strengths", type=float, nargs="+", default=[0.0, 1.0, 2.0, 4.0, 8.0], help="1 is none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("guidance.png"))
    args = parser.parse_args()

    state = processes()
    pipeline = genvision.load(args.run).to(state.device)
    columns = pipeline.generator.spec.classes or 8
    rows = [
        pipeline(columns, seed=args.seed, guidance=strength, output_type="pt").images for strength in args.strengths
    ]
    if state.is_main_process:
        print(write_grid(torch.cat(rows), args.out, columns=columns))


if __name__ == "__main__":
    run_script(main)
