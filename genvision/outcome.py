"""What a run ended with: its leaderboard record and the lines it prints."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from genvision import __version__
from genvision.build import cost
from genvision.config import config_hash
from genvision.config.schema import Config
from genvision.data.load import PLACES
from genvision.errors import GenvisionError, NonFiniteError, SignalError
from genvision.evaluation.record import Record, build_record
from genvision.families.base import Family
from genvision.fingerprint import weights_sha256
from genvision.run_folder import RunFolder
from genvision.scoring import Scored
from genvision.training.state import TrainState

HEADLINE = ("frechet", "kid", "precision", "recall", "inception_score", "psnr")  # the record and the page have the rest
MAX_NAMES = 1000  # of files that were left out
PEER = "process"  # how the reason begins where one of several processes failed
PACKAGES = ("torch", "torchvision", "diffusers", "accelerate", "torch-fidelity", "timm", "einops")


@dataclass
class Outcome:
    """What was drawn and measured after training; nothing of it where training failed."""

    grid: str | None = None
    scored: Scored | None = None
    codec: Scored | None = None  # the reconstructions of the codec behind a generator of codes
    sample_seconds: float | None = None
    sampled_images: int | None = None
    bits_per_dim: dict[str, Any] | None = None
    validation: dict[str, float] = field(default_factory=dict)


def ending(error: BaseException, known: str | None = None, process: int = 0) -> tuple[str, str]:
    """What status.json says of a run that ended by this error: its state and the reason, one line.

    known    the reason that stands there already: where another process ended first, it is the cause of this error
    process  the index of this one, which is named where it alone may have failed: an error of ours is everybody's
    """
    if known and known.startswith(PEER):
        return "failed", known
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if process and not isinstance(error, GenvisionError | KeyboardInterrupt):
        return "failed", f"{PEER} {process}: {reason}"
    if isinstance(error, SignalError) and error.signal != "SIGINT":
        return "preempted", reason
    if isinstance(error, SignalError | KeyboardInterrupt):
        return "interrupted", reason
    return "diverged" if isinstance(error, NonFiniteError) else "failed", reason


def make_record(
    config: Config, state: TrainState, outcome: Outcome, *, left_out: tuple[str, ...] = (), **facts: Any
) -> Record:
    """The leaderboard record of a run: configuration, costs, provenance, scores.

    left_out  files of the training images that could not be used
    facts     run, status, reason, dataset_sha256, device, processes, precision, command
    """
    decided, scored = decided_by(config, state.family), outcome.scored
    told = [*notes(state.family, decided["network_evaluations_per_image"], outcome), *losses(state, len(left_out))]
    return build_record(
        **decided,
        config_hash=config_hash(config),
        cell_hash=config_hash(config, seedless=True),
        git=git_state(Path(__file__).parent),
        weights_sha256=weights_sha256(state.ema.module) if facts["status"] == "finished" else None,
        packages={"genvision": __version__} | {name: version(name) for name in PACKAGES},
        threads=torch.get_num_threads(),
        images_seen=state.images_seen,
        steps=state.step,
        skipped_steps=state.skipped_steps or None,
        left_out=list(left_out[:MAX_NAMES]) or None,
        train_seconds=state.seconds,
        sample_seconds=outcome.sample_seconds,
        sampled_images=outcome.sampled_images,
        protocol=scored.protocol if scored else None,
        metrics=scored.metrics if scored else None,
        anchors=scored.anchors if scored else None,
        bits_per_dim=outcome.bits_per_dim,
        validation=outcome.validation or None,
        grid=outcome.grid,
        note="; ".join(told) or None if facts["status"] == "finished" else None,
        **facts,
    )


def decided_by(config: Config, family: Family) -> dict[str, Any]:
    """The fields of a record that the configuration decides, before anything is trained."""
    costs = cost(config, family.codec.spec)
    backbones = {f"{role}_backbone": getattr(config, role).backbone for role in family.roles}
    mixed = backbones if len(set(backbones.values())) > 1 else {}
    own = {name: getattr(config.sample, name) for name in family.sample_options}
    return {
        "family": config.family.name,
        "backbone": config.backbone,
        **mixed,
        "size": config.size,
        "classes": family.spec.classes,
        "data": config.data.name,
        "seed": config.train.seed,
        "learning_rate": config.train.learning_rate,
        "data_fraction": config.data.fraction,
        "parameters": costs.parameters,
        "macs_per_image": costs.macs_per_image,
        "network_evaluations_per_image": family.network_evaluations(**own),
    }


def notes(family: Family, evaluations: int, outcome: Outcome) -> Iterator[str]:
    """What a reader of a finished run's record must know: why it has no score, what its samples are, its codec's."""
    if not outcome.scored:
        passes = "one network evaluation" if evaluations == 1 else f"{evaluations} network evaluations"
        yield f"not scored (score.num_images=0); an image takes {passes}"
    if family.caveat:
        yield family.caveat
    if outcome.codec:
        yield f"reconstructions of its codec: {metrics_line(outcome.codec)}"


def losses(state: TrainState, left_out: int) -> Iterator[str]:
    """What training went without."""
    if left_out:
        yield f"{left_out} files could not be used and were left out"
    if state.skipped_steps:
        yield f"{state.skipped_steps} of {state.step} steps were not finite and were passed over"


def metrics_line(scored: Scored) -> str:
    """What a score says first, in one line."""
    told = [scored.metrics[key] for key in HEADLINE if key in scored.metrics]
    return "  ".join(f"{metric['name']} {metric['value']:.4g}" for metric in told)


def git_state(folder: Path) -> dict[str, Any] | None:
    """{"commit", "dirty"} of the checkout that the code runs from; None outside of one."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # fails where this file is not part of the checkout
        changes = git("status", "--porcelain", "--untracked-files=no")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changes)}
    except (OSError, subprocess.SubprocessError):
        return None


def summary(folder: RunFolder, config: Config, family: Family, outcome: Outcome, page: Path) -> str:
    """The last lines of a run: its score, what its family says of itself, and where everything is."""
    lines = []
    if outcome.scored:
        lines.append(metrics_line(outcome.scored))
    if outcome.codec:
        lines.append(f"reconstructions of its codec: {metrics_line(outcome.codec)}")
    if bits := outcome.bits_per_dim:
        lines.append(f"bits/dim {bits['value']:.4f} ({bits['kind']}, {bits['num_images']} {bits['split']} images)")
    if told := [f"{name} {outcome.validation[name]:.4g}" for name in family.headline if name in outcome.validation]:
        lines.append("  ".join(told))
    lines += [f"note: {family.caveat}"] if family.caveat else []
    lines += [
        f"samples      {folder.path / (outcome.grid or '')}",
        f"model        {folder.model}  (EMA weights)",
        f"record       {folder.result}",
        f"leaderboard  {page}",
    ]
    # the test split of a folder or stream has no name that --reference could take
    reference = config.score.reference or (None if config.data.name in PLACES else f"{config.data.name}:test")
    if outcome.scored and reference and config.score.extractor != "inception":
        lines.append(
            f"FID of this run: genvision score {shlex.quote(str(folder.path))} --reference {shlex.quote(reference)} "
            f"--num-images {config.score.num_images} --extractor inception"
        )
    return "\n".join(lines)
