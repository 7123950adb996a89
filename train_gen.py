"""`accelerate launch train_gen.py ...` is `genvision train ...`."""

import sys

from genvision.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
