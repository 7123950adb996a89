"""Write docs/SPEED.md from the rows that the benchmarks left in benchmarks/*.json.

python scripts/make_speed_page.py
"""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "SPEED.md"
HEAD = """# Speed

Ours beside public implementations, in turn in one process, so that whatever else the machine does falls on both;
medians over the rounds and their ratio. Measured on two cores of an AMD EPYC server (Zen 5, bf16 and AVX-512) with
torch 2.14.1, diffusers 0.42.1, denoising-diffusion-pytorch 2.3.4, transformers 5.24.0, timm 1.0.31 and pythae 0.1.2.
"""
SECTIONS = {
    "train_step": (
        "A training step",
        """python benchmarks/train_step.py --rounds 7 --json benchmarks/train_step.json""",
        """Ours as `train.precision=auto` runs it there (bf16), the peer in float32 as it ships; batch 32 of 1x28x28
images. Depth, width, heads and tokens are the peer's; the U-Nets and the convolutional VAEs differ in plan and are
matched in multiply-adds. No public Mixer is causal and no public PixelCNN is maintained: the one stands beside a dense
Mixer of equal cost, the other beside itself in the usual number format and memory layout. Medians of""",
    ),
    "sampling": (
        "Autoregressive sampling",
        """python benchmarks/sampling.py --rounds 3 --json benchmarks/sampling.json""",
        """28x28 pixels of 256 levels, float32. Naive: a forward pass over the whole image for each of the 784 pixels,
of which a round times two. `generate`: transformers' GPT-2 of equal layers, width and heads, with the better of its
dynamic and static caches. PixelCNN: 15 layers of 128 channels; the others: 6 layers of width 192. Medians of""",
    ),
    "score": (
        "Scores",
        """python benchmarks/score.py --rounds 1 --json benchmarks/score.json""",
        """Inception's architecture with random weights, float32: two folders of 128 garments from PNG to the Fréchet
distance, which comes within 2e-4 of torch-fidelity's; pytorch-fid 0.3.0 and clean-fid 0.1.35 resize in their own ways.
The Fréchet term is of two full-rank sets of 4,096 x 2,048 features in float64, within 1e-11 of torch-fidelity 0.4.0 and
of scipy 1.17.1. Rates of""",
    ),
    "attention": (
        "Attention",
        """python benchmarks/attention.py --json benchmarks/attention.json""",
        """Each kind beside full attention, forward and backward through queries, keys and values of 4 sequences (4
heads of 32 channels, float32, options at their defaults). The rows of growth are slopes of log seconds over log tokens
from 64 to 4,096: 1 is linear, 2 quadratic. Medians of""",
    ),
}

ACCELERATOR = """## Training on an accelerator

```
python benchmarks/accelerator.py --json benchmarks/accelerator.json
```

Steps of `genvision train` as they come, uncompiled, in bf16, on one {device} with torch {torch}. TFLOP/s count
three forward passes; the share is of the {peak_tflops:.0f} TFLOP/s that a product of 8192x8192 matrices reaches there.
Small sizes are 1x28x28 images, base ones 3x32x32. Medians over 11 steps. The run was cut before its last rows: a base
Mixer as a denoiser, and the large denoisers, plain and compiled.

{table}

These networks are small for such a device. Noise is drawn on it; when NumPy drew it on the host, the same command (at
commit e4d96c7) gave 7,900 to 8,200 images/s for the small denoisers, and 15,000 to 21,000 for the small VAEs.
"""


def accelerator() -> str:
    about, *rows = json.loads((ROOT / "benchmarks" / "accelerator.json").read_text())
    lines = ["| size | family | backbone | batch | images/s | TFLOP/s | share | GiB |", "|---|---|---|" + "---:|" * 5]
    lines += [
        f"| {row['size']} | {row['family']} | {row['backbone']} | {row['batch']:,} | {row['images_per_second']:,.0f} | "
        f"{row['tflops']:.1f} | {row['share']:.1%} | {row['memory_gib']:.1f} |"
        for row in rows
    ]
    return ACCELERATOR.format(**about, table="\n".join(lines))


def page() -> str:
    parts = [HEAD]
    for name, (title, command, note) in SECTIONS.items():
        rows = json.loads((ROOT / "benchmarks" / f"{name}.json").read_text())
        lines = ["| row | unit | ours | peer | ratio |", "|---|---|---:|---:|---:|"]
        lines += [
            f"| {row['name']} | {row['unit']} | {row['ours']:,.3g} | {row['peer']:,.3g} | {row['ratio']:.2f} |"
            for row in rows
        ]
        table = "\n".join(lines)
        rounds = f"{rows[0]['rounds']} round{'s' if rows[0]['rounds'] > 1 else ''}"
        parts.append(f"## {title}\n\n```\n{command}\n```\n\n{note} {rounds}.\n\n{table}\n")
    return "\n".join([*parts, accelerator()])


def main() -> None:
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
