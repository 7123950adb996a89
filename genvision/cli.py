"""The command line: arguments, one-line errors and exit codes only. Heavy imports wait inside the commands."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from genvision.errors import ConfigError, GenvisionError

GROUP_NAMES = ("family", "backbone", "data", "size", "recipe")
EXIT_OUT_OF_MEMORY = 7
EXIT_INTERRUPTED = 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the process's exit code.

    0 done, 2 config or usage, 3 data, 4 run or checkpoint, 5 non-finite, 6 disk, 7 out of memory, 143 interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] not in PARSERS:
        return _usage(arguments)
    parser = _Parser(prog=f"genvision {arguments[0]}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    PARSERS[arguments[0]](parser)
    parsed = parser.parse_intermixed_args(arguments[1:])  # options may stand between key=value words
    parsed.typed = shlex.join(["genvision", *arguments])
    try:
        parsed.run(parsed)
        return 0
    except GenvisionError as error:
        return _fail(str(error), error.exit_code, parsed.debug)
    except KeyboardInterrupt:
        remedy = "; go on with --resume" if arguments[0] == "train" else ""
        return _fail(f"interrupted{remedy}", EXIT_INTERRUPTED, parsed.debug)
    except (MemoryError, RuntimeError) as error:
        on_accelerator, on_cpu = type(error).__name__ == "OutOfMemoryError", "DefaultCPUAllocator" in str(error)
        if not (isinstance(error, MemoryError) or on_accelerator or on_cpu):
            raise
        remedy = "lower train.micro_batch_size (the batch stays as it is) or sample.chunk_size"
        return _fail(f"out of memory: {remedy}", EXIT_OUT_OF_MEMORY, parsed.debug)
    except BrokenPipeError:  # `genvision ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _fail(message: str, code: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    print(f"genvision: error: {' '.join(message.split())}", file=sys.stderr)
    return code


def train(args: argparse.Namespace) -> None:
    """Resolve the configuration, then train it, or print what would be trained."""
    from genvision.config import load_config

    path = args.config
    if args.resume not in (None, "auto"):
        from genvision.run_folder import locate

        if path or any(word.split("=")[0] in GROUP_NAMES for word in args.keys):
            raise ConfigError(
                f"--resume {args.resume} takes the run's own configuration: leave out --config and groups"
            )
        path = locate(args.resume).config
    config = load_config(path, args.keys)
    _check_torchvision()
    if args.dry_run:
        from genvision.dry_run import describe

        _say(describe(config))
        return
    from genvision.experiment import run

    run(config, resume=args.resume, command=args.typed)


def sample(args: argparse.Namespace) -> None:
    """Draw images from a run's EMA weights into a folder of PNGs or an NPZ."""
    _check_torchvision()
    from genvision.sample_command import sample_to

    options = {"steps": args.steps, "scheduler": args.scheduler, "guidance": args.guidance}
    _say(sample_to(args.out, args.run_or_model, args.num_images, seed=args.seed, labels=args.labels, **options))


def score(args: argparse.Namespace) -> None:
    """Score a run, a folder of PNGs or an NPZ against a reference."""
    _check_torchvision()
    from genvision.score_command import score_source

    report = score_source(
        args.source,
        reference=args.reference,
        num_images=args.num_images,
        extractor=args.extractor,
        weights=args.extractor_weights,
        seed=args.seed,
    )
    _print_metrics(report)
    _write_json(args.json, report)


def nll(args: argparse.Namespace) -> None:
    """Bits per dimension of a run on one split, with its kind."""
    _check_torchvision()
    from genvision.score_command import run_likelihood

    bits = run_likelihood(args.run_folder, args.split, args.num_images)
    meaning = {"exact": "exact", "bound": "upper bound", "estimate": "estimate"}[bits["kind"]]
    _say(f"{bits['value']:.4f} bits/dim ({meaning}), {bits['num_images']} images of {bits['data']}:{bits['split']}")
    _write_json(args.json, bits)


def leaderboard(args: argparse.Namespace) -> None:
    """Rebuild the leaderboard from the result files below a folder."""
    from genvision.evaluation.leaderboard import build

    print(build(args.runs, args.out or args.runs / "leaderboard"))


def data_command(args: argparse.Namespace) -> None:
    """List the datasets, show one as a grid, or check it."""
    _check_torchvision()
    from genvision.config import load_config
    from genvision.data import inspect

    if args.action == "list":
        print(inspect.list_text())
        return
    if not args.name:
        raise ConfigError(f"genvision data {args.action} needs a set: one of `genvision data list`, or folder:PATH")
    config = load_config(None, [f"data={args.name}", *args.keys]).data
    if args.action == "check":
        print(inspect.check(config))
        return
    out = args.out or Path(f"{config.name}-{args.split}.png")
    print(inspect.show(config, args.split, out))


def doctor(args: argparse.Namespace) -> None:
    """Say what is here: devices, versions, datasets, extractors."""
    from genvision.doctor import doctor_text

    print(doctor_text())


def _say(text: str) -> None:
    """Print once, however many processes a launcher started."""
    if os.environ.get("RANK", "0") == "0":
        print(text)


