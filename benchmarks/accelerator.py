"""Training on an accelerator: images per second, the share of its arithmetic that is used, and its memory.

    python benchmarks/accelerator.py --json benchmarks/accelerator.json

Steps are those of `genvision train`: batches, keyed noise, loss, backward, clipping, update and average, in the
precision that `train.precision=auto` chooses. Three times the multiply-adds of a forward pass stand for a training step
(Kaplan et al. 2020, "Scaling laws for neural language models", section 2.1); the share is of what one large product of
matrices reaches here in the same precision. Rates are medians over steps, each timed until its loss is on the host.
"""

from __future__ import annotations

import statistics
import time
from itertools import product
from typing import NamedTuple

import torch
from interleaved import Row, arguments, write_rows

from genvision.build import build, cost
from genvision.config import load_config
from genvision.config.trunks import BACKBONES
from genvision.data import Batches, ImageSet
from genvision.spec import ImageSpec
from genvision.training.launch import device_name, make_accelerator
from genvision.training.loop import train
from genvision.training.state import make_state

STEPS, UNCOUNTED = 16, 5
SPECS = {"small": ImageSpec(1, 28, 28, 10), "base": ImageSpec(3, 32, 32, 10), "large": ImageSpec(3, 32, 32, 10)}


class Case(NamedTuple):
    """What is trained, and how many images a step takes."""

    size: str
    family: str
    batch: int
    compiled: bool = False


CASES = [
    *(Case("small", "vae", 2048), Case("small", "autoregressive", 256), Case("small", "diffusion", 1024)),
    *(Case("base", "vae", 512), Case("base", "autoregressive", 32), Case("base", "diffusion", 512)),
    *(Case("large", "diffusion", 256), Case("large", "diffusion", 256, compiled=True)),
]


def measure(case: Case, backbone: str, peak: float) -> Row:
    """One row of the table; peak in FLOP/s."""
    spec = SPECS[case.size]
    words = [f"size={case.size}", f"family={case.family}", f"backbone={backbone}", f"train.batch_size={case.batch}"]
    words += [f"train.steps={STEPS}", "data=fashion_mnist_mini", f"train.compile={str(case.compiled).lower()}"]
    config = load_config(None, words)
    accelerator = make_accelerator(config)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, spec.levels, (case.batch, *spec.shape), generator=generator, dtype=torch.uint8)
    noise = ImageSet("noise", "train", images, torch.arange(case.batch) % spec.classes, tuple("0123456789"))
    batches = Batches(noise, batch_size=case.batch, seed=0, flip=False, crop_padding=0, device=accelerator.device)
    state = make_state(build(config, spec), config, accelerator)
    seconds = [report.seconds for report in train(state, batches, config, accelerator)][UNCOUNTED:]
    rate = case.batch / statistics.median(seconds)
    flops = rate * 6 * cost(config, spec).macs_per_image
    return {
        **{"size": case.size, "family": case.family, "backbone": backbone, "batch": case.batch},
        **{"compiled": case.compiled, "images_per_second": rate, "tflops": flops / 1e12, "share": flops / peak},
        "memory_gib": torch.cuda.max_memory_allocated() / 2**30,
    }


def peak_flops(side: int = 8192, rounds: int = 20) -> float:
    """FLOP/s of one product of square matrices in bf16, the median over rounds."""
    a, b = torch.randn(2, side, side, device="cuda", dtype=torch.bfloat16)
    found = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        began = time.perf_counter()
        a @ b
        torch.cuda.synchronize()
        found.append(2 * side**3 / (time.perf_counter() - began))
    return statistics.median(found)


def main() -> None:
    args = arguments(__doc__, rounds=1).parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("accelerator.py: no CUDA device; benchmarks/train_step.py measures a CPU")
    config = load_config(None, ["data=fashion_mnist_mini"])
    accelerator = make_accelerator(config)
    peak = peak_flops()
    about = {"device": device_name(accelerator), "torch": torch.__version__, "peak_tflops": peak / 1e12}
    print(about, accelerator.mixed_precision)
    rows: list[Row] = []
    for case, backbone in product(CASES, BACKBONES):
        if args.only in f"{case.size} {case.family} {backbone}{' compiled' * case.compiled}":
            row = measure(case, backbone, peak)
            print(
                " ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()),
                flush=True,
            )
            rows.append(row)
    write_rows([about, *rows], args.json)


if __name__ == "__main__":
    main()
