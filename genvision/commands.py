"""What each command does with its parsed arguments. Heavy imports wait inside: a typo answers at once."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from genvision.errors import ConfigError


def check_places(args: argparse.Namespace) -> None:
    """StorageError for an --out or --json that cannot be written: now, and not when all the work is done."""
    from genvision.storage import require_writable

    for place in (getattr(args, name, None) for name in ("out", "json")):
        if place:
            require_writable(place)


def train(args: argparse.Namespace) -> None:
    """Resolve the configuration, then train it, or print what would be trained."""
    from genvision.config import load_config
    from genvision.config.groups import GROUPS

    path = args.config
    if args.resume not in (None, "auto"):
        from genvision.run_folder import locate

        runs = load_config(None, [word for word in args.keys if word.startswith("run.dir=")]).run.dir
        found = locate(args.resume, runs)
        if path or any(word.split("=")[0] in ("recipe", *GROUPS) for word in args.keys):
            raise ConfigError(
                f"--resume {args.resume} takes the run's own configuration: leave out --config and groups"
            )
        path = found.config
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

    options = {name: getattr(args, name) for name in ("seed", "labels", "log_likelihood")} | _sampler_options(args)
    _say(sample_to(args.out, args.run_or_model, args.num_images, **options))


def score(args: argparse.Namespace) -> None:
    """Score a run, a folder of PNGs or an NPZ against a reference, or a run's reconstructions of its test split."""
    if args.reconstruct and args.reference:
        raise ConfigError("--reconstruct compares a vae with its own test split; leave out --reference")
    _check_torchvision()
    from genvision.score_command import score_run_reconstructions, score_source

    asked = {"num_images": args.num_images, "extractor": args.extractor, "weights": args.extractor_weights}
    extras = {"anchors": args.anchors, "memorisation": args.memorisation}
    if args.reconstruct:
        if given := [name for name, value in extras.items() if value]:
            raise ConfigError(f"--{given[0]} is about drawn images, not about --reconstruct; leave one of them out")
        report = score_run_reconstructions(args.source, **asked)
    else:
        options = extras | _sampler_options(args)
        report = score_source(args.source, reference=args.reference, seed=args.seed, **asked, **options)
    _print_metrics(report)
    _write_json(args.json, report)


def nll(args: argparse.Namespace) -> None:
    """Bits per dimension of a run on one split, with its kind."""
    _check_torchvision()
    from genvision.score_command import run_likelihood

    options = {"bound": args.bound, "steps": args.steps, "probes": args.probes}
    bits = run_likelihood(args.run_folder, args.split, args.num_images, **options)
    meaning = {"exact": "exact", "bound": "upper bound", "estimate": "estimate"}[bits["kind"]]
    meaning = ", ".join([meaning, *(f"{name}={bits[name]}" for name in options if name in bits)])
    _say(f"{bits['value']:.4f} bits/dim ({meaning}), {bits['num_images']} images of {bits['data']}:{bits['split']}")
    _write_json(args.json, bits)


def match(args: argparse.Namespace) -> None:
    """Find the widths at which the backbones cost the same."""
    _check_torchvision()
    from genvision.match_command import match_cells

    print(match_cells(args.keys, by=args.by, target=args.target, tolerance=args.tol, out=args.out))


def compare(args: argparse.Namespace) -> None:
    """Train a grid of cells under one budget."""
    _check_torchvision()
    from genvision.comparison import compare as run_grid

    print(run_grid(args.grid, args.out, args.keys, args.at_once))


def leaderboard(args: argparse.Namespace) -> None:
    """Build a leaderboard, verify, reproduce or resample a row, or tell two rows apart."""
    if len(args.paths) != 1 + (args.action == "diff"):
        raise ConfigError(f"genvision leaderboard {args.action} takes {'two runs' if args.action == 'diff' else 'one'}")
    if (args.seeds or args.steps) and args.action != "resample":
        raise ConfigError(f"--seeds and --steps are of genvision leaderboard resample, not of {args.action}")
    _check_torchvision()
    from genvision.evaluation import difference, leaderboard

    first = args.paths[0]
    if args.action == "build":
        _say(str(leaderboard.build(first, args.out or first / "leaderboard")))
    elif args.action == "diff":
        _say(difference.difference_text(*args.paths))
    elif args.action == "verify":
        from genvision.verification import verify

        checks = verify(first)
        _say("\n".join([*(f"{check.field} {check.found}" for check in checks), f"verified: all {len(checks)} fields"]))
    elif args.action == "resample":
        from genvision.resampling import resample

        _say(resample(first, args.seeds or (), args.steps or ()))
    else:
        from genvision.reproduction import reproduce

        _say(reproduce(first, args.out or Path("reproduced")))


def study(args: argparse.Namespace) -> None:
    """Perform a study, or all that are missing; or list them."""
    if args.runs and args.name in ("list", "all"):
        raise ConfigError(f"--runs is for one study, not for `genvision study {args.name}`; leave it out")
    _check_torchvision()
    from genvision.analysis import perform

    if args.name == "list":
        print(perform.list_text())
    elif args.name == "all":
        print(perform.perform_all(args.preset, args.out, command=args.typed))
    else:
        chosen = perform.study_named(args.name)
        print(perform.perform(chosen, args.preset, args.out, given=args.runs, command=args.typed))


def data(args: argparse.Namespace) -> None:
    """List the datasets, show one as a grid, or check it."""
    if args.action == "list" and args.name:
        raise ConfigError(f"genvision data list takes no set; leave out {args.name}, or write data show {args.name}")
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


def _sampler_options(args: argparse.Namespace) -> dict[str, Any]:
    """What `sample` and `score` were asked of the family's sampler; None is the run's own."""
    names = ("steps", "scheduler", "guidance", "guidance_interval", "guide", "temperature", "top_k", "top_p")
    return {name: getattr(args, name) for name in names}


def _say(text: str) -> None:
    """Print once, however many processes a launcher started."""
    if os.environ.get("RANK", "0") == "0":
        print(text)


def _print_metrics(report: dict) -> None:
    for metric in report["metrics"].values():
        spread = f" +- {metric['std']:.4g}" if metric.get("std") is not None else ""
        interval = "  [{:.4f}, {:.4f}]".format(*metric["interval"]) if metric.get("interval") else ""
        beside = f"  (real images {metric['real']:.4f})" if metric.get("real") is not None else ""
        flag = "  (rank-deficient: no more images than features)" if metric.get("rank_deficient") else ""
        _say(f"{metric['name']:<28} {metric['value']:.4f}{spread}{interval}{beside}{flag}")
    for anchor in report.get("anchors") or []:
        _say(f"{anchor['name']:<28} {anchor['value']:.4f}")
    protocol = report["protocol"]
    real = protocol["reference"]
    _say(
        f"n {protocol['num_images']} against {real['num_images']} of {real['name']}:{real['split']}, "
        f"{protocol['extractor']['name']}, protocol {report['protocol_hash']}"
    )


def _write_json(path: Path | None, value: dict) -> None:
    if path and os.environ.get("RANK", "0") == "0":
        from genvision.storage import write_text

        write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def _check_torchvision() -> None:
    from genvision.doctor import check_torchvision

    check_torchvision()
