"""Images per second of autoregressive sampling: the cached trunks against the naive loop and transformers' `generate`.

    pip install -e ".[bench]" && python benchmarks/sampling.py --json benchmarks/sampling.json

Images are 1x28x28 with 256 levels. Ours is `family.sample` as a user calls it, float32. The naive loop runs the same
weights in the same float32, a whole forward pass for each of the 784 pixels; as these cost the same, a round times
`--forwards` of them (the share is printed). `generate` is GPT-2's of equal layers, width, heads and 784 tokens of 256
values, without logits processors, with the better of its two caches on this machine: both are tried and printed.
"""

from __future__ import annotations

import time

import torch
from interleaved import Row, Side, arguments, compare, heading, write_rows
from peers import SPEC, TOKENS, NextToken

from genvision.build import build
from genvision.config import load_config
from genvision.families import Family
from genvision.probability.units import to_unit

VIT = ["backbone=vit", "trunk.depth=6", "trunk.width=192", "trunk.head_width=64"]
CELLS = {
    "pixelcnn": (["backbone=convnet", "trunk.depth=15", "trunk.width=128"], (1, 16, 64)),
    "vit": (VIT, (1, 16)),
    "performer": ([*VIT, "trunk.attention=performer"], (1, 16)),
    "mixer": (["backbone=mixer", "trunk.depth=6", "trunk.width=192"], (1, 16)),
}


def make_family(words: list[str]) -> Family:
    config = load_config(None, ["family=autoregressive", "data=fashion_mnist_mini", "size=small", *words])
    return build(config, SPEC).eval()


def cached(family: Family, batch: int) -> Side:
    """Draws a chunk of so many images; images per second."""

    def draw() -> float:
        began = time.perf_counter()
        family.sample(batch, chunk_size=batch)
        return batch / (time.perf_counter() - began)

    return draw


def naive(family: Family, batch: int, forwards: int) -> Side:
    """Draws so many pixels, each after a forward pass over the whole image; images per second if it went on."""
    x = torch.randint(0, 256, (batch, *SPEC.shape), dtype=torch.uint8)
    y, u = torch.arange(batch) % SPEC.classes, torch.rand(batch, *SPEC.shape)

    @torch.inference_mode()
    def draw() -> float:
        began = time.perf_counter()
        for i in range(forwards):
            features = family.predictor(to_unit(x), y)[:, :, i : i + 1, :1]
            x[:, :, i : i + 1, :1] = family.predictor.head.sample(features, u[:, :, i : i + 1, :1])
        return batch / ((time.perf_counter() - began) * TOKENS / forwards)

    return draw


def generate(cache: str, batch: int) -> Side:
    """GPT-2 draws 784 tokens; images per second."""
    net = NextToken(192, 6, 3).net.eval()
    start = torch.zeros(batch, 1, dtype=torch.int64)
    options = {"max_new_tokens": TOKENS, "do_sample": True, "top_k": 0, "pad_token_id": 0, "eos_token_id": None}

    def draw() -> float:
        began = time.perf_counter()
        tokens = net.generate(
            start, attention_mask=torch.ones_like(start), cache_implementation=cache, disable_compile=True, **options
        )
        assert tokens.shape[1] == 1 + TOKENS
        return batch / (time.perf_counter() - began)

    return draw


def best_generate(batch: int) -> Side:
    """The faster of `generate` with DynamicCache and with StaticCache, after a round of each."""
    sides = {cache: generate(cache, batch) for cache in ("dynamic", "static")}
    rates = {cache: (side(), side())[1] for cache, side in sides.items()}
    print("    " + ", ".join(f"{cache} cache {rate:.3g} images/s" for cache, rate in rates.items()))
    return sides[max(rates, key=lambda cache: rates[cache])]


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--forwards", type=int, default=2, help="of the 784 of the naive loop, in one round")
    args = parser.parse_args()
    torch.manual_seed(0)
    heading(["transformers"])
    print(f"    a naive round times {args.forwards} of its {TOKENS} forward passes")
    rows: list[Row] = []
    for trunk, (words, batches) in CELLS.items():
        family = make_family(words)
        for batch in batches:
            others = {"naive": lambda family=family, batch=batch: naive(family, batch, args.forwards)}
            others |= {"generate": lambda batch=batch: best_generate(batch)} if trunk == "vit" else {}
            for other, make in others.items():
                name = f"{trunk} vs {other} b={batch}"
                if args.only in name:
                    rows.append(compare(name, cached(family, batch), make(), rounds=args.rounds, unit="images/s"))
    write_rows(rows, args.json)


if __name__ == "__main__":
    main()
