"""One run from configuration to leaderboard row: train, watch, export, sample, score, record."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from genvision import data, run_folder
from genvision.build import build
from genvision.config import config_hash
from genvision.config.schema import Config, SampleConfig, ScoreConfig
from genvision.data import Batches
from genvision.errors import ConfigError, NonFiniteError
from genvision.evaluation.extractors import require_extractor
from genvision.evaluation.leaderboard import build as build_leaderboard
from genvision.evaluation.likelihood import bits_per_dim
from genvision.evaluation.record import write_record
from genvision.families.base import Family
from genvision.initialise import initialise
from genvision.outcome import Outcome, make_record, summary
from genvision.pipelines import ImageGenerationPipeline
from genvision.run_folder import RunFolder
from genvision.sampling import write_grid
from genvision.sampling.write import grid_columns
from genvision.scoring import Drawn, Scored, draw, reference_set, sampling_protocol, sampling_settings, score_images
from genvision.spec import Batch, Draw
from genvision.training import checkpoint
from genvision.training.launch import device_name, header, make_accelerator
from genvision.training.loop import train
from genvision.training.metrics import MetricsLog
from genvision.training.progress import Progress
from genvision.training.report import StepReport
from genvision.training.state import TrainState, make_state

VALIDATION_SEED = 0  # validation draws the same noise at every step and in every run


def run(config: Config, *, resume: str | None = None, command: str = "") -> RunFolder:
    """Everything `genvision train` does, in one process or in each of many. Returns the run's folder.

    resume   None for a new run; "auto" or a path as on the command line
    command  what the user typed, for the record
    """
    accelerator = make_accelerator(config)
    if config.score.num_images:
        require_extractor(config.score.extractor, config.score.extractor_weights)
    folder = _folder(config, resume, accelerator)
    if folder.state() == "finished":
        accelerator.print(f"{folder.path} is finished already; nothing to do")
        return folder
    if folder.config.is_file():
        config = _recorded(config, folder)
    experiment = Experiment(config, folder, accelerator, command)
    try:
        experiment.train(resume)
        experiment.finish()
    except BaseException as error:
        experiment.record_failure(error)
        raise
    return folder


class Experiment:
    """A run in one process of possibly many; only the main one writes."""

    def __init__(self, config: Config, folder: RunFolder, accelerator: Accelerator, command: str) -> None:
        self.config, self.folder, self.accelerator, self.command = config, folder, accelerator, command
        self.main = accelerator.is_main_process
        self.train_set = data.load(config.data, "train")
        self.state = self._make_state()
        self.settings = sampling_settings(config, self.state.family, accelerator.mixed_precision)
        if self.main:
            folder.write_config(config)
            self._status("running")

    @property
    def family(self) -> Family:
        """The averaged weights: what is validated, drawn, exported and scored."""
        return self.state.ema.module

    def train(self, resume: str | None) -> None:
        """Train to the end of the budget, from a checkpoint where there is one, and watch."""
        found = checkpoint.resolve(resume, self.folder.checkpoints) if resume else None
        if found:
            checkpoint.load(self.state, found, resume_hash(self.config))
        self._say(header(self.accelerator))
        self._say(f"{self.folder.path}: {'resuming at' if found else 'starting at'} step {self.state.step}")
        with self._metrics_log() as log, Progress(self.state.total_steps, self.state.step, enabled=self.main) as bar:
            for report in train(self.state, self._batches(), self.config, self.accelerator):
                bar.update(report, self.state.total_steps)
                self._freeze_budget()
                self._watch(report, log)

    def _watch(self, report: StepReport, log: MetricsLog | None) -> None:
        """What the configuration asks for after this step."""
        config, step = self.config, report.step
        last = step == self.state.total_steps

        def due(every: int) -> bool:
            return every > 0 and step % every == 0

        numbers: dict[str, float] = {}
        if due(config.train.validate_every_steps) or last:
            numbers["validation_loss"] = self.validate()
        if due(config.score.every_steps) and not last:
            numbers |= {key: metric["value"] for key, metric in self.score()[1].metrics.items()}
        if log and (due(config.log.every_steps) or numbers or last):
            log.write(report.record() | numbers)
        if due(config.log.grid_every_steps) and not last:
            self.draw_grid(f"step_{step:07d}.png")
        if due(config.train.save_every_steps) or last:
            keep = config.train.keep_checkpoints
            checkpoint.save(self.state, self.folder.checkpoints, resume_hash(config), keep)
            self._status("running")

    def finish(self) -> None:
        """Export, draw, score, record, rebuild the leaderboard, and say where everything is."""
        config, outcome = self.config, Outcome()
        if self.main:
            ImageGenerationPipeline.from_family(self.family, self.settings).save_pretrained(self.folder.model)
        outcome.grid = self.draw_grid("final.png")
        if config.score.num_images:
            drawn, outcome.scored = self.score()
            outcome.sample_seconds, outcome.sampled_images = drawn.seconds, len(drawn.images)
        if self.main:
            outcome.bits_per_dim = bits_per_dim(self.family, data.load(config.data, "test"))
            write_record(self._record("finished", outcome), self.folder.result)
            self._status("finished")
            page = build_leaderboard(Path(config.run.dir), Path(config.run.dir) / "leaderboard")
            self._say(summary(self.folder, config, outcome, page))
        self.accelerator.wait_for_everyone()

    def validate(self) -> float:
        """Mean loss of the averaged weights on the held-out images, under the same noise every time."""
        held_out, device = data.load(self.config.data, "validation"), self.accelerator.device
        n, losses = min(self.config.train.validation_images, len(held_out)), []
        with torch.no_grad(), self.accelerator.autocast():
            for slots in torch.arange(n).split(self.config.sample.chunk_size):
                labels = None if held_out.labels is None else held_out.labels[slots].to(device)
                batch = Batch(held_out.images[slots].to(device), labels)
                losses.append(self.family.loss(batch, Draw(VALIDATION_SEED, 0, slots.to(device)))["loss"])
        return torch.cat(losses).mean().item()

    def draw_grid(self, name: str) -> str:
        """Draw log.grid_images images into samples/NAME. Returns its path below the run folder."""
        images = draw(self.family, self.config.log.grid_images, self.config.sample.seed, self.settings).images
        if self.main:
            write_grid(images, self.folder.samples / name, columns=grid_columns(self.family.spec.classes))
        return f"{self.folder.samples.name}/{name}"

    def score(self) -> tuple[Drawn, Scored]:
        """Draw score.num_images images on all processes and score them on each."""
        config = self.config
        drawn = draw(self.family, config.score.num_images, config.sample.seed, self.settings)
        sampling = sampling_protocol(
            self.settings, self.family, seed=config.sample.seed, ema=config.ema.decay, labels="k mod classes"
        )
        real = reference_set(config.score.reference, config.data, self.family.spec.shape)
        scored = score_images(
            drawn.images,
            real,
            extractor=config.score.extractor,
            weights=config.score.extractor_weights,
            device=self.accelerator.device,
            sampling=sampling,
        )
        return drawn, scored

    def record_failure(self, error: BaseException) -> None:
        """Keep a run that ended early on the leaderboard, with its reason; an interrupted one can be resumed."""
        if not self.main:
            return
        interrupted = isinstance(error, KeyboardInterrupt)
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        state = "interrupted" if interrupted else "diverged" if isinstance(error, NonFiniteError) else "failed"
        self._status(state, reason=reason)
        if not interrupted:
            write_record(self._record(state, Outcome(), reason=reason), self.folder.result)

    def _make_state(self) -> TrainState:
        config = self.config
        family = build(config, self.train_set.spec)
        if config.train.init_from:
            self._say(f"{config.train.init_from}: {initialise(family, config.train.init_from)}")
        return make_state(family, config, self.accelerator)

    def _metrics_log(self) -> AbstractContextManager[MetricsLog | None]:
        if not self.main:
            return nullcontext()
        return MetricsLog(self.folder.metrics, self.config.log.tensorboard, self.state.step)

    def _batches(self) -> Batches:
        config = self.config
        return Batches(
            self.train_set,
            batch_size=config.train.batch_size,
            seed=config.train.seed,
            flip=config.data.flip,
            crop_padding=config.data.crop_padding,
            device=self.accelerator.device,
        )

    def _freeze_budget(self) -> None:
        """Once a budget in minutes has been measured, put it into config.yaml as steps."""
        if self.config.train.minutes is None or self.state.total_steps is None:
            return
        steps = dataclasses.replace(self.config.train, minutes=None, steps=self.state.total_steps)
        self.config = dataclasses.replace(self.config, train=steps)
        if self.main:
            self.folder.write_config(self.config)

    def _record(self, status: str, outcome: Outcome, reason: str | None = None) -> dict:
        return make_record(
            self.config,
            self.state,
            outcome,
            run=self.folder.name,
            status=status,
            reason=reason,
            dataset_sha256=self.train_set.fingerprint,
            device=device_name(self.accelerator),
            processes=self.accelerator.num_processes,
            precision=self.accelerator.mixed_precision,
            command=self.command,
        )

    def _status(self, state: str, **details: object) -> None:
        self.folder.write_status(state, step=self.state.step, total_steps=self.state.total_steps, **details)

    def _say(self, text: str) -> None:
        self.accelerator.print(text)


def resume_hash(config: Config) -> str:
    """What a checkpoint must share with the run that loads it: everything but the budget, the sampling, the score."""
    train = dataclasses.replace(config.train, steps=None, images=None, minutes=None, init_from=None)
    return config_hash(dataclasses.replace(config, train=train, sample=SampleConfig(), score=ScoreConfig()))


def _folder(config: Config, resume: str | None, accelerator: Accelerator) -> RunFolder:
    """The folder to work in, made by the main process and told to the others."""
    if resume and resume != "auto":
        return run_folder.locate(resume)
    if resume:
        if not config.run.name:
            raise ConfigError("--resume auto looks for the run of one name: set run.name")
        path = Path(config.run.dir) / config.run.name
        if path.is_dir():
            return RunFolder(path)
    made = [run_folder.create(config) if accelerator.is_main_process else None]
    return broadcast_object_list(made)[0]


def _recorded(config: Config, folder: RunFolder) -> Config:
    """The asked configuration with the budget the run froze; it must be the recorded one in all that trains."""
    recorded = folder.read_config()
    if resume_hash(recorded) != resume_hash(config):
        raise ConfigError(f"{folder.config} holds another configuration than was asked for; set another run.name")
    asked = config.train
    budget = asked if asked.minutes is None else recorded.train
    train = dataclasses.replace(asked, steps=budget.steps, images=budget.images, minutes=budget.minutes)
    return dataclasses.replace(config, train=train)
