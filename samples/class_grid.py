"""A grid with one class per column: python samples/class_grid.py RUN --rows 8 --out grid.png"""

import argparse
from pathlib import Path

import genvision
from genvision.errors import run_script
from genvision.sampling import processes, write_grid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="run folder, exported folder, or Hub id")
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guidance", type=float, help="not for a vae; 1 is none")
    parser.add_argument("--out", type=Path, default=Path("class_grid.png"))
    args = parser.parse_args()

    state = processes()
    pipeline = genvision.load(args.run).to(state.device)
    columns = pipeline.generator.spec.classes or 8
    options = {} if args.guidance is None else {"guidance": args.guidance}
    # image k has label k mod classes, so that a row of the grid holds each class once
    images = pipeline(args.rows * columns, seed=args.seed, output_type="pt", **options).images
    if state.is_main_process:
        print(write_grid(images, args.out, columns=columns))


if __name__ == "__main__":
    run_script(main)