def _print_metrics(report: dict) -> None:
    for metric in report["metrics"].values():
        spread = f" +- {metric['std']:.4g}" if metric.get("std") is not None else ""
        flag = "  (rank deficient: fewer images than features)" if metric.get("rank_deficient") else ""
        _say(f"{metric['name']:<28} {metric['value']:.4f}{spread}{flag}")
    protocol = report["protocol"]
    real = protocol["reference"]
    _say(
        f"n {protocol['num_images']} against {real['num_images']} of {real['name']}:{real['split']}, "
        f"{protocol['extractor']['name']}, protocol {report['protocol_hash']}"
    )


def _write_json(path: Path | None, value: dict) -> None:
    if path:
        from genvision.storage import write_text

        write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def _check_torchvision() -> None:
    from genvision.doctor import check_torchvision

    check_torchvision()


class _Parser(argparse.ArgumentParser):
    """Usage errors in the project's own form: one line, exit code 2."""

    def error(self, message: str) -> None:
        print(f"genvision: error: {message}; see {self.prog} --help", file=sys.stderr)
        raise SystemExit(ConfigError.exit_code)


def _usage(arguments: list[str]) -> int:
    """The list of commands; exit code 0 if it was asked for."""
    lines = [f"  {name:<12} {fill.__doc__}" for name, fill in PARSERS.items()]
    text = "usage: genvision COMMAND ...; genvision COMMAND --help\n" + "\n".join(lines)
    if arguments[:1] in (["--help"], ["-h"]):
        print(text)
        return 0
    if arguments[:1] == ["--version"]:
        from genvision import __version__

        print(f"genvision {__version__}")
        return 0
    wrong = f"no command {arguments[0]!r}" if arguments else "no command given"
    return _fail(f"{wrong}; commands are {', '.join(PARSERS)}", ConfigError.exit_code, debug=False)


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    """train a generator, then sample, score and record it"""
    parser.set_defaults(run=train)
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
    parser.set_defaults(run=sample)
    parser.add_argument("run_or_model", metavar="RUN", help="run folder, exported folder, or Hub id")
    parser.add_argument("--num-images", type=_count, default=64)
    parser.add_argument("--out", type=Path, required=True, help="a new folder for PNGs, or FILE.npz")
    parser.add_argument("--seed", type=_seed, default=0)
    parser.add_argument("--labels", help="one label, or several separated by commas, repeated in turn")
    parser.add_argument("--scheduler", help="of a diffusion sampler; the run's own by default, like the next two")
    parser.add_argument("--steps", type=_count)
    parser.add_argument("--guidance", type=float)


def _score_arguments(parser: argparse.ArgumentParser) -> None:
    """score a run, a folder of PNGs or an NPZ"""
    parser.set_defaults(run=score)
    parser.add_argument("source", type=Path, metavar="RUN|FOLDER|FILE.npz")
    parser.add_argument("--reference", required=True, metavar="NAME[:split]|folder:PATH")
    parser.add_argument("--num-images", type=_count, help="how many must be there; a run draws so many")
    parser.add_argument("--extractor", default="inception", help="inception (FID) or efficientnet-lite0")
    parser.add_argument("--extractor-weights", metavar="FILE")
    parser.add_argument("--seed", type=_seed, help="of the drawn images; a run's own by default")
    parser.add_argument("--json", type=Path, metavar="FILE")


def _nll_arguments(parser: argparse.ArgumentParser) -> None:
    """bits per dimension of a run, with their kind"""
    parser.set_defaults(run=nll)
    parser.add_argument("run_folder", type=Path, metavar="RUN")
    parser.add_argument("--split", default="test", choices=("train", "validation", "test"))
    parser.add_argument("--num-images", type=_count, help="the first so many; all by default")
    parser.add_argument("--json", type=Path, metavar="FILE")


def _leaderboard_arguments(parser: argparse.ArgumentParser) -> None:
    """rebuild the leaderboard from result files alone"""
    parser.set_defaults(run=leaderboard)
    parser.add_argument("action", choices=("build",))
    parser.add_argument("runs", type=Path, metavar="RUNS")
    parser.add_argument("--out", type=Path, metavar="DIR", help="RUNS/leaderboard by default")


def _data_arguments(parser: argparse.ArgumentParser) -> None:
    """list, show or check datasets"""
    parser.set_defaults(run=data_command)
    parser.add_argument("action", choices=("list", "show", "check"))
    parser.add_argument("name", nargs="?", metavar="NAME|folder:PATH")
    parser.add_argument("keys", nargs="*", metavar="data.key=value")
    parser.add_argument("--split", default="train", choices=("train", "validation", "test"))
    parser.add_argument("--out", type=Path, metavar="FILE.png")


def _doctor_arguments(parser: argparse.ArgumentParser) -> None:
    """say what is here: devices, versions, datasets, extractors"""
    parser.set_defaults(run=doctor)


PARSERS = {
    "train": _train_arguments,
    "sample": _sample_arguments,
    "score": _score_arguments,
    "nll": _nll_arguments,
    "leaderboard": _leaderboard_arguments,
    "data": _data_arguments,
    "doctor": _doctor_arguments,
}


def _seed(text: str) -> int:
    if not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2^63 - 1")
    return int(text)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
