"""One run from configuration to leaderboard row: train, watch, export, sample, score, record."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from pathlib import Path

from accelerate import Accelerator

from genvision import data, run_folder
from genvision.build import build
from genvision.codecs import fit_codec
from genvision.config.schema import Config
from genvision.data import ImageSet, StreamBatches
from genvision.errors import SignalError, StorageError
from genvision.evaluation.extractors import require_extractor
from genvision.evaluation.leaderboard import build as build_leaderboard
from genvision.evaluation.likelihood import QUICK, bits_per_dim
from genvision.evaluation.record import write_record
from genvision.families.base import Family
from genvision.initialise import initialise
from genvision.interruption import Signals, follow_launcher
from genvision.outcome import PEER, Outcome, ending, make_record, summary
from genvision.pipelines import ImageGenerationPipeline
from genvision.run_folder import RunFolder, agreed, resume_hash
from genvision.run_samples import RunSamples
from genvision.scoring import Training, check_training, reference_set, sampling_settings
from genvision.storage import write_text
from genvision.training import checkpoint
from genvision.training.budget import frozen
from genvision.training.launch import anywhere, device_name, header, make_accelerator, same_everywhere
from genvision.training.loop import local_windows, train
from genvision.training.metrics import MetricsLog, require_tensorboard
from genvision.training.peers import Peers
from genvision.training.progress import Progress
from genvision.training.report import StepReport
from genvision.training.state import TrainState, make_state
from genvision.validation import validate


def run(config: Config, *, resume: str | None = None, command: str = "") -> RunFolder:
    """Everything `genvision train` does, in one process or in each of many. Returns the run's folder.

    resume   None for a new run; "auto" or a path as on the command line
    command  what the user typed, for the record
    """
    follow_launcher()
    accelerator, peers = make_accelerator(config), Peers(config.run.timeout_minutes)
    folder, config = agreed(lambda: run_folder.resumed(config, resume))
    if folder and folder.state() == "finished":
        accelerator.print(f"{folder.path} is finished already; nothing to do")
        return folder
    with ExitStack() as stack:
        if folder:
            stack.enter_context(run_folder.held(folder))
        experiment = Experiment(config, accelerator, command, folder, resume)
        if not folder:
            stack.enter_context(run_folder.held(experiment.folder))
        try:
            with Signals().caught() as signals:
                experiment.train(signals, peers)
                experiment.finish()
        except BaseException as error:
            explained = peers.explained(error)
            with suppress(StorageError):  # a disk that is full has no room for the reason either: it is told on stderr
                experiment.record_failure(explained)
            if isinstance(explained, SignalError | KeyboardInterrupt):
                explained.add_note(f"go on with --resume {experiment.folder.path}")
            raise explained from error.__cause__
    return experiment.folder


class Experiment:
    """A run in one process of possibly many; only the main one writes.

    folder  the one to go on with; None for a new run
    Whatever a user can get wrong is found before a folder is made or changed: extractor, data, networks, sampler,
    checkpoints. Raises the GenvisionError of each.
    """

    def __init__(
        self, config: Config, accelerator: Accelerator, command: str, folder: RunFolder | None, resume: str | None
    ) -> None:
        self.config, self.accelerator, self.command = config, accelerator, command
        self.main = accelerator.is_main_process
        self.train_set = same_everywhere(data.load(config.data, "train"))
        self.reference: ImageSet | None = None
        if config.score.num_images:
            require_extractor(config.score.extractor, config.score.extractor_weights)
            n, shape = config.score.num_images, self.train_set.spec.shape
            self.reference = reference_set(config.score.reference, config.data, shape, n)
            check_training(self._training(), self.reference, n)
        self.held_out = data.load(config.data, "validation") if config.data.validation_fraction else None
        owner = {"config_hash": resume_hash(config), "dataset": self.train_set.fingerprint}
        found = checkpoint.resolve(resume, folder.checkpoints, owner) if folder and resume else None
        self.codec = fit_codec(config, self.train_set, folder)
        self.state = self._make_state(found)
        # a likelihood that takes long is left to `genvision nll`
        self.test_set = data.load(config.data, "test") if self.family.likelihood in QUICK else None
        self.settings = sampling_settings(config, self.family, accelerator.mixed_precision)
        drawn = {"batch_size": config.train.batch_size, "seed": config.train.seed, "device": accelerator.device}
        self.batches = data.make_batches(config.data, self.train_set, **drawn)
        local_windows(config.train, accelerator)
        if config.log.tensorboard:
            require_tensorboard()
        self.family.network_evaluations(**{name: self.settings[name] for name in self.family.sample_options})
        self.folder = folder or agreed(lambda: run_folder.create(config))
        if isinstance(self.batches, StreamBatches):
            self.batches.notes = self.folder.path / "stream"
        if self.main:
            self.folder.write_config(config)
            if self.codec:
                write_text(self.folder.codec, json.dumps(self.codec.state) + "\n")
            self._status("running")
        self.samples = RunSamples(config, self.family, self.settings, self.folder.samples, self.reference, self.main)

    @property
    def family(self) -> Family:
        """The averaged weights: what is validated, drawn, exported and scored."""
        return self.state.ema.module

    def train(self, signals: Signals, peers: Peers) -> None:
        """Train to the end of the budget, and watch. A signal ends it between two steps, with a checkpoint."""
        self.accelerator.print(header(self.accelerator))
        verb = "resuming" if self.state.step else "starting"
        self.accelerator.print(f"{self.folder.path}: {verb} at step {self.state.step}")
        bar = Progress(self.state.total_steps, self.state.step, enabled=self.main)
        with self._metrics_log() as log, bar, signals.deferred():
            try:
                for report in peers.watched(train(self.state, self.batches, self.config, self.accelerator)):
                    bar.update(report, self.state.total_steps)
                    self._freeze_budget()
                    ends = anywhere(signals.received is not None, self.accelerator)
                    with signals.at_once(alone=self.accelerator.num_processes == 1):
                        self._watch(report, log, ends)
                    if ends:
                        raise SignalError(signals.received or "a signal to another process")
            except SignalError:
                self._save()  # a second signal is still deferred
                raise

    def _watch(self, report: StepReport, log: MetricsLog | None, ends: bool) -> None:
        """What the configuration asks for after this step; only what is quick where the run `ends` here."""
        config, step, last = self.config, report.step, report.step == self.state.total_steps

        def due(every: int, quick: bool = False) -> bool:
            return every > 0 and step % every == 0 and (quick or not ends)

        numbers: dict[str, float] = {}
        if self.held_out and (due(config.train.validate_every_steps) or last):
            numbers |= self.validate(self.held_out)
        if self.reference and due(config.score.every_steps) and not last:
            metrics = self.samples.score(self.samples.draw(config.score.num_images).images).metrics
            numbers |= {key: metric["value"] for key, metric in metrics.items()}
        if log and (due(config.log.every_steps, quick=True) or numbers or last):
            log.write(report.record() | numbers)
        if due(config.log.grid_every_steps) and not last:
            self.samples.write_grid(self.samples.draw(config.log.grid_images).images, f"step_{step:07d}.png")
        if due(config.train.save_every_steps) or last:  # one that ends is saved by whoever ends it
            self._save()
            self._status("running")

    def _save(self) -> None:
        keep = self.config.train.keep_checkpoints
        checkpoint.save(self.state, self.folder.checkpoints, resume_hash(self.config), keep)

    def finish(self) -> None:
        """Export, draw, score, record, rebuild the leaderboard, and say where everything is."""
        config, outcome = self.config, Outcome()
        if self.main:
            ImageGenerationPipeline.from_family(self.family, self.settings).export(self.folder.model)
        n = max(config.sample.num_images, config.score.num_images)
        drawn = self.samples.draw(n)
        outcome.sample_seconds, outcome.sampled_images = drawn.seconds, n
        outcome.grid = self.samples.write_all(drawn.images[: config.sample.num_images])
        if config.score.num_images:
            outcome.scored = self.samples.score(drawn.images[: config.score.num_images], self._training())
            outcome.codec = self.samples.score_codec() if self.codec else None
        # by every process alike: one that waited for another could run into the time-out of its collective call
        outcome.bits_per_dim = bits_per_dim(self.family, self.test_set, progress=self.main) if self.test_set else None
        outcome.validation = self.validate(self.held_out) if self.held_out else {}
        if self.main:
            write_record(self._record("finished", outcome), self.folder.result)
            runs = self.folder.path.parent  # not run.dir: a run may be gone on with from another working folder
            page = build_leaderboard(runs, runs / "leaderboard")
            self._status("finished")  # last: a run that is killed before does all of this again
            self.accelerator.print(summary(self.folder, config, self.family, outcome, page))
        self.accelerator.wait_for_everyone()

    def validate(self, held_out: ImageSet) -> dict[str, float]:
        """What the averaged weights make of the held-out images."""
        limit, batch_size = self.config.train.validation_images, self.config.sample.chunk_size
        with self.accelerator.autocast():
            return validate(self.family, held_out, limit=limit, batch_size=batch_size)

    def _training(self) -> Training:
        return Training(self.train_set, self.config.score.anchors, self.config.score.memorisation)

    def record_failure(self, error: BaseException) -> None:
        """Keep a run that ended early on the leaderboard, with its reason; an interrupted one can be resumed."""
        state, reason = ending(error, self.folder.reason(), self.accelerator.process_index)
        if self.main or reason.startswith(PEER):
            self._status(state, reason=reason)
        if self.main and state not in ("interrupted", "preempted"):
            write_record(self._record(state, Outcome(), reason=reason), self.folder.result)

    def _make_state(self, found: Path | None) -> TrainState:
        """From the checkpoint that was found; else from train.init_from, or from scratch."""
        config, family = self.config, build(self.config, self.train_set.spec, self.codec)
        if config.train.init_from and not found:
            self.accelerator.print(f"{config.train.init_from}: {initialise(family, config.train.init_from)}")
        state = make_state(family, config, self.accelerator, self.train_set.fingerprint)
        if found:
            checkpoint.load(state, found, resume_hash(config))
        return state

    def _metrics_log(self) -> AbstractContextManager[MetricsLog | None]:
        if not self.main:
            return nullcontext()
        return MetricsLog(self.folder.metrics, self.config.log.tensorboard, self.state.step)

    def _freeze_budget(self) -> None:
        """Once a budget in minutes has been measured, put it into config.yaml as steps."""
        if self.config.train.minutes is None or self.state.total_steps is None:
            return
        self.config = frozen(self.config, self.state.total_steps)
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
            left_out=tuple(dict.fromkeys((*self.train_set.left_out, *self.batches.left_out))),
            dataset_sha256=self.train_set.fingerprint,
            device=device_name(self.accelerator),
            processes=self.accelerator.num_processes,
            precision=self.accelerator.mixed_precision,
            command=self.command,
        )

    def _status(self, state: str, **details: object) -> None:
        self.folder.write_status(state, step=self.state.step, total_steps=self.state.total_steps, **details)
