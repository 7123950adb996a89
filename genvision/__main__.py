"""`python -m genvision`, `accelerate launch -m genvision` and `torchrun -m genvision` are `genvision`."""

import sys

from genvision.cli import main

if __name__ == "__main__":
    sys.exit(main())
