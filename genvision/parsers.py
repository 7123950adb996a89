"""What each command takes: its arguments, their defaults and their help."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from genvision import commands


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    """train a generator, then sample, score and record it"""
    parser.set_defaults(run=commands.train)
    parser.add_argument(
        "keys", nargs="*", metavar="key=value", help="groups (family=, backbone=, data=, size=) and keys"
    )
    parser.add_argument("--config", type=Path, help="a recipe, or the config.yaml of any run")
    parser.add_argument(
        "--resume", metavar="auto|PATH", help="go on from the newest checkpoint of run.name, or of PATH"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the resolved run and its costs; write nothing")


def _sample_arguments(parser: argparse.ArgumentParser) -> None:
    """draw images from a run or an exported model"""
    parser.set_defaults(run=commands.sample)
    parser.add_argument("run_or_model", metavar="RUN", help="run folder, exported folder, or Hub id")
    parser.add_argument("--num-images", type=_count, default=64, metavar="N", help="how many to draw")
    parser.add_argument("--out", type=Path, required=True, help="a new folder for PNGs, or FILE.npz")
    parser.add_argument("--seed", type=_whole, default=0, help="image k of a seed is the same for every N")
    parser.add_argument("--labels", help="one, or several separated by commas, in turn; all classes in turn by default")
    parser.add_argument("--log-likelihood", action="store_true", help="keep log p of each image in the NPZ, in nats")
    _sampler_arguments(parser)


def _sampler_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sampler", "how images are drawn; each is the run's own by default")
    group.add_argument("--scheduler", help="of a diffusion sampler, like --steps, --guidance-interval, --guide")
    group.add_argument("--steps", type=_count, help="of the scheduler, from noise to image")
    group.add_argument("--guidance", type=float, help="1 is none; away from no label, or from the --guide")
    group.add_argument("--guidance-interval", type=float, nargs=2, metavar=("FIRST", "LAST"), help="times it acts at")
    group.add_argument("--guide", metavar="MODEL", help="a weaker model, such as RUN/checkpoints/step-000000500")
    group.add_argument("--temperature", type=float, help="of an autoregressive sampler, like the next two; 1 is none")
    group.add_argument("--top-k", type=_whole, help="only the K likeliest levels; 0 is all")
    group.add_argument("--top-p", type=float, help="only the likeliest levels that together have P; 1 is all")


def _score_arguments(parser: argparse.ArgumentParser) -> None:
    """score a run, a folder of PNGs or an NPZ"""
    parser.set_defaults(run=commands.score)
    parser.add_argument("source", type=Path, metavar="RUN|FOLDER|FILE.npz", help="what is scored; a run is drawn from")
    parser.add_argument(
        "--reference", metavar="NAME[:split]|folder:PATH[:split]", help="the real images; a run's test split by default"
    )
    parser.add_argument("--reconstruct", action="store_true", help="a vae: what comes back of its own test split")
    parser.add_argument(
        "--num-images", type=_count, help="a run draws so many, score.num_images by default; else so many must be there"
    )
    parser.add_argument("--extractor", default="inception", help="of features: inception (FID) or efficientnet-lite0")
    parser.add_argument("--extractor-weights", metavar="FILE", help="of the extractor; found by itself by default")
    parser.add_argument("--seed", type=_whole, help="of the drawn images; a run's own by default")
    _sampler_arguments(parser)
    parser.add_argument("--anchors", action="store_true", help="also what real, blurred and random images would score")
    parser.add_argument("--memorisation", action="store_true", help="also whether training images are copied")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers and their protocol there")


def _nll_arguments(parser: argparse.ArgumentParser) -> None:
    """bits per dimension of a run, with their kind"""
    parser.set_defaults(run=commands.nll)
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("--split", default="test", choices=("train", "validation", "test"), help="of the run's own set")
    parser.add_argument("--num-images", type=_count, help="the first so many; all by default")
    parser.add_argument(
        "--bound", type=_bound, metavar="elbo|iwae:K", help="of a vae; K samples make it tighter; elbo by default"
    )
    parser.add_argument("--steps", type=_count, help="of the ODE behind a diffusion estimate; 64 by default")
    parser.add_argument("--probes", type=_count, help="random probes of its divergence; 1 by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers and their protocol there")


def _match_arguments(parser: argparse.ArgumentParser) -> None:
    """find the widths at which the backbones cost the same"""
    parser.set_defaults(run=commands.match)
    parser.add_argument("keys", nargs="*", metavar="key=value", help="family= (all by default), size=, data=, keys")
    parser.add_argument("--by", default="params", choices=("params", "macs", "step_time"), help="the cost")
    parser.add_argument("--target", type=float, help="cost of each; by default what the ConvNet costs at this size")
    parser.add_argument("--tol", type=float, default=0.02, help="largest mismatch")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.yaml", help="write a size file, such as configs/size/NAME.yaml"
    )


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    """train a grid of cells under one budget and rank them"""
    parser.set_defaults(run=commands.compare)
    parser.add_argument("grid", metavar="NAME|FILE.yaml", help="families, backbones, seeds, shares of the data, rates")
    parser.add_argument("keys", nargs="*", metavar="key=value", help="go to every run")
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), metavar="DIR", help="for all of its runs")
    parser.add_argument("--at-once", type=_count, default=1, metavar="N", help="cells that share a device")


ACTIONS = {
    "build RUNS": "a page and tables of the runs below a folder, in --out, RUNS/leaderboard by default",
    "verify RUN": "compute again what the run's files allow; names each number that differs",
    "reproduce RUN": "train it again in --out, ./reproduced by default; do the new scores lie in its intervals?",
    "resample RUN": "draw and score it again with each of --seeds or --steps; kept in RUN/scores",
    "diff A B": "tell what two runs do not share",
}


def _leaderboard_arguments(parser: argparse.ArgumentParser) -> None:
    """build it from result files alone; verify, reproduce or resample a row, tell two rows apart"""
    parser.set_defaults(run=commands.leaderboard)
    parser.epilog = "actions:\n" + "\n".join(f"  {action:<14} {does}" for action, does in ACTIONS.items())
    names = [action.split()[0] for action in ACTIONS]
    parser.add_argument("action", choices=names, help="what to do, as told below")
    parser.add_argument("paths", type=Path, nargs="+", metavar="RUN", help="a folder of runs, a run, or two")
    parser.add_argument("--out", type=Path, metavar="DIR", help="of build and reproduce")
    parser.add_argument("--seeds", type=_several(_whole), metavar="1,2", help="of resample: sampling seeds")
    parser.add_argument("--steps", type=_several(_count), metavar="5,10", help="of resample: solver steps")


def _study_arguments(parser: argparse.ArgumentParser) -> None:
    """answer a question of the articles with a figure, its numbers and a verdict"""
    parser.set_defaults(run=commands.study)
    parser.add_argument("name", metavar="NAME|list|all", help="a study, their list, or all that are missing")
    parser.add_argument("--runs", type=Path, nargs="+", metavar="RUN", help="trained runs to read; else small ones")
    parser.add_argument("--preset", default="cpu", choices=("smoke", "cpu", "gpu"), help="how large it is")
    parser.add_argument("--out", type=Path, default=Path("runs/studies"), metavar="DIR", help="for all of them")


def _data_arguments(parser: argparse.ArgumentParser) -> None:
    """list, show or check datasets"""
    parser.set_defaults(run=commands.data)
    parser.add_argument("action", choices=("list", "show", "check"), help="the sets, a grid of one, or all of one")
    parser.add_argument("name", nargs="?", metavar="NAME|folder:PATH", help="of show and check")
    parser.add_argument("keys", nargs="*", metavar="data.key=value", help="such as data.height=64 data.width=64")
    parser.add_argument("--split", default="train", choices=("train", "validation", "test"), help="of show")
    parser.add_argument("--out", type=Path, metavar="FILE.png", help="of show; NAME-SPLIT.png here by default")


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    """say what is here: devices, versions, datasets, extractors"""
    parser.set_defaults(run=commands.doctor)


PARSERS = {
    "train": _train_arguments,
    "sample": _sample_arguments,
    "score": _score_arguments,
    "nll": _nll_arguments,
    "match": _match_arguments,
    "compare": _compare_arguments,
    "leaderboard": _leaderboard_arguments,
    "study": _study_arguments,
    "data": _data_arguments,
    "doctor": _doctor_arguments,
}


def _whole(text: str) -> int:
    if not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2^63 - 1")
    return int(text)


def _several(kind: Callable[[str], int]) -> Callable[[str], list[int]]:
    return lambda text: [kind(part) for part in text.split(",")]


def _bound(text: str) -> str:
    if not re.fullmatch(r"elbo|iwae:[1-9][0-9]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither elbo nor iwae:K, such as iwae:64")
    return text


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)
