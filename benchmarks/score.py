"""Images per second from a folder of PNG to a Fréchet distance, and the distance alone, against public implementations.

    pip install -e ".[bench]" && python benchmarks/score.py --json benchmarks/score.json

Inception's architecture with random weights: all sides read the same file, float32 on the CPU. Two folders of garments
are scored against each other, all steps from decoding to the distance. pytorch-fid and clean-fid resize in their own
ways, so that only torch-fidelity's distance must come out (1e-3, or the command fails). The Fréchet rows are of two
full-rank sets of 4,096 x 2,048 features in float64: from the sets' statistics, whose making is left out on both sides,
to the distance; 1e-9 is asked of it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from cleanfid import fid as cleanfid
from interleaved import Row, arguments, compare, heading, write_rows
from pytorch_fid import fid_score
from pytorch_fid import inception as pytorch_fid_inception
from torch import nn
from torch_fidelity import calculate_metrics, metric_fid
from torch_fidelity import feature_extractor_inceptionv3 as torch_fidelity_inception

from genvision import data
from genvision.config import load_config
from genvision.evaluation import frechet
from genvision.evaluation.extractors import EXTRACTORS, Extractor
from genvision.evaluation.features import extract
from genvision.evaluation.images import read_images
from genvision.evaluation.inception import Inception
from genvision.sampling.write import write_images

BATCH = 32
Score = Callable[[Path, Path], float]


def random_inception() -> nn.Module:
    """torch-fidelity's network, its weights such that images still differ in the last layer."""
    network = torch_fidelity_inception.FeatureExtractorInceptionV3
    with (
        patch.object(torch_fidelity_inception, "load_state_dict_from_url"),
        patch.object(network, "load_state_dict"),
    ):
        net = network("random", ["2048"])
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return net


def ours(net: nn.Module) -> Score:
    extractor = Extractor(EXTRACTORS["inception"], Inception(dict(net.state_dict())), "random", "cpu")

    def score(a: Path, b: Path) -> float:
        return frechet.distance(*(frechet.fit(extract(read_images(path), extractor).pool) for path in (a, b)))

    return score


def torch_fidelity(weights: Path) -> Score:
    options = {"fid": True, "cuda": False, "batch_size": BATCH, "verbose": False, "cache": False}

    def score(a: Path, b: Path) -> float:
        found = calculate_metrics(input1=str(a), input2=str(b), feature_extractor_weights_path=str(weights), **options)
        return found[metric_fid.KEY_METRIC_FID]

    return score


def pytorch_fid(net: nn.Module) -> Score:
    pytorch_fid_inception.load_state_dict_from_url = lambda *_, **__: net.state_dict()
    return lambda a, b: fid_score.calculate_fid_given_paths([str(a), str(b)], BATCH, "cpu", 2048, num_workers=0)


def clean_fid(net: nn.Module) -> Score:
    *layers, _ = net.children()
    trunk = nn.Sequential(*layers).eval()

    @torch.no_grad()
    def features(x: torch.Tensor) -> torch.Tensor:
        return trunk((x - 128) / 128).flatten(1)

    return lambda a, b: cleanfid.compute_fid(
        str(a), str(b), mode="clean", custom_feat_extractor=features, num_workers=0, batch_size=BATCH,
        device=torch.device("cpu"), verbose=False,
    )  # fmt: skip


class Timed:
    """One side of a row: the rate of `compute`, which does so much `work`, and the value it came to."""

    def __init__(self, compute: Callable[[], float], work: int = 1) -> None:
        self.compute, self.work = compute, work
        self.value = float("nan")

    def __call__(self) -> float:
        began = time.perf_counter()
        self.value = float(self.compute())
        return self.work / (time.perf_counter() - began)


def folders(root: Path, n: int) -> tuple[Path, Path]:
    """n images of each split of the bundled garments, as PNG."""
    config = load_config(None, ["data=fashion_mnist_mini"]).data
    for split in ("train", "test"):
        write_images(data.load(config, split).images[:n], root / split)
    return root / "train", root / "test"


def frechet_sides() -> dict[str, Timed]:
    rng = np.random.default_rng(0)
    mixture = rng.standard_normal((2048, 2048)) / 2048**0.5
    sets = [rng.standard_normal((4096, 2048)) @ mixture * scale for scale in (1.0, 1.1)]
    fits = [frechet.fit(torch.from_numpy(each)) for each in sets]
    one, two = (metric_fid.fid_features_to_statistics(torch.from_numpy(each)) for each in sets)
    moments = [number for each in sets for number in (each.mean(0), np.cov(each, rowvar=False))]
    return {
        "ours": Timed(lambda: frechet.distance(*fits)),
        "torch-fidelity": Timed(
            lambda: metric_fid.fid_statistics_to_metric(one, two, False)[metric_fid.KEY_METRIC_FID]
        ),
        "scipy sqrtm": Timed(lambda: fid_score.calculate_frechet_distance(*moments)),
    }


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--images", type=int, default=128, help="in each of the two folders")
    args = parser.parse_args()
    torch.manual_seed(0)
    heading(["torch-fidelity", "pytorch-fid", "clean-fid", "scipy"])
    with tempfile.TemporaryDirectory() as temporary:
        root, net = Path(temporary), random_inception()
        torch.save(net.state_dict(), root / "weights.pth")
        paths = folders(root, args.images)
        peers = {
            "torch-fidelity": torch_fidelity(root / "weights.pth"),
            "pytorch-fid": pytorch_fid(net),
            "clean-fid": clean_fid(net),
        }
        timed = {name: Timed(lambda peer=peer: peer(*paths), 2 * args.images) for name, peer in peers.items()}
        score = ours(net)
        mine = Timed(lambda: score(*paths), 2 * args.images)
        rows: list[Row] = []
        for name, peer in timed.items():
            row = f"folder to score vs {name}"
            if args.only in row:
                rows.append(compare(row, mine, peer, rounds=args.rounds, unit="images/s"))
                agree(mine, peer, 1e-3 if name == "torch-fidelity" else None)
    sides = frechet_sides()
    mine = sides.pop("ours")
    for name, peer in sides.items():
        row = f"Fréchet term, 2,048 features, vs {name}"
        if args.only in row:
            rows.append(compare(row, mine, peer, rounds=args.rounds if name == "torch-fidelity" else 1, unit="1/s"))
            agree(mine, peer, 1e-9)
    write_rows(rows, args.json)


def agree(mine: Timed, peer: Timed, promised: float | None) -> None:
    """Print both values; exit where they differ by more than was promised, as a share of the peer's."""
    difference = abs(mine.value / peer.value - 1)
    print(f"    {mine.value:.8g} beside {peer.value:.8g}: {difference:.1e} apart")
    if promised and not difference <= promised:
        sys.exit(f"the scores are {difference:.1e} apart, where {promised:g} is promised")


if __name__ == "__main__":
    main()
