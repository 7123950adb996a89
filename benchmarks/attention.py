"""Tokens per second of each kind of attention beside full attention, and how their time grows with the tokens.

    python benchmarks/attention.py --json benchmarks/attention.json

A round is forward and backward through queries, keys and values of 4 sequences of 64 to 4,096 tokens (4 heads of 32
channels, float32, options at their defaults), without the linear layers before and after. The last rows are slopes of
log seconds over log tokens, of the kind and of full attention: 1 is linear, 2 quadratic.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from interleaved import Row, Side, arguments, compare, heading, line, write_rows

from genvision.config import load_config
from genvision.layers.attention import Attention
from genvision.trunks import make_trunk
from genvision.trunks.vit import ATTENTION

SIDES = (8, 16, 32, 64)  # of square token grids
BATCH = 4
OPTIONS = ["backbone=vit", "trunk.width=128", "trunk.head_width=32", "trunk.depth=2"]
FORMS = {
    f"{kind}{' causal' * causal}": (kind, causal)
    for kind, mixing in ATTENTION.items()
    for causal in (False, True)
    if kind != "full" and (mixing.can_be_causal or not causal)
}


def mixing_of(kind: str, side: int, causal: bool) -> Attention:
    """The mixing of a second layer, the one that is shifted where there are windows."""
    config = load_config(None, [*OPTIONS, f"trunk.attention={kind}"])
    return make_trunk(config.denoiser.trunk, (side, side), causal=causal).blocks[1].mixing


def passes(mixing: Attention, tokens: int) -> Side:
    """Forward and backward through the mixing, 4,096 tokens of each sequence a round; tokens per second."""
    q, k, v = (torch.randn(BATCH, 4, tokens, 32, requires_grad=True) for _ in range(3))
    repeats = 4096 // tokens

    def run() -> float:
        began = time.perf_counter()
        for _ in range(repeats):
            mixing.mix(q, k, v).sum().backward()
        return repeats * BATCH * tokens / (time.perf_counter() - began)

    return run


def slope(rates: list[float]) -> float:
    """Of log seconds over log tokens, from tokens per second at each of SIDES."""
    tokens = np.square(SIDES)
    return float(np.polyfit(np.log(tokens), np.log(tokens / rates), 1)[0])


def main() -> None:
    parser = arguments(__doc__, rounds=7)
    args = parser.parse_args()
    torch.manual_seed(0)
    heading([])
    rows: list[Row] = []
    for name, (kind, causal) in FORMS.items():
        if args.only not in name:
            continue
        measured = []
        for side in SIDES:
            sides = (passes(mixing_of(which, side, causal), side**2) for which in (kind, "full"))
            label = f"{name} vs full, {side**2} tokens"
            measured.append(compare(label, *sides, rounds=args.rounds, unit="tokens/s"))
        ours, full = (slope([row[column] for row in measured]) for column in ("ours", "peer"))
        grows = {"name": f"{name} vs full, growth", "ours": ours, "peer": full, "ratio": ours / full}
        measured.append({**grows, "unit": "log s / log tokens", "rounds": args.rounds})
        print(line(measured[-1]), flush=True)
        rows += measured
    write_rows(rows, args.json)


if __name__ == "__main__":
    main()
